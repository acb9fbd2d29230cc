"""Brings engines what their cursors want read: two readers for all partitions, one near the end, one for the others.

The event loop's thread, but for what the readers deliver, which it takes over at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import structlog

from hookstream.processors.delivery.engine.model import LIVE, REPLAY, StreamIndex
from hookstream.processors.kafka import TopicPartitionKey

from .log_reader import Chunk, LogReader
from .owned_partition import OwnedPartition

log = structlog.get_logger("hookstream.deliver")


class _ReadRequest(NamedTuple):
    """A chunk that is being read for a partition."""

    partition: OwnedPartition
    stream: StreamIndex


class CatchUpReading:
    """Which partition waits for which chunk."""

    def __init__(
        self,
        topics: tuple[str, str],
        make_reader: Callable[[str, Callable[[Chunk], None]], LogReader],
        *,
        fed: Callable[[OwnedPartition], None],
    ) -> None:
        """`make_reader(name, deliver)` makes one of the two; `fed` is called when an engine was given a chunk."""
        self.expired = 0
        """Offsets that retention deleted before they were read for the cursors behind which they were pending."""
        self._topics = topics
        self._fed = fed
        loop = asyncio.get_running_loop()

        def reader(name: str, *, near: bool) -> LogReader:
            def deliver(chunk: Chunk) -> None:
                loop.call_soon_threadsafe(self._arrived, near, chunk)

            return make_reader(name, deliver)

        self._readers = {True: reader("near", near=True), False: reader("far", near=False)}
        self._requests: dict[tuple[bool, TopicPartitionKey], _ReadRequest] = {}
        self._ends: dict[tuple[bool, TopicPartitionKey], int] = {}
        for started in self._readers.values():
            started.start()

    def plan(self, partition: OwnedPartition) -> bool:
        """Have read what a partition's cursors want; says whether anything is being read for it."""
        reading = False
        for stream in (LIVE, REPLAY):
            key = (self._topics[stream], partition.index)
            asked = (True, key) in self._requests or (False, key) in self._requests
            # Each question looks at every cursor; mostly nothing is wanted, and then one is enough for both readers.
            wanted = asked or partition.engine.plan(stream) is not None
            for near in (True, False):
                if wanted:
                    reading = self._plan(partition, stream, near=near) or reading
                else:
                    self._leave(near, key)
        return reading

    def forget(self, partition: OwnedPartition) -> None:
        """A partition is given away."""
        for stream in (LIVE, REPLAY):
            for near in (True, False):
                self._leave(near, (self._topics[stream], partition.index))

    def close(self) -> None:
        """End both readers."""
        for reader in self._readers.values():
            reader.close()

    def _plan(self, partition: OwnedPartition, stream: StreamIndex, *, near: bool) -> bool:
        key = (self._topics[stream], partition.index)
        read_key = (near, key)
        if read_key in self._requests:
            return True
        start = partition.engine.plan(stream, at=self._ends.get(read_key), near=near)
        if start is None:
            if read_key in self._ends:
                self._leave(near, key)
            return False
        self._requests[read_key] = _ReadRequest(partition, stream)
        self._readers[near].read(key, start)
        return True

    def _leave(self, near: bool, key: TopicPartitionKey) -> None:  # noqa: FBT001 - half of a key
        known = self._requests.pop((near, key), None) is not None or (near, key) in self._ends
        self._ends.pop((near, key), None)
        if known:
            self._readers[near].leave(key)

    def _arrived(self, near: bool, chunk: Chunk) -> None:  # noqa: FBT001
        read_key = (near, chunk.key)
        request = self._requests.get(read_key)
        if request is None or request.partition.gone:
            return
        partition, stream = request
        if chunk.low is not None:
            self.expired += partition.engine.lose_below(stream, chunk.low)
            log.error(
                "records were deleted while they were pending",
                topic=chunk.key[0],
                partition=partition.index,
                pending_from=chunk.start,
                continues_at=chunk.low,
            )
            self._ends.pop(read_key, None)
            self._go_on(read_key, request)
        else:
            self._ends[read_key] = chunk.end
            partition.feed(stream, chunk, lambda: self._go_on(read_key, request))

    def _go_on(self, read_key: tuple[bool, TopicPartitionKey], request: _ReadRequest) -> None:
        """A request is answered: make the next, if there is one."""
        if self._requests.get(read_key) is request:
            del self._requests[read_key]
            self._plan(request.partition, request.stream, near=read_key[0])
        self._fed(request.partition)
