"""The times that one turn of the event loop works with."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from .steady_clock import SteadyClock


class Now(NamedTuple):
    """One reading of the clocks."""

    monotonic_s: float
    wall_ms: int
    """Unix milliseconds, as the machine's clock says."""
    steady_ms: int
    """Unix milliseconds without jumps: see `SteadyClock`."""


class LoopClock:
    """Reads all clocks at once."""

    def __init__(
        self,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Believe the machine's clock once, at the start."""
        self.monotonic_s = monotonic_s
        self._wall_ns = wall_ns
        self._steady = SteadyClock(monotonic_s=monotonic_s(), wall_ms=wall_ns() // 1_000_000)

    def read(self) -> Now:
        """Return the time now."""
        monotonic_s, wall_ms = self.monotonic_s(), self._wall_ns() // 1_000_000
        return Now(monotonic_s, wall_ms, self._steady.read(monotonic_s=monotonic_s, wall_ms=wall_ms))
