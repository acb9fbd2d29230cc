"""The drawing of attempts."""

from __future__ import annotations

import re

import pytest

from hookstream.subscriptions.api.delivery_bodies import AttemptedConceptFields, AttemptFields, HookIdFields
from hookstream.subscriptions.portal.timeline import HEIGHT, WIDTH, draw

START_MS = 1_700_000_000_000


def attempt(at_ms: int, duration_ms: float = 80.0, outcome: str = "delivered") -> AttemptFields:
    return AttemptFields(
        delivery_id="msg_1",
        hook=HookIdFields(id=1),
        event="lead.new",
        concept=AttemptedConceptFields(id=1, namespace="lead"),
        number=1,
        probe=False,
        replay=None,
        started_at_ms=at_ms,
        duration_ms=duration_ms,
        outcome=outcome,
        status=None,
        answer="",
    )


def test_nothing_is_no_drawing() -> None:
    assert draw([]) is None


@pytest.mark.parametrize("span_ms", [0, 1, 5_000, 60_000, 3_600_000, 86_400_000, 30 * 86_400_000, 10**15])
def test_every_mark_and_tick_is_inside_and_there_are_few_ticks(span_ms: int) -> None:
    drawn = draw([attempt(START_MS, 0.0), attempt(START_MS + span_ms, 1e9, "timeout")])
    assert drawn is not None
    for x, y in re.findall(r"M([\d.]+) ([\d.]+)", drawn.delivered + drawn.failed):
        assert 0 <= float(x) <= WIDTH
        assert 0 <= float(y) <= HEIGHT
    assert len(drawn.times) <= 8
    assert all(0 <= tick.at <= WIDTH for tick in drawn.times)


def test_ticks_are_round_times() -> None:
    hour = draw([attempt(START_MS), attempt(START_MS + 3_600_000)])
    assert hour is not None
    assert [tick.label for tick in hour.times] == ["22:15", "22:30", "22:45", "23:00"]
    days = draw([attempt(START_MS), attempt(START_MS + 5 * 86_400_000)])
    assert days is not None
    assert [tick.label for tick in days.times] == ["15 Nov", "16 Nov", "17 Nov", "18 Nov", "19 Nov"]


def test_hundreds_of_attempts_are_a_few_kilobytes() -> None:
    drawn = draw([attempt(START_MS + n * 100, 5 + n, "timeout" if n % 2 else "delivered") for n in range(400)])
    assert drawn is not None
    assert (drawn.delivered_count, drawn.failed_count) == (200, 200)
    assert len(drawn.delivered) + len(drawn.failed) < 15_000
