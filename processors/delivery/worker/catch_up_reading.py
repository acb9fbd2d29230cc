"""Brings engines what their cursors want read: two readers for all partitions, one near the end, one for the others.

The event loop's thread, but for what the readers deliver, which it takes over at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import structlog

from hookstream.processors.delivery.engine.model import LIVE, REPLAY, StreamIndex

from .inbox import TopicSide
from .log_reader import Chunk, LogReader
from .owned_partition import OwnedPartition

log = structlog.get_logger("hookstream.deliver")


class _Errand(NamedTuple):
    """A chunk that is being read for a partition."""

    part: OwnedPartition
    stream: StreamIndex


class CatchUpReading:
    """Who waits for which chunk."""

    def __init__(
        self,
        topics: tuple[str, str],
        make_reader: Callable[[str, Callable[[Chunk], None]], LogReader],
        *,
        fed: Callable[[OwnedPartition], None],
    ) -> None:
        """`make_reader(name, deliver)` makes one of the two; `fed` is called when an engine was given a chunk."""
        self.expired = 0
        """Offsets that retention deleted before cursors that owed them had read them."""
        self._topics = topics
        self._fed = fed
        loop = asyncio.get_running_loop()

        def reader(name: str, *, near: bool) -> LogReader:
            def deliver(chunk: Chunk) -> None:
                loop.call_soon_threadsafe(self._arrived, near, chunk)

            return make_reader(name, deliver)

        self._readers = {True: reader("near", near=True), False: reader("far", near=False)}
        self._errands: dict[tuple[bool, TopicSide], _Errand] = {}
        self._ends: dict[tuple[bool, TopicSide], int] = {}
        for started in self._readers.values():
            started.start()

    def plan(self, part: OwnedPartition) -> bool:
        """Have read what a partition's cursors want; says whether anything is being read for it."""
        reading = False
        for stream in (LIVE, REPLAY):
            for near in (True, False):
                reading = self._plan(part, stream, near=near) or reading
        return reading

    def forget(self, part: OwnedPartition) -> None:
        """A partition is given away."""
        for stream in (LIVE, REPLAY):
            for near in (True, False):
                self._leave(near, (self._topics[stream], part.index))

    def close(self) -> None:
        """End both readers."""
        for reader in self._readers.values():
            reader.close()

    def _plan(self, part: OwnedPartition, stream: StreamIndex, *, near: bool) -> bool:
        side = (self._topics[stream], part.index)
        place = (near, side)
        if place in self._errands:
            return True
        start = part.engine.plan(stream, at=self._ends.get(place), near=near)
        if start is None:
            if place in self._ends:
                self._leave(near, side)
            return False
        self._errands[place] = _Errand(part, stream)
        self._readers[near].read(side, start)
        return True

    def _leave(self, near: bool, side: TopicSide) -> None:  # noqa: FBT001 - half of a place
        known = self._errands.pop((near, side), None) is not None or (near, side) in self._ends
        self._ends.pop((near, side), None)
        if known:
            self._readers[near].leave(side)

    def _arrived(self, near: bool, chunk: Chunk) -> None:  # noqa: FBT001
        place = (near, chunk.side)
        errand = self._errands.get(place)
        if errand is None or errand.part.gone:
            return
        part, stream = errand
        if chunk.low is not None:
            self.expired += part.engine.lose_below(stream, chunk.low)
            log.error(
                "records were deleted while they were owed",
                topic=chunk.side[0],
                partition=part.index,
                owed_from=chunk.start,
                continues_at=chunk.low,
            )
            self._ends.pop(place, None)
            self._go_on(place, errand)
        else:
            self._ends[place] = chunk.end
            part.feed(stream, chunk, lambda: self._go_on(place, errand))

    def _go_on(self, place: tuple[bool, TopicSide], errand: _Errand) -> None:
        """An errand is done: the next, if there is one."""
        if self._errands.get(place) is errand:
            del self._errands[place]
            self._plan(errand.part, errand.stream, near=place[0])
        self._fed(errand.part)
