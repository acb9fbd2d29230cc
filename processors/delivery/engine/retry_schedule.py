"""When a failed delivery is tried again: the schedule and the clock of one resource of one hook; the pace of probes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from .policy import EnginePolicy


@dataclass(frozen=True, slots=True)
class LaneClock:
    """What is remembered of the head of one resource of one hook between its attempts.

    `attempts` were spent on the schedule; `requests` counts every HTTP request, probes too, and numbers the next one.
    `due` is monotonic seconds. `schedule_exhausted` belongs to the resource, not to its head: the schedule ran out
    once, so each following record gets one attempt until one succeeds.
    """

    attempts: int = 0
    requests: int = 0
    due: float = 0.0
    schedule_exhausted: bool = False
    first_failed_ms: int = 0

    def due_at(self, due: float) -> LaneClock:
        """The same clock, due at another time."""
        return replace(self, due=due)


FRESH = LaneClock()


def after_failure(
    clock: LaneClock, *, rejected: bool, now: float, policy: EnginePolicy, random: Callable[[], float]
) -> LaneClock | None:
    """Return the clock after one more spent attempt, or None when the schedule ran out: dead letter.

    `rejected`: the record was rejected while the endpoint's other resources succeed (short schedule).
    `random` returns a number in [0, 1); it spreads each delay by ±`policy.jitter`.
    """
    schedule = policy.short_schedule_s if rejected else policy.full_schedule_s
    attempts = clock.attempts + 1
    if clock.schedule_exhausted or attempts > len(schedule):
        return None
    delay = schedule[attempts - 1] * (1 + policy.jitter * (2 * random() - 1))
    return LaneClock(
        attempts, clock.requests, now + delay, schedule_exhausted=False, first_failed_ms=clock.first_failed_ms
    )


def probe_pause_s(failed: int, policy: EnginePolicy) -> float:
    """Return the seconds before the next probe of a quarantined endpoint, `failed` probes after its quarantine began.

    Doubling from the first pause to the steady one, which is kept for some probes, then doubling to the longest.
    """
    pause = policy.probe_first_s
    while failed and pause < policy.probe_steady_s:
        pause *= 2
        failed -= 1
    if pause < policy.probe_steady_s:
        return pause
    doublings = max(0, failed - policy.probe_steady_probes + 1)
    return min(policy.probe_steady_s * 2.0 ** min(doublings, 30), policy.probe_max_s)
