"""An exception of our own code costs the request that raised it, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from hookstream.processors.delivery.engine.outcome import judge
from hookstream.processors.delivery.engine.policy import EnginePolicy
from hookstream.processors.delivery.http.exchange import Answer, Exchange
from hookstream.processors.delivery.http.target import parse_target
from hookstream.processors.delivery.http.target_rules import TargetRules
from hookstream.processors.delivery.worker.brake import CLIENTS, FAILURES
from hookstream.processors.delivery.worker.request_builder import RequestBuilder
from hookstream.subscriptions.secrets import MasterKey, SecretBox
from tests.support.judging import Bench, Builder, Http, connected, feed

OK = Answer(204, None, b"", None, 0.01)
BUSY_FOR_EVER = Answer(429, None, b"", "Fri, 31 Dec 99999999999 23:59:59 GMT", 0.01)
TARGET = parse_target("http://h.example/x?token=SENTINEL")


class Raising(Builder, Http):
    """A builder and a client that raise what a test plants; the message holds what no log may show."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error: Exception | None = error

    def build(self, post: Any, wall_s: int) -> Any:
        if self.error is not None:
            raise self.error
        return super().build(post, wall_s)

    def post(self, *args: Any) -> Any:
        if self.error is not None:
            raise self.error
        return super().post(*args)


def is_braked(bench: Bench) -> bool:
    return bench.requesting.braked


def test_a_date_that_no_calendar_has_makes_an_endpoint_wait_and_ends_nothing() -> None:
    bench = Bench()
    bench.read(bench.hook())
    bench.turn()
    bench.answer(BUSY_FOR_EVER)
    assert bench.attempts.results == ["busy"]
    assert bench.turn(seconds=3600) == 1, "asked again later"


