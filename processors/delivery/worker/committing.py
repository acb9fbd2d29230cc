"""The commits of all partitions of a worker: one request at a time, every 100 ms at most. The event loop's thread.

A worker with nothing to commit repeats a commit now and then, so that it hears of it where it does not own its
partitions any more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import structlog
from confluent_kafka import TopicPartition

from hookstream.processors.deadline import Deadline
from hookstream.processors.delivery.checkpoints.commit_metadata import (
    VERSION,
    CommitMetadata,
    StatePointer,
    encode_metadata,
)
from hookstream.processors.delivery.checkpoints.commit_state import SendCommit, WriteState
from hookstream.processors.delivery.checkpoints.partition_start import LogIdentity
from hookstream.processors.delivery.engine.model import LIVE, REPLAY, StreamIndex
from hookstream.processors.delivery.engine.partition_state import PartitionState
from hookstream.processors.delivery.group.poll_requests import Committed
from hookstream.processors.delivery.partitions.owned_partition import OwnedPartition

from .commit_fence import CommitFence
from .state_writer import StateWriter

COMMIT_AFTER_SETTLEMENTS = 50
COMMIT_AFTER_S = 1.0
COMMIT_EVERY_S = 0.1
# One partition every so often, in turn: also what never changes is then committed every few minutes, and Kafka does not
# forget the offset (`offsets.retention.minutes`, seven days).
REPEAT_EVERY_S = 10.0

log = structlog.get_logger("hookstream.deliver")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitDeps:
    """What commits need. `owned` is a live view of the worker's partitions; `wake`: sending may go on.

    `send` is called in the loop and answers in any thread.
    """

    owned: Collection[OwnedPartition]
    topics: tuple[str, str]
    identities: tuple[LogIdentity, LogIdentity]
    states: StateWriter
    send: Callable[[list[TopicPartition], Committed], None]
    table_offset: Callable[[], int]
    wake: Callable[[], None]
    monotonic_s: Callable[[], float]
    version: int = VERSION


class _Sent(NamedTuple):
    """One commit on its way."""

    partition: OwnedPartition
    stream: StreamIndex
    commit: SendCommit


class Committing:
    """Decides when to commit, has states written, sends requests, takes answers."""

    def __init__(self, deps: CommitDeps) -> None:
        """Nothing is under way."""
        self.metadata_characters = 0
        """Of the longest metadata of the last request."""
        self._deps = deps
        self._fence = CommitFence(deps.monotonic_s)
        self._timer: asyncio.TimerHandle | None = None
        self._due: deque[OwnedPartition] = deque()
        self._ready: list[_Sent] = []
        self._sent: list[_Sent] | None = None
        self._repeated_at = deps.monotonic_s()
        self._repeated = 0
        self._closed = False

    @property
    def fenced(self) -> bool:
        """Whether nothing may be sent: perhaps another worker has the partitions."""
        return self._fence.closed

    def require_commit(self) -> None:
        """Send nothing before a commit that begins now has succeeded: this process was suspended."""
        self._fence.require_commit(self._sent)
        self._commit_again(self._deps.owned)
        self.soon()

    def repeat_idle(self) -> None:
        """Commit a partition though it has nothing new to say, if it is time for that; call it once a second."""
        now, owned = self._deps.monotonic_s(), list(self._deps.owned)
        if not owned:
            self._fence.note_nothing_owned()
            self._repeated_at = now
        elif now - self._repeated_at >= REPEAT_EVERY_S:
            self._repeated_at, self._repeated = now, self._repeated + 1
            self._commit_again([owned[self._repeated % len(owned)]])
            self.soon()

    def soon(self) -> None:
        """Look for something to commit within 100 ms."""
        if self._timer is None and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(COMMIT_EVERY_S, self._tick)

    def close(self) -> None:
        """Commit nothing more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    # --- steps --------------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._timer = None
        if self._sent is not None or self._due:
            return  # its answer, or the last partition that is due, looks again
        now = self._deps.monotonic_s()
        if self.fenced:
            self._commit_again(self._deps.owned)
        # Of all partitions together: one request takes them all, and what a kill repeats is what none has committed.
        owned = self._deps.owned
        enough = sum(partition.commits.uncommitted for partition in owned) >= COMMIT_AFTER_SETTLEMENTS
        self._due += [
            partition
            for partition in owned
            if partition.commits.uncommitted and (enough or now - partition.commits.begun_at >= COMMIT_AFTER_S)
        ]
        self._begin_next()

    def _begin_next(self) -> None:
        """Begin the commit of one partition in each turn of the loop: encoding a large state takes milliseconds."""
        if self._closed:
            return
        if self._due:
            partition = self._due.popleft()
            if not partition.gone:
                self._begin(partition, self._deps.monotonic_s())
        if self._due:
            asyncio.get_running_loop().call_soon(self._begin_next)
            return
        self._send()
        if any(partition.commits.uncommitted for partition in self._deps.owned):
            self.soon()

    def _commit_again(self, partitions: Iterable[OwnedPartition]) -> None:
        """Commit them, changed or not: while nothing is sent nothing changes, and only a commit ends that."""
        for partition in partitions:
            partition.commits.uncommitted += COMMIT_AFTER_SETTLEMENTS
            for commits in partition.commits.streams:
                commits.forget_commit()

    def _begin(self, partition: OwnedPartition, now: float) -> None:
        both = partition.commits
        both.uncommitted, both.begun_at = 0, now
        for stream in (LIVE, REPLAY):
            commits = both.streams[stream]
            step = commits.begin(both.views[stream], now=now, table_offset=self._deps.table_offset())
            if isinstance(step, WriteState):
                self._write(partition, stream, step)
            elif step is not None:
                self._ready.append(_Sent(partition, stream, step))
            if commits.held_back:
                both.uncommitted += 1

    def _write(self, partition: OwnedPartition, stream: StreamIndex, step: WriteState) -> None:
        """Write a state; its commit is sent when Kafka has acknowledged it."""
        commits = partition.commits.streams[stream]

        def written(pointer: StatePointer | None) -> None:
            if pointer is not None:
                commit = commits.state_written(step, pointer)
                if commit is not None:
                    self._ready.append(_Sent(partition, stream, commit))
                    self._send()
            elif commits.under_way(step):
                commits.failed()
                partition.commits.uncommitted += 1
            self.soon()

        self._deps.states.write(partition.index, stream, step.state, written)

    def _send(self) -> None:
        """Commit everything that is ready, in one request."""
        if self._sent is not None or not self._ready:
            return
        sent, self._ready = self._ready, []
        offsets = [
            self._offset_of(partition.index, stream, commit) for partition, stream, commit in sent if not partition.gone
        ]
        if not offsets:
            return
        self._sent = sent
        self.metadata_characters = max(len(tp.metadata or "") for tp in offsets)
        loop = asyncio.get_running_loop()

        def committed(failure: str | None) -> None:
            loop.call_soon_threadsafe(self._answered, sent, failure)

        self._deps.send(offsets, committed)

    def _offset_of(self, partition: int, stream: StreamIndex, commit: SendCommit) -> TopicPartition:
        """What Kafka has to keep."""
        identity = self._deps.identities[stream]
        metadata = CommitMetadata(
            log_digest=identity.log_digest,
            table_digest=identity.table_digest,
            table_offset=commit.table_offset,
            settled=commit.settled,
            pointer=commit.pointer,
        )
        text = encode_metadata(metadata, version=self._deps.version)
        return TopicPartition(self._deps.topics[stream], partition, commit.offset, text)

    def _answered(self, sent: list[_Sent], failure: str | None) -> None:
        self._sent = None
        if self._fence.take_answer(sent, success=failure is None):
            self._deps.wake()
        if failure is not None:
            log.warning("a commit failed; it is tried again", reason=failure)
        for partition, stream, commit in sent:
            commits = partition.commits.streams[stream]
            if partition.gone or not commits.under_way(commit):
                continue
            if failure is not None:
                commits.failed()
                partition.commits.uncommitted += 1
                continue
            partition.commits.acknowledged.set()
            for pointer in commits.committed(commit):
                self._deps.states.note_replaced(partition.index, stream, pointer)
        self._send()
        self.soon()

    # --- giving a partition away --------------------------------------------------------------------------------------

    async def last_commits(self, partition: OwnedPartition, deadline: Deadline) -> list[TopicPartition]:
        """Everything that a partition still has to say; its state, if it has one, is acknowledged when this returns."""
        offsets = []
        for stream in (LIVE, REPLAY):
            commits = partition.commits.streams[stream]
            if not commits.idle:
                commits.failed()  # whatever is under way is older than what follows
            step = commits.begin(
                partition.commits.views[stream],
                now=self._deps.monotonic_s(),
                table_offset=self._deps.table_offset(),
                final=True,
            )
            if isinstance(step, WriteState):
                pointer = await self._written_within(partition.index, stream, step.state, deadline)
                step = None if pointer is None else commits.state_written(step, pointer)
            if isinstance(step, SendCommit):
                offsets.append(self._offset_of(partition.index, stream, step))
        return offsets

    async def _written_within(
        self, partition: int, stream: StreamIndex, state: PartitionState, deadline: Deadline
    ) -> StatePointer | None:
        future: asyncio.Future[StatePointer | None] = asyncio.get_running_loop().create_future()
        self._deps.states.write(
            partition, stream, state, lambda pointer: None if future.done() else future.set_result(pointer)
        )
        try:
            async with asyncio.timeout(deadline.remaining_s):
                return await future
        except TimeoutError:
            log.warning("a last state was not acknowledged; what it covered is delivered again", partition=partition)
            return None
