"""What is due when, in monotonic time that the caller advances."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Timers:
    """Actions at times. They are never cancelled: each looks at what is true when it runs."""

    __slots__ = ("_count", "_heap")

    def __init__(self) -> None:
        """Start with nothing due."""
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, due: float, action: Callable[[], None]) -> None:
        """Run an action once it is `due`; actions of the same moment run in the order they were asked for."""
        self._count += 1
        heapq.heappush(self._heap, (due, self._count, action))

    def run(self, now: float) -> None:
        """Run everything that is due."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            heapq.heappop(heap)[2]()

    @property
    def next_due(self) -> float | None:
        """When something is due next, None for never."""
        return self._heap[0][0] if self._heap else None
