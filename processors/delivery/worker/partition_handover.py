"""Partitions come and go: they begin when the table is read far enough, and are drained before they are given away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from confluent_kafka import TopicPartition

from hookstream.processors.deadline import Deadline
from hookstream.processors.delivery.engine.model import LIVE
from hookstream.processors.delivery.partitions.owned_partition import OwnedPartition
from hookstream.processors.delivery.partitions.partition_metrics import measure_settled

if TYPE_CHECKING:
    from hookstream.processors.delivery.checkpoints.partition_lookup import PartitionStarting
    from hookstream.processors.delivery.group.inbox import AssignedPartition
    from hookstream.processors.delivery.partitions.catch_up_reading import CatchUpReading
    from hookstream.processors.delivery.partitions.owned_partitions import OwnedPartitions
    from hookstream.processors.delivery.partitions.partition_deps import PartitionDeps

    from .committing import Committing
    from .loop_clock import LoopClock
    from .requests_in_flight import Requesting
    from .turns import Turns

# What is left of the drain's time may be nothing; a last state gets at least this long to be acknowledged.
_LAST_COMMITS_WITHIN_S = 1.0

log = structlog.get_logger("hookstream.deliver")


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoverDeps:
    """What partitions begin and end with."""

    shared: PartitionDeps
    partitions: OwnedPartitions
    turns: Turns
    clock: LoopClock
    requests: Requesting
    reading: CatchUpReading
    committing: Committing
    table_ready: Callable[[PartitionStarting], bool]
    drain_timeout_s: float


class PartitionHandover:
    """Takes over, gives away, drops. The loop's thread."""

    def __init__(self, deps: HandoverDeps) -> None:
        """Nothing waits."""
        self._deps = deps
        self._starting: list[AssignedPartition] = []
        self._closed = False

    @property
    def waiting_for_table(self) -> bool:
        """Whether a partition cannot begin because the table is not read far enough."""
        return bool(self._starting)

    def take_over(self, assigned: Sequence[AssignedPartition]) -> None:
        """Begin partitions, now or when the table has been read far enough."""
        self._starting += assigned
        self.start_waiting()

    def start_waiting(self) -> None:
        """Begin the partitions that waited for the table, if it has been read far enough."""
        deps = self._deps
        waiting, self._starting = self._starting, []
        now = deps.clock.read()
        for assigned in waiting:
            starting = assigned.starting
            if not deps.table_ready(starting):
                self._starting.append(assigned)
                continue
            partition = OwnedPartition(deps.shared, assigned, now=now.monotonic_s, steady_ms=now.steady_ms)
            deps.partitions.add(partition)
            log.info("partition taken over", partition=partition.index, next_offset=starting.streams[LIVE].start.offset)
        if deps.partitions.order:
            deps.committing.soon()
            deps.turns.wake()

    async def give_away(self, indexes: Collection[int]) -> list[TopicPartition]:
        """Send nothing more for partitions, wait for what is in flight, and return what is left to commit."""
        deps = self._deps
        deadline = Deadline.after(deps.drain_timeout_s, deps.clock.monotonic_s)
        self._forget_waiting(indexes)
        leaving = [partition for index, partition in deps.partitions.by_index.items() if index in indexes]
        deps.partitions.leaving.update(leaving)
        with suppress(TimeoutError):
            async with asyncio.timeout(deps.drain_timeout_s):
                while _in_flight(leaving) and not self._closed:
                    deps.turns.had.clear()
                    await deps.turns.had.wait()
        deps.turns.have()
        offsets: list[TopicPartition] = []
        for partition in leaving:
            if partition.gone:  # given away twice as the process ends, or the worker has failed
                continue
            self._cancel_requests(partition)
            now = deps.clock.read()
            partition.advance(now.monotonic_s, now.steady_ms)
            partition.engine.end_turn()
            offsets += await deps.committing.last_commits(partition, deadline.later(_LAST_COMMITS_WITHIN_S))
            self._drop(partition)
        return offsets

    async def drop_all(self, indexes: Collection[int]) -> None:
        """Cancel and forget partitions that another worker has."""
        self._forget_waiting(indexes)
        for index in indexes:
            partition = self._deps.partitions.by_index.get(index)
            if partition is not None:
                self._cancel_requests(partition)
                self._drop(partition)

    def close(self) -> None:
        """Wait for no answer any more."""
        self._closed = True

    def _forget_waiting(self, indexes: Collection[int]) -> None:
        self._starting = [assigned for assigned in self._starting if assigned.starting.partition not in indexes]

    def _cancel_requests(self, partition: OwnedPartition) -> None:
        for post in partition.engine.posts_in_flight:
            self._deps.requests.cancel(post)
            partition.engine.abandon(post)

    def _drop(self, partition: OwnedPartition) -> None:
        deps = self._deps
        deps.partitions.drop(partition)
        deps.reading.forget(partition)
        metrics = deps.shared.metrics.worker
        measure_settled(partition, metrics)
        metrics.window_used_ratio.pop(partition.index, None)


def _in_flight(partitions: Iterable[OwnedPartition]) -> bool:
    return any(partition.engine.posts_in_flight for partition in partitions)
