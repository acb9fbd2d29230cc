"""Asks the engines what their cursors want to read, while there are any cursors: every 20 ms, or less often.

Asking looks at every cursor, so with thousands of them it takes milliseconds: then there are longer pauses between.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hookstream.processors.delivery.partitions.catch_up_reading import CatchUpReading
    from hookstream.processors.delivery.partitions.owned_partitions import OwnedPartitions

    from .turns import Turns

_PLAN_EVERY_S = 0.02
# A pause is this many times as long as asking took, so that asking takes about a tenth of the loop's time at most; but
# a cursor that becomes due is never noticed later than this.
_PAUSE_FACTOR = 9.0
_PLAN_AT_LEAST_EVERY_S = 0.2


class CatchUpPlanner:
    """One timer for all partitions. The loop's thread."""

    def __init__(
        self, reading: CatchUpReading, partitions: OwnedPartitions, turns: Turns, loop: asyncio.AbstractEventLoop
    ) -> None:
        """Ask nothing before `soon`."""
        self._reading = reading
        self._partitions = partitions
        self._turns = turns
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._pause_s = _PLAN_EVERY_S

    def soon(self) -> None:
        """Ask after a pause, and again for as long as there are cursors."""
        if self._timer is None and not self._closed:
            self._timer = self._loop.call_later(self._pause_s, self._plan)

    def close(self) -> None:
        """Ask nothing more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _plan(self) -> None:
        self._timer = None
        began = self._loop.time()
        any_cursors = False
        for partition in self._partitions.order:
            if partition.engine.has_cursors and partition not in self._partitions.leaving:
                any_cursors = True
                self._reading.plan(partition)
        took_s = self._loop.time() - began
        self._pause_s = min(max(_PLAN_EVERY_S, took_s * _PAUSE_FACTOR), _PLAN_AT_LEAST_EVERY_S)
        if any_cursors and not self._closed:
            self.soon()
            self._turns.wake()
