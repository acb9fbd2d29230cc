"""Asks the engines every 20 ms what their cursors want to read, while there are any cursors."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hookstream.processors.delivery.partitions.catch_up_reading import CatchUpReading
    from hookstream.processors.delivery.partitions.owned_partitions import OwnedPartitions

    from .turns import Turns

_PLAN_EVERY_S = 0.02


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

    def soon(self) -> None:
        """Ask within 20 ms, and again for as long as there are cursors."""
        if self._timer is None and not self._closed:
            self._timer = self._loop.call_later(_PLAN_EVERY_S, self._plan)

    def close(self) -> None:
        """Ask nothing more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _plan(self) -> None:
        self._timer = None
        any_cursors = False
        for partition in self._partitions.order:
            if partition.engine.has_cursors and partition not in self._partitions.leaving:
                any_cursors = True
                self._reading.plan(partition)
        if any_cursors and not self._closed:
            self.soon()
            self._turns.wake()
