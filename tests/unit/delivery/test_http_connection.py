"""A connection answers its exchange exactly once, whatever happens to it or in it."""

from __future__ import annotations

from typing import Any

import pytest

from hookstream.processors.delivery.http.answer_reader import AnswerReader
from hookstream.processors.delivery.http.connection import HttpConnection
from hookstream.processors.delivery.http.exchange import Answer, Exchange
from hookstream.processors.delivery.http.pool import ConnectionPool, PoolLimits
from hookstream.processors.delivery.http.target import parse_target
from hookstream.schemas.attempt import AttemptResult
from tests.support.judging import Owner, Transport, connected, feed

TARGET = parse_target("http://h.example/")
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Reported(list[tuple[str, BaseException]]):
    def __call__(self, where: str, error: BaseException) -> None:
        self.append((where, error))


def exchange(answers: list[Answer]) -> Exchange:
    return Exchange(TARGET, b"POST / HTTP/1.1\r\n\r\n", answers.append, 1000.0, 1015.0)


def test_a_connection_whose_request_was_not_written_out_when_the_answer_came_is_not_used_again() -> None:
    """What is left of the request would stand before the next one: the server would read both as one."""
    for unwritten, kept in ((0, True), (1, False)):
        owner, answers = Owner(), list[Answer]()
        connection, transport = connected(owner, report_error=Reported())
        connection.send(exchange(answers))
        transport.unwritten = unwritten
        feed(connection, OK)
        assert [answer.status for answer in answers] == [200]
        assert bool(owner.released) == kept
        assert transport.closing != kept


class BadOwner(Owner):
    """A pool with a bug."""

    def release(self, connection: HttpConnection, _now: float) -> None:
        del connection
        raise KeyError("SENTINEL")

    def repeat(self, exchange: Any) -> None:
        del exchange
        raise KeyError("SENTINEL")


@pytest.mark.parametrize(
    ("status", "headers", "refused"),
    [
        (500, b"webhook-delivery: abort", True),
        (422, b"Webhook-Delivery:ABORT  ", True),
        (404, b"WEBHOOK-DELIVERY: other, \tAbort ,", True),
        (302, b"webhook-delivery: other\r\nx: y\r\nwebhook-delivery: abort", True),
        (204, b"webhook-delivery: abort", False),
        (500, b"webhook-delivery: aborted", False),
        (500, b"webhook-delivery: abort;now", False),
        (500, b'webhook-delivery: "abort"', False),
        (500, b"webhook-delivery:", False),
        (500, b"x-webhook-delivery: abort", False),
        (500, b"webhook-delivery: \xff\x80,ab ort", False),
    ],
)
def test_an_answer_asks_for_a_dead_letter_in_any_form_of_the_header(status: int, headers: bytes, refused: bool) -> None:
    answers = list[Answer]()
    connection, _ = connected(Owner(), report_error=Reported())
    connection.send(exchange(answers))
    feed(connection, b"HTTP/1.1 %d X\r\n%b\r\ncontent-length: 0\r\n\r\n" % (status, headers))
    assert [(answer.status, answer.refused) for answer in answers] == [(status, refused)]


def test_neither_an_interim_answer_nor_a_trailer_asks_for_a_dead_letter() -> None:
    answers = list[Answer]()
    connection, _ = connected(Owner(), report_error=Reported())
    connection.send(exchange(answers))
    feed(connection, b"HTTP/1.1 103 Early\r\nwebhook-delivery: abort\r\n\r\n")
    feed(connection, b"HTTP/1.1 500 X\r\ntransfer-encoding: chunked\r\n\r\n0\r\nwebhook-delivery: abort\r\n\r\n")
    assert [(answer.status, answer.refused) for answer in answers] == [(500, False)]


def test_a_bug_while_an_answer_is_taken_fails_its_exchange_once_and_closes_the_connection() -> None:
    reported, answers = Reported(), list[Answer]()
    connection, transport = connected(BadOwner(), report_error=reported)
    connection.send(exchange(answers))
    feed(connection, OK)
    assert [answer.error for answer in answers] == [AttemptResult.INTERNAL_ERROR]
    assert [where for where, _ in reported] == ["answer"]
    assert transport.closing
    connection.connection_lost(None)
    assert len(answers) == 1


@pytest.mark.parametrize("callback", ["on_header", "on_headers_complete", "on_body", "on_message_complete"])
def test_a_bug_in_a_callback_of_the_parser_is_no_fault_of_the_server(
    callback: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(AnswerReader, callback, broken)
    reported, answers = Reported(), list[Answer]()
    connection, _ = connected(report_error=reported)
    connection.send(exchange(answers))
    feed(connection, OK)
    assert [answer.error for answer in answers] == [AttemptResult.INTERNAL_ERROR]
    assert len(reported) == 1


def test_a_bug_when_the_connection_ends_fails_its_exchange_once() -> None:
    reported, answers = Reported(), list[Answer]()
    connection, _ = connected(BadOwner(), report_error=reported)
    connection._served = 1
    connection.send(exchange(answers))
    connection.connection_lost(None)
    assert [answer.error for answer in answers] == [AttemptResult.INTERNAL_ERROR]
    assert [where for where, _ in reported] == ["answer"]


def test_what_the_server_does_wrong_is_a_broken_answer_and_no_bug() -> None:
    reported, answers = Reported(), list[Answer]()
    connection, _ = connected(report_error=reported)
    connection.send(exchange(answers))
    feed(connection, b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n")
    assert [answer.error for answer in answers] == [AttemptResult.BROKEN_ANSWER]
    assert not reported


def pool_of(limits: PoolLimits) -> ConnectionPool:
    return ConnectionPool(limits, lambda _: None, lambda: 1000.0)


def idle(pool: ConnectionPool, transport: Transport | None = None) -> tuple[HttpConnection, Transport]:
    """A connection that the pool keeps."""
    connection, transport = connected(pool, report_error=Reported(), transport=transport)
    pool._open[connection] = None
    pool.release(connection, 1000.0)
    return connection, transport


def test_a_connection_that_broke_in_this_turn_is_not_handed_out() -> None:
    """The loop closes its transport at once, tells of it in the next turn, and raises where it is written to."""
    pool = pool_of(PoolLimits(rest_s=0.0))
    sound, _ = idle(pool)
    _, broken = idle(pool)
    broken.closing = True
    assert pool.take(sound.origin, 1000.0) is sound
    assert pool.take(sound.origin, 1000.0) is None


def test_at_no_moment_are_more_connections_idle_than_may_be_and_the_oldest_goes_first() -> None:
    pool = pool_of(PoolLimits(max_idle=3, max_idle_per_origin=100))
    transports = [idle(pool)[1] for _ in range(5)]
    assert [transport.closing for transport in transports] == [True, True, False, False, False]
    assert pool.open_connections == 3
