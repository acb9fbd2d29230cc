"""When the event loop has its next turn: soon after it is woken, and when something is due."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

# A loop that had no turn for this long may have been suspended, and other workers may have its partitions by now.
SUSPENDED_AFTER_S = 3.0


class Turns:
    """At most one turn and one timer wait at a time. The loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        """No turn is had before `begin`."""
        self.beat = monotonic_s()
        """When the loop last showed that it lives, in monotonic seconds."""
        self.had = asyncio.Event()
        """Set after every turn; a waiter clears it first."""
        self._loop = loop
        self._turn: Callable[[], None] = _no_turn
        self._woken = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def begin(self, turn: Callable[[], None]) -> None:
        """Have this turn from now on."""
        self._turn = turn

    def wake(self) -> None:
        """Have a turn soon."""
        if not self._woken:
            self._woken = True
            self._loop.call_soon(self.have)

    def have(self) -> None:
        """Have a turn now."""
        self._woken = False
        self._turn()
        self.had.set()

    def set_timer(self, now: float, due: float) -> None:
        """Have a turn when `due` has come, if not earlier; both are monotonic seconds, infinite is never."""
        if self._timer is not None:
            if self._timer_at <= due:
                return
            self._timer.cancel()
            self._timer = None
        if due != float("inf"):
            self._timer_at = due
            self._timer = self._loop.call_later(max(0.0, due - now), self._timer_fired)

    def suspended(self, now: float) -> bool:
        """Whether the last turn was so long ago that the process may have been suspended."""
        return now - self.beat > SUSPENDED_AFTER_S

    def close(self) -> None:
        """Have no turn by the timer any more; nothing waits for a turn."""
        self.had.set()
        if self._timer is not None:
            self._timer.cancel()

    def _timer_fired(self) -> None:
        self._timer = None
        self.have()


def _no_turn() -> None:
    """Before the first turn there is nothing to do."""