@pytest.mark.parametrize("place", ["build", "send", "judge", "record"])
def test_one_request_fails_by_a_bug_and_is_told_of_once_without_what_it_said(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = Raising(ValueError("SENTINEL"))

    def judged(*args: Any, **kwargs: Any) -> Any:
        if planted.error is not None:
            raise planted.error
        return judge(*args, **kwargs)

    def broken(*_: object, **__: object) -> Any:
        raise ValueError("SENTINEL")

    bench = Bench(
        builder=planted if place == "build" else None,
        http=planted if place == "send" else None,
        judged_by=judged if place == "judge" else judge,
    )
    if place == "record":
        monkeypatch.setattr(bench.attempts, "add", broken)
    bench.read(bench.hook())
    with capture_logs() as lines:
        bench.turn()
        bench.answer(OK)
    told = [line for line in lines if line["event"] == "internal error"]
    assert [(line["where"], line["client"], line["log_level"]) for line in told] == [(place, "434", "error")]
    assert "ValueError at " in told[0]["traceback"]
    assert "SENTINEL" not in str(lines)
    assert bench.metrics.worker.internal_errors[place] == 1
    if place == "record":
        assert bench.metrics.worker.deliveries["delivered"] == 1, "delivered is delivered, whatever its record became"
    else:
        assert bench.attempts.results == ["internal-error"]
        planted.error = None
        assert bench.turn(seconds=60) == 1, "and tried again"
        bench.answer(OK)
        assert bench.metrics.worker.deliveries["delivered"] == 1


def test_the_others_are_delivered_beside_a_request_that_cannot_be_built() -> None:
    class OneFails(Builder):
        def build(self, post: Any, wall_s: int) -> Any:
            if post.row.client == "1":
                raise ZeroDivisionError
            return super().build(post, wall_s)

    bench = Bench(builder=OneFails())
    bench.read(bench.hook(1))
    for client in range(2, 6):
        bench.read(bench.hook(client))
    bench.turn()
    bench.answer(OK)
    assert bench.metrics.worker.attempts["delivered"] == 4
    assert bench.metrics.worker.attempts["internal-error"] == 1


def test_a_row_with_a_target_that_is_no_url_is_owed_and_ends_nothing() -> None:
    """Such a row was never written by the API, but whatever can write the topic can write it."""
    bench = Bench(builder=RequestBuilder(SecretBox((MasterKey(b"k" * 32),)), TargetRules().policy()))
    bench.read(bench.hook(target="http://[bad"))
    bench.turn()
    bench.turn()
    assert bench.attempts.results == ["blocked"]
    assert bench.metrics.worker.internal_errors["record"] == 0


def test_a_bug_for_every_request_slows_the_process_down_until_one_works() -> None:
    planted = Raising(ValueError())
    bench = Bench(builder=planted)
    hooks = [bench.hook(client) for client in range(1, 101)]
    for hook in hooks:
        bench.read(hook, 3)
    with capture_logs() as lines:
        for _ in range(3):  # of requests of which nothing is known a turn makes a few
            bench.turn()
    assert is_braked(bench)
    assert any(line["log_level"] == "critical" for line in lines)
    before = sum(bench.metrics.worker.attempts.values())
    for _ in range(200):
        bench.turn(seconds=0.05)
    assert 0 < sum(bench.metrics.worker.attempts.values()) - before <= 41, "in ten seconds"
    planted.error = None
    with capture_logs():
        for _ in range(200):
            bench.turn(seconds=0.05)
            bench.answer(OK)
    assert not is_braked(bench)
    assert bench.metrics.worker.deliveries["delivered"] == 300, "the brake was on before an endpoint was quarantined"


def test_one_client_cannot_slow_the_others_down() -> None:
    assert CLIENTS > 1

    class Poison(Builder):
        def build(self, post: Any, wall_s: int) -> Any:
            if post.row.client == "1":
                raise ValueError
            return super().build(post, wall_s)

    bench = Bench(builder=Poison(), policy=EnginePolicy(concurrency_start=64))
    good, bad = bench.hook(2), bench.hook(1)
    bench.read(good)
    bench.turn()
    bench.answer(OK)
    bench.read(bad, 3 * FAILURES)
    for _ in range(60):
        bench.turn(seconds=1.0)
    assert not is_braked(bench)
    bench.read(good)
    assert bench.turn() == 1


def an_answer_to(head: bytes) -> list[Answer]:
    """What a connection makes of these bytes and the end of the connection."""
    answers: list[Answer] = []

    def reported(_where: str, error: BaseException) -> None:
        raise error

    connection, _ = connected(report_error=reported)
    connection.send(Exchange(TARGET, b"POST", answers.append, 1000.0, 1015.0))
    feed(connection, head)
    connection.eof_received()
    connection.connection_lost(None)
    return answers


NAMES = st.sampled_from(
    [b"retry-after", b"Retry-After", b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"date", b"x"]
) | st.binary(max_size=20)
VALUES = (
    st.integers(-(10**30), 10**30).map(lambda number: b"%d" % number)
    | st.sampled_from([b"chunked", b"close", b"gzip, chunked", b"h2c", b"0", b"2", b"-1", b"1" * 400])
    | st.integers(0, 10**25).map(lambda year: b"Fri, 31 Dec %d 23:59:59 GMT" % year)
    | st.binary(max_size=60)
)
STATUSES = st.integers(0, 1200).map(lambda status: b"%d" % status) | st.binary(max_size=5)
HEADS = st.builds(
    lambda version, status, headers, body: (
        b"HTTP/%b %b x\r\n" % (version, status)
        + b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        + b"\r\n"
        + body
    ),
    st.sampled_from([b"1.1", b"1.0", b"2.0", b"9"]),
    STATUSES,
    st.lists(st.tuples(NAMES, VALUES), max_size=8),
    st.binary(max_size=40) | st.just(b"5\r\nhello\r\n0\r\n\r\n"),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(HEADS | st.binary(max_size=200), min_size=1, max_size=3))
def test_no_answer_raises_anywhere_between_the_socket_and_the_engine(parts: list[bytes]) -> None:
    bench = Bench()
    bench.read(bench.hook(), 2)
    bench.turn()
    for head in parts:
        (answer,) = an_answer_to(head)
        bench.answer(answer)
        bench.turn(seconds=100.0)
    assert sum(bench.metrics.worker.internal_errors.values()) == 0
    assert len(bench.attempts.results) >= 1


def test_an_answer_whose_request_was_cancelled_before_it_was_taken_is_not_taken() -> None:
    """The partition was given away, or the hook's target was changed, in the same turn of the loop."""
    bench = Bench()
    bench.read(bench.hook())
    bench.turn()
    (post,) = bench.requesting._flights
    bench.requesting.take_note(post, OK)
    bench.requesting.cancel(post)
    bench.turn()
    assert bench.metrics.worker.deliveries["delivered"] == 0
    assert bench.attempts.results == []
