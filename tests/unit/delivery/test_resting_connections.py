"""A connection whose server may still speak carries no request: it rests, and who speaks keeps no connections."""

from __future__ import annotations

import pytest

from hookstream.processors.delivery.http.connection import HttpConnection
from hookstream.processors.delivery.http.exchange import Answer, Exchange
from hookstream.processors.delivery.http.pool import ConnectionPool, PoolLimits
from hookstream.processors.delivery.http.target import parse_target
from hookstream.schemas.attempt import AttemptResult
from tests.support.judging import Owner, Transport, connected, feed

LIMITS = PoolLimits(rest_s=0.1, rests_to_trust=2, rest_every_s=5.0, distrust_s=600.0, max_distrusted=2)
TARGET = parse_target("http://h.example/")
ORIGIN = TARGET.origin
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def reported(_where: str, error: BaseException) -> None:
    """No exception is expected here."""
    raise error


class World:
    """A pool whose time the test tells."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.repeated: list[Exchange] = []
        self.pool = ConnectionPool(LIMITS, self.repeated.append, lambda: self.now)
        self.answers: list[Answer] = []

    def answered(self, *, said: bytes = OK) -> tuple[HttpConnection, Transport]:
        """Open a connection, and have a request answered on it."""
        connection, transport = connected(self.pool, report_error=reported)
        connection._clock = lambda: self.now
        connection.opened_at = self.now
        self.pool._open[connection] = None  # as `add` does, but without a timer
        connection.rests_at = self.now + LIMITS.rest_every_s
        self.post(connection)
        feed(connection, said)
        return connection, transport

    def post(self, connection: HttpConnection) -> None:
        """Send a request on it."""
        connection.send(Exchange(TARGET, b"POST", self.answers.append, self.now, self.now + 15))

    def take(self) -> HttpConnection | None:
        """Ask for a connection."""
        return self.pool.take(ORIGIN, self.now)

    def trust(self) -> HttpConnection:
        """Let so many rests end in silence that the origin is trusted; give a connection that is kept."""
        first, _ = self.answered()
        self.answered()
        self.now += LIMITS.rest_s
        while (taken := self.take()) is not first:
            assert taken is not None
        return first


def test_an_origin_s_first_connections_rest_after_an_answer() -> None:
    world = World()
    connection, _ = world.answered()
    world.now += LIMITS.rest_s - 0.01
    assert world.take() is None
    world.now += 0.01
    assert world.take() is connection


def test_a_trusted_origin_s_connections_are_used_at_once_and_rest_now_and_then() -> None:
    world = World()
    connection = world.trust()
    world.post(connection)
    feed(connection, OK)
    assert world.take() is connection
    fresh, _ = world.answered()
    assert world.take() is fresh
    world.now += LIMITS.rest_every_s
    world.post(connection)
    feed(connection, OK)
    assert world.take() is None
    world.post(fresh)
    feed(fresh, OK)  # its turn, too, but one at a time
    assert world.take() is fresh
    world.now += LIMITS.rest_s
    assert world.take() is connection


@pytest.mark.parametrize("late", [b"x", OK, b"\r\n"])
def test_an_origin_that_speaks_while_a_connection_rests_keeps_none_for_a_while(late: bytes) -> None:
    world = World()
    (one, transport), (_, other) = world.answered(), world.answered()
    feed(one, late)
    assert transport.closing
    assert other.closing
    assert world.pool.open_connections == 0
    for _ in range(3):
        assert world.answered()[1].closing
        world.now += LIMITS.distrust_s / 4
    world.now += LIMITS.distrust_s / 4
    assert not world.answered()[1].closing
    assert [answer.status for answer in world.answers] == [200] * 6


def test_surplus_within_the_answer_s_own_bytes_tells_as_much() -> None:
    world = World()
    world.trust()
    _, transport = world.answered(said=OK + b"more")
    assert transport.closing
    assert world.take() is None
    assert world.answered()[1].closing


def test_what_is_no_status_line_on_a_kept_connection_has_the_request_made_once_more() -> None:
    world = World()
    connection = world.trust()
    world.answers.clear()
    world.post(connection)
    feed(connection, b"\r\nmore</html>")
    assert (world.answers, len(world.repeated)) == ([], 1)
    assert world.answered()[1].closing  # it keeps none any more


@pytest.mark.parametrize("said", [b"HTTP/1.1 2x", b"\r\nHTTP/9.9 200 OK\r\n"])
def test_what_begins_like_a_status_line_is_an_answer_and_not_asked_for_again(said: bytes) -> None:
    owner, answers = Owner(), list[Answer]()
    connection, _ = connected(owner, report_error=reported)
    connection._served = 1
    connection.send(Exchange(TARGET, b"POST", answers.append, 1000.0, 1015.0))
    feed(connection, said)
    assert [answer.error for answer in answers] == [AttemptResult.BROKEN_ANSWER]
    assert not owner.repeated


def test_what_is_no_status_line_on_a_fresh_connection_is_a_broken_answer() -> None:
    owner, answers = Owner(), list[Answer]()
    connection, _ = connected(owner, report_error=reported)
    connection.send(Exchange(TARGET, b"POST", answers.append, 1000.0, 1015.0))
    feed(connection, b"SSH-2.0\r\n")
    assert [answer.error for answer in answers] == [AttemptResult.BROKEN_ANSWER]
    assert not owner.repeated


def test_the_distrusted_are_bounded() -> None:
    world = World()
    for number in range(LIMITS.max_distrusted + 2):
        connection, _ = connected(world.pool, report_error=reported)
        connection.origin = f"http://h{number}.example:80"
        world.pool.distrust(connection)
    assert list(world.pool._distrusted) == ["http://h2.example:80", "http://h3.example:80"]
