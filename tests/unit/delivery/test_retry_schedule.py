"""When a failed delivery is tried again, and how often an endpoint in quarantine is probed."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest

from hookstream.processors.delivery.engine.policy import FULL_SCHEDULE_S, HOUR_S, MINUTE_S, EnginePolicy
from hookstream.processors.delivery.engine.retry_schedule import FRESH, LaneClock, after_failure, probe_pause_s

POLICY = EnginePolicy()
RECEIVERS = Path(__file__).parents[3] / "docs" / "receivers.md"


def failed(clock: LaneClock, *, rejected: bool = False, random: float = 0.5) -> LaneClock | None:
    return after_failure(clock, rejected=rejected, now=100.0, policy=POLICY, random=lambda: random)


def pauses_until_dead(*, rejected: bool) -> list[float]:
    """The pause after each failure, until there is none left."""
    pauses, clock = [], FRESH
    while (after := failed(clock, rejected=rejected)) is not None:
        pauses.append(after.due - 100.0)
        clock = after
    return pauses


def test_each_failure_takes_the_next_pause_of_the_schedule_and_the_one_after_the_last_none() -> None:
    assert pauses_until_dead(rejected=False) == pytest.approx(POLICY.full_schedule_s)


def test_a_record_that_is_rejected_itself_has_a_short_schedule() -> None:
    assert pauses_until_dead(rejected=True) == pytest.approx(POLICY.short_schedule_s)


def test_pauses_are_spread_by_a_fifth_so_that_lanes_do_not_come_back_together() -> None:
    dues = [made.due - 100.0 for random in (0.0, 1.0) if (made := failed(FRESH, random=random)) is not None]
    assert dues == pytest.approx([0.8, 1.2])


def test_a_resource_whose_schedule_ran_out_gets_one_attempt_for_each_record() -> None:
    assert failed(LaneClock(schedule_exhausted=True)) is None


def test_a_failure_spends_an_attempt_and_keeps_what_counts_requests_and_says_since_when() -> None:
    clock = failed(LaneClock(attempts=1, requests=7, first_failed_ms=99))
    assert clock == LaneClock(attempts=2, requests=7, due=105.0, first_failed_ms=99)


def test_a_clock_may_be_made_due_at_another_time_and_stays_the_same_otherwise() -> None:
    assert LaneClock(2, 7, 105.0, schedule_exhausted=False, first_failed_ms=99).due_at(1.0) == LaneClock(
        2, 7, 1.0, schedule_exhausted=False, first_failed_ms=99
    )


def test_probes_begin_at_once_are_steady_for_two_minutes_and_then_rare() -> None:
    pauses = [probe_pause_s(failed, POLICY) for failed in range(40)]
    assert pauses[:6] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2])
    assert pauses[6:29] == [5.0] * 23
    assert pauses[29:36] == [10, 20, 40, 80, 160, 300, 300]
    steady = [at for at, pause in zip(accumulate(pauses), pauses, strict=True) if pause == POLICY.probe_steady_s]
    assert 115 <= steady[-1] <= 125


def test_a_pace_of_probes_that_falls_is_refused() -> None:
    assert probe_pause_s(3, replace(POLICY, probe_first_s=5.0)) == 5.0
    for first_s, longest_s in ((0.0, 300.0), (6.0, 300.0), (0.1, 4.0)):
        with pytest.raises(ValueError, match="probe_first_s"):
            replace(POLICY, probe_first_s=first_s, probe_max_s=longest_s)


def test_receivers_are_told_the_schedule_that_is_kept() -> None:
    told = " ".join(RECEIVERS.read_text().split())
    words = [_words(seconds) for seconds in FULL_SCHEDULE_S]
    assert f"tried again after {', '.join(words[:-1])} and {words[-1]}," in told
    days = sum(FULL_SCHEDULE_S) / (24 * HOUR_S)
    assert re.search(r"three days and some hours after the first attempt", told)
    assert 3 < days < 3.5


def _words(seconds: float) -> str:
    for unit, name in ((HOUR_S, "h"), (MINUTE_S, "min"), (1.0, "s")):
        if seconds >= unit:
            return f"{seconds / unit:g} {name}"
    raise AssertionError(seconds)
