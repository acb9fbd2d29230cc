"""Wall time that does not jump: what ages of records and outages are measured with.

An engine gives up what is pending for six days and disables what fails for five. A machine whose clock is set forward
by a week must not do either at once, so between two readings this clock moves with monotonic time and drifts towards
the machine's by a tenth of what has passed.
"""

from __future__ import annotations

_LARGEST_DRIFT = 0.1


class SteadyClock:
    """Unix milliseconds that follow the machine's clock without its jumps."""

    __slots__ = ("_monotonic_s", "_wall_ms")

    def __init__(self, *, monotonic_s: float, wall_ms: int) -> None:
        """Believe the machine's clock once, at the start."""
        self._monotonic_s = monotonic_s
        self._wall_ms = float(wall_ms)

    def read(self, *, monotonic_s: float, wall_ms: int) -> int:
        """Return the time now, given what both clocks of the machine say; it never goes back."""
        passed_ms = (monotonic_s - self._monotonic_s) * 1000
        expected = self._wall_ms + passed_ms
        drift = min(max(wall_ms - expected, -_LARGEST_DRIFT * passed_ms), _LARGEST_DRIFT * passed_ms)
        self._monotonic_s = monotonic_s
        self._wall_ms = expected + drift
        return int(self._wall_ms)
