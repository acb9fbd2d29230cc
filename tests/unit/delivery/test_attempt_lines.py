"""How many lines of log attempts may give, and what they say."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from benchmarks.flaky import quarantines
from hookstream.processors.delivery.attempts.lines import (
    ENDPOINT_BURST,
    ENDPOINT_EVERY_S,
    PROCESS_BURST,
    PROCESS_PER_S,
    AttemptLines,
)
from hookstream.processors.delivery.http.exchange import Answer
from hookstream.schemas.attempt import AttemptResult
from hookstream.schemas.delivery import DeadLetterReason
from tests.support.values import DELIVERY

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

SECRET_TARGET = "https://user:SENTINEL@h.example:8443/services/SENTINEL?token=SENTINEL#SENTINEL"
FAILED = Answer(503, None, b"SENTINEL", None, 0.25)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lines(clock: Clock) -> AttemptLines:
    return AttemptLines(clock)


@pytest.fixture
def written() -> Iterator[list[MutableMapping[str, Any]]]:
    with capture_logs() as captured:
        yield captured


def a_post(target: str = SECRET_TARGET) -> Any:
    endpoint = SimpleNamespace(client_id="9999", target=target, health=SimpleNamespace(breaker_open=False))
    return SimpleNamespace(pending=SimpleNamespace(delivery=DELIVERY), endpoint=endpoint, number=2, probe=False)


def test_one_line_says_everything_about_a_failed_attempt_and_nothing_secret(
    lines: AttemptLines, written: list[MutableMapping[str, Any]]
) -> None:
    lines.failed(a_post(), AttemptResult.ERROR_STATUS, FAILED)
    (line,) = written
    assert line == {
        "event": "attempt failed",
        "log_level": "info",
        "delivery": DELIVERY.id,
        "hook": 223443,
        "client": "9999",
        "event_name": "property.updated",
        "resource": "property:888999",
        "host": "h.example",
        "attempt": 2,
        "probe": False,
        "result": "error-status",
        "status": 503,
        "seconds": 0.25,
        "quarantined": False,
        "left_out": 0,
    }


def test_an_endpoint_that_fails_500_times_a_second_gives_few_lines_and_they_count_the_others(
    lines: AttemptLines, clock: Clock, written: list[MutableMapping[str, Any]]
) -> None:
    for _ in range(500 * 60):
        clock.now += 1 / 500
        lines.failed(a_post(), AttemptResult.ERROR_STATUS, FAILED)
    assert len(written) <= ENDPOINT_BURST + 60 / ENDPOINT_EVERY_S
    clock.now += ENDPOINT_EVERY_S
    lines.failed(a_post(), AttemptResult.ERROR_STATUS, FAILED)
    assert len(written) + sum(line["left_out"] for line in written) == 500 * 60 + 1


def test_it_does_not_silence_another(lines: AttemptLines, written: list[MutableMapping[str, Any]]) -> None:
    for _ in range(1000):
        lines.failed(a_post(), AttemptResult.ERROR_STATUS, FAILED)
    lines.failed(a_post("https://other.example/"), AttemptResult.ERROR_STATUS, FAILED)
    assert [line["host"] for line in written].count("other.example") == 1


def test_all_endpoints_together_are_bounded(
    lines: AttemptLines, clock: Clock, written: list[MutableMapping[str, Any]]
) -> None:
    for second in range(10):
        clock.now += 1
        for number in range(1000):
            lines.failed(a_post(f"https://h{number}.example/{second}"), AttemptResult.ERROR_STATUS, FAILED)
    assert len(written) <= PROCESS_BURST + 11 * PROCESS_PER_S


def test_a_change_of_state_is_told_although_the_endpoint_has_told_enough(
    lines: AttemptLines, written: list[MutableMapping[str, Any]]
) -> None:
    for _ in range(100):
        lines.failed(a_post(), AttemptResult.ERROR_STATUS, FAILED)
    lines.quarantined(a_post(), AttemptResult.ERROR_STATUS, FAILED)
    lines.recovered(a_post(), AttemptResult.DELIVERED, Answer(204, None, b"", None, 0.01))
    assert [line["event"] for line in written[-2:]] == [
        "attempt failed; its endpoint is quarantined",
        "delivered; its endpoint has recovered",
    ]
    assert written[-2]["left_out"] == 100 - ENDPOINT_BURST


def test_the_benchmark_of_flaky_receivers_counts_quarantines(
    lines: AttemptLines, written: list[MutableMapping[str, Any]]
) -> None:
    lines.failed(a_post(), AttemptResult.ERROR_STATUS, FAILED)
    lines.quarantined(a_post(), AttemptResult.ERROR_STATUS, FAILED)
    log = "\n".join(json.dumps(line) for line in written)
    assert quarantines(log, int(DELIVERY.client)) == 1
    assert quarantines(log, int(DELIVERY.client) + 1) == 0


def test_dead_letters_are_told_within_bounds(lines: AttemptLines, written: list[MutableMapping[str, Any]]) -> None:
    for _ in range(1000):
        lines.dead_lettered(DELIVERY, DeadLetterReason.SCHEDULE, 422)
    assert len(written) == ENDPOINT_BURST
    assert (written[0]["reason"], written[0]["delivery"], written[0]["status"]) == ("schedule", DELIVERY.id, 422)


def test_no_line_holds_more_of_a_target_than_its_host(
    lines: AttemptLines, written: list[MutableMapping[str, Any]]
) -> None:
    lines.failed(a_post(), AttemptResult.ERROR_STATUS, FAILED)
    lines.quarantined(a_post(), AttemptResult.ERROR_STATUS, FAILED)
    lines.recovered(a_post(), AttemptResult.ERROR_STATUS, FAILED)
    lines.dead_lettered(DELIVERY, DeadLetterReason.SCHEDULE, 422)
    assert len(written) == 4
    assert "SENTINEL" not in repr(written)
