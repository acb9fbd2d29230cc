"""Tombstones for states that no commit points to and that no other worker removes.

A worker writes tombstones for the states that its own commits replace. What is left are those whose commit never
arrived, those of a worker that ended within the hour, and those that were replaced by another's first commit. An hour
after it took a partition over a worker reads what `delivery-state` holds of it, and writes tombstones for what is older
than an hour and not its own, once a commit has succeeded after it read. A state that old is pointed to by the last
commit or by none, and the worker whose commit succeeds is the owner: one that was suspended and lost the partition
meanwhile would remove the state of its successor.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

import structlog

from hookstream.processors.delivery.checkpoints.state_codec import StateKey
from hookstream.processors.delivery.checkpoints.state_store import StateReader
from hookstream.processors.delivery.engine.model import LIVE
from hookstream.processors.delivery.partitions.owned_partition import OwnedPartition
from hookstream.processors.errors import ProcessorError
from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.wall_clock import now_ms

from .committing import Committing
from .state_writer import StateWriter

SWEEP_AFTER_S = 3600.0
_OLD_MS = 3_600_000
_CONFIRM_WITHIN_S = 30.0

log = structlog.get_logger("hookstream.deliver")


class StateSweep:
    """Looks through one partition at a time, in a thread that may block."""

    def __init__(
        self,
        kafka: KafkaConfig,
        *,
        topics: tuple[str, str],
        state_topic: str,
        committing: Committing,
        states: StateWriter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is looked at yet."""
        self._kafka = kafka
        self._topics = topics
        self._state_topic = state_topic
        self._committing = committing
        self._states = states
        self._clock = clock
        self._running: asyncio.Task[None] | None = None

    def look(self, owned: Iterable[OwnedPartition]) -> None:
        """Start with a partition whose time has come; call it about once a second."""
        if self._running is not None and not self._running.done():
            return
        now = self._clock()
        for partition in owned:
            if now - partition.swept_at >= SWEEP_AFTER_S:
                partition.swept_at = now
                self._running = asyncio.get_running_loop().create_task(self._sweep(partition))
                return

    def close(self) -> None:
        """Stop looking."""
        if self._running is not None:
            self._running.cancel()

    async def _sweep(self, partition: OwnedPartition) -> None:
        try:
            found = await asyncio.to_thread(self._read, partition.index)
        except ProcessorError as exc:
            log.warning(
                "the states of a partition could not be looked through", partition=partition.index, reason=str(exc)
            )
            return
        if not found or not await self._still_owns(partition):
            return
        oldest_ms = now_ms() - _OLD_MS
        pointed = {commits.pointed for commits in partition.commits.streams}
        kept = {pointer.id for pointer in pointed if pointer is not None}
        for key, written_ms in found.items():
            if written_ms < oldest_ms and key.state_id not in kept:
                self._states.write_tombstone(key)

    async def _still_owns(self, partition: OwnedPartition) -> bool:
        """Commit once more, and say whether Kafka took it."""
        commits = partition.commits
        commits.acknowledged.clear()
        commits.streams[LIVE].forget_commit()
        commits.uncommitted += 1
        self._committing.soon()
        try:
            async with asyncio.timeout(_CONFIRM_WITHIN_S):
                await commits.acknowledged.wait()
        except TimeoutError:
            return False
        return not partition.gone

    def _read(self, partition: int) -> dict[StateKey, int]:
        reader = StateReader(self._kafka, self._state_topic)
        try:
            live, replay = (reader.states(topic, partition) for topic in self._topics)
            return {**live, **replay}
        finally:
            reader.close()
