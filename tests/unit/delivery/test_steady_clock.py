"""A machine's clock that jumps makes nothing old at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hookstream.processors.delivery.worker.steady_clock import SteadyClock

DAY_MS = 86_400_000


def test_it_follows_a_clock_that_goes_right() -> None:
    """Nothing is lost or gained against a healthy clock."""
    clock = SteadyClock(monotonic_s=5.0, wall_ms=1_000_000)
    assert clock.read(monotonic_s=65.0, wall_ms=1_060_000) == 1_060_000


def test_a_week_forward_makes_nothing_old() -> None:
    """An hour after the jump, little more than an hour has passed."""
    clock, now = SteadyClock(monotonic_s=0.0, wall_ms=0), 0
    for second in range(1, 3_601):
        now = clock.read(monotonic_s=float(second), wall_ms=7 * DAY_MS + second * 1000)
    assert 3_600_000 <= now <= 1.11 * 3_600_000


def test_it_comes_back_to_the_machine() -> None:
    """A small correction is taken over within ten times its size."""
    clock, now = SteadyClock(monotonic_s=0.0, wall_ms=0), 0
    for second in range(1, 101):
        now = clock.read(monotonic_s=float(second), wall_ms=second * 1000 + 5_000)
    assert now == 105_000


@given(st.lists(st.tuples(st.floats(0, 1000), st.integers(-10 * DAY_MS, 10 * DAY_MS)), min_size=1))
def test_it_never_goes_back(steps: list[tuple[float, int]]) -> None:
    """Whatever the machine's clock does, time passes at nine tenths to eleven tenths of its speed."""
    clock = SteadyClock(monotonic_s=0.0, wall_ms=0)
    monotonic, last = 0.0, 0
    for passed, jump in steps:
        monotonic += passed
        now = clock.read(monotonic_s=monotonic, wall_ms=int(monotonic * 1000) + jump)
        assert last - 1 <= now <= last + 1.1 * passed * 1000 + 1
        assert now >= last + 0.9 * passed * 1000 - 2
        last = now
