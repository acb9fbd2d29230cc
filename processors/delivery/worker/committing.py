"""The commits of all partitions of a worker: one request at a time, every 100 ms at most. The event loop's thread.

Also the guard against being fenced without noticing: 30 s without a successful commit, or a process that was stopped
for that long, and nothing is sent until a commit succeeds. A worker with nothing to commit says the same again now and
then, so that it hears of it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import structlog
from confluent_kafka import TopicPartition

from hookstream.processors.delivery.checkpoints.commit_metadata import (
    STATE_ID_BYTES,
    VERSION,
    CommitMetadata,
    StatePointer,
    encode_metadata,
)
from hookstream.processors.delivery.checkpoints.commit_state import SendCommit, WriteState
from hookstream.processors.delivery.checkpoints.partition_start import LogIdentity
from hookstream.processors.delivery.checkpoints.state_codec import StateKey, chunks_of, encode_state
from hookstream.processors.delivery.engine.model import LIVE, REPLAY, StreamIndex
from hookstream.processors.delivery.engine.partition_state import PartitionState

from .owned_partition import OwnedPartition
from .poll_requests import Committed
from .record_writer import RecordWriter

COMMIT_AFTER_SETTLEMENTS = 50
COMMIT_AFTER_S = 1.0
COMMIT_EVERY_S = 0.1
FENCED_AFTER_S = 30.0
# One partition every so often, in turn: also what never changes is then committed every few minutes, and Kafka does not
# forget it as the offset of nobody (`offsets.retention.minutes`, seven days).
KEEP_EVERY_S = 10.0
_TOMBSTONE_AFTER_S = 3600.0

log = structlog.get_logger("hookstream.deliver")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitParts:
    """What commits need. `send` is called in the loop and answers in any thread; `wake`: sending may go on."""

    topics: tuple[str, str]
    state_topic: str
    identities: tuple[LogIdentity, LogIdentity]
    writer: RecordWriter
    send: Callable[[list[TopicPartition], Committed], None]
    table_offset: Callable[[], int]
    wake: Callable[[], None]
    version: int = VERSION


class _Sent(NamedTuple):
    """One commit on its way."""

    part: OwnedPartition
    stream: StreamIndex
    commit: SendCommit


class Committing:
    """Decides when to commit, writes states, sends requests, takes answers."""

    def __init__(self, parts: CommitParts, clock: Callable[[], float]) -> None:
        """Nothing is owned yet."""
        self.metadata_characters = 0
        """Of the longest metadata of the last request."""
        self._parts = parts
        self._clock = clock
        self._owned: Iterable[OwnedPartition] = ()
        self._timer: asyncio.TimerHandle | None = None
        self._ready: list[_Sent] = []
        self._sent: list[_Sent] | None = None
        self._stale: list[_Sent] | None = None
        self._heard_at = clock()  # when a commit succeeded last, or there was nothing to own
        self._kept_at = self._heard_at
        self._kept = 0
        self._must_succeed = False
        self._closed = False
        self._tombstones: list[tuple[float, StateKey]] = []

    def own(self, owned: Iterable[OwnedPartition]) -> None:
        """Commit for these partitions: a live view of the worker's."""
        self._owned = owned

    @property
    def fenced(self) -> bool:
        """Whether nothing may be sent: perhaps the partitions are somebody else's."""
        return self._must_succeed or self._clock() - self._heard_at > FENCED_AFTER_S

    def prove(self) -> None:
        """Send nothing before a commit that begins now has succeeded: this process was away for long.

        The answer of one that was sent before it went away says nothing of who owns the partitions today.
        """
        self._must_succeed = True
        self._stale = self._sent
        self._insist(self._owned)
        self.soon()

    def keep(self) -> None:
        """Commit a partition though it has nothing new to say, if it is time for that; call it once a second."""
        now, owned = self._clock(), list(self._owned)
        if not owned:
            self._heard_at = self._kept_at = now
        elif now - self._kept_at >= KEEP_EVERY_S:
            self._kept_at, self._kept = now, self._kept + 1
            self._insist([owned[self._kept % len(owned)]])
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

    def bury_tombstones(self) -> None:
        """Write the tombstones that are due; call it now and then."""
        now = self._clock()
        due = [key for at, key in self._tombstones if at <= now]
        if due:
            self._tombstones = [(at, key) for at, key in self._tombstones if at > now]
            for key in due:
                self.write_tombstone(key)

    def write_tombstone(self, key: StateKey) -> None:
        """Let compaction remove one chunk of a state that nothing points to."""
        self._parts.writer.write(
            self._parts.state_topic, key.encode(), None, lambda _offset: None, partition=key.partition
        )

    # --- steps --------------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._timer = None
        if self._sent is not None:
            return  # its answer looks again
        now = self._clock()
        dirty = False
        if self.fenced:
            self._insist(self._owned)
        # Of all partitions together: one request takes them all, and what a kill repeats is what none of them has said.
        enough = sum(part.progress for part in self._owned) >= COMMIT_AFTER_SETTLEMENTS
        for part in self._owned:
            if part.progress and (enough or now - part.begun_at >= COMMIT_AFTER_S):
                self._begin(part, now)
            dirty = dirty or bool(part.progress)
        self._send()
        if dirty:
            self.soon()

    def _insist(self, parts: Iterable[OwnedPartition]) -> None:
        """Commit them, changed or not: while nothing is sent nothing changes, and only a commit ends that."""
        for part in parts:
            part.progress += COMMIT_AFTER_SETTLEMENTS
            for commits in part.commits:
                commits.forget_commit()

    def _begin(self, part: OwnedPartition, now: float) -> None:
        part.progress, part.begun_at = 0, now
        for stream in (LIVE, REPLAY):
            commits = part.commits[stream]
            step = commits.begin(part.views[stream], now=now, table_offset=self._parts.table_offset())
            if isinstance(step, WriteState):
                self._write(part, stream, step)
            elif step is not None:
                self._ready.append(_Sent(part, stream, step))
            if commits.held_back:
                part.progress += 1

    def _write(self, part: OwnedPartition, stream: StreamIndex, step: WriteState) -> None:
        """Write a state; its commit is sent when Kafka has acknowledged it."""
        commits = part.commits[stream]

        def written(pointer: StatePointer | None) -> None:
            if pointer is not None:
                commit = commits.state_written(step, pointer)
                if commit is not None:
                    self._ready.append(_Sent(part, stream, commit))
                    self._send()
            elif commits.under_way(step):
                commits.failed()
                part.progress += 1
            self.soon()

        self.write_state(part.index, stream, step.state, written)

    def write_state(
        self, partition: int, stream: StreamIndex, state: PartitionState, written: Callable[[StatePointer | None], None]
    ) -> None:
        """Write a state under an id of its own; `written` gets the pointer to it, or None where Kafka refuses it."""
        state_id = secrets.token_bytes(STATE_ID_BYTES)
        topic = self._parts.topics[stream]
        chunks = chunks_of(encode_state(state))
        offsets: list[int] = []
        refused = False

        def acknowledged(offset: int | None) -> None:
            nonlocal refused
            if offset is None:
                if not refused:
                    refused = True
                    written(None)
                return
            offsets.append(offset)
            if len(offsets) == len(chunks):
                written(StatePointer(state_id, len(chunks), min(offsets), max(offsets)))

        for index, chunk in enumerate(chunks):
            key = StateKey(topic, partition, state_id, index).encode()
            self._parts.writer.write(self._parts.state_topic, key, chunk, acknowledged, partition=partition)

    def _send(self) -> None:
        """Commit everything that is ready, in one request."""
        if self._sent is not None or not self._ready:
            return
        sent, self._ready = self._ready, []
        offsets = [self.offset_of(part.index, stream, commit) for part, stream, commit in sent if not part.gone]
        if not offsets:
            return
        self._sent = sent
        self.metadata_characters = max(len(tp.metadata or "") for tp in offsets)
        loop = asyncio.get_running_loop()

        def committed(failure: str | None) -> None:
            loop.call_soon_threadsafe(self._answered, sent, failure)

        self._parts.send(offsets, committed)

    def offset_of(self, partition: int, stream: StreamIndex, commit: SendCommit) -> TopicPartition:
        """What Kafka is to keep."""
        identity = self._parts.identities[stream]
        metadata = CommitMetadata(
            log_digest=identity.log_digest,
            table_digest=identity.table_digest,
            table_offset=commit.table_offset,
            settled=commit.settled,
            pointer=commit.pointer,
        )
        text = encode_metadata(metadata, version=self._parts.version)
        return TopicPartition(self._parts.topics[stream], partition, commit.offset, text)

    def _answered(self, sent: list[_Sent], failure: str | None) -> None:
        self._sent = None
        if sent is self._stale:
            self._stale = None
        elif failure is None:
            fenced = self.fenced
            self._heard_at, self._must_succeed = self._clock(), False
            if fenced:
                self._parts.wake()
        if failure is not None:
            log.warning("a commit failed; it is tried again", reason=failure)
        for part, stream, commit in sent:
            commits = part.commits[stream]
            if part.gone or not commits.under_way(commit):
                continue
            if failure is not None:
                commits.failed()
                part.progress += 1
                continue
            part.committed.set()
            at = self._clock() + _TOMBSTONE_AFTER_S
            for pointer in commits.committed(commit):
                self._tombstones += [
                    (at, StateKey(self._parts.topics[stream], part.index, pointer.id, chunk))
                    for chunk in range(pointer.chunks)
                ]
        self._send()
        self.soon()

    # --- giving a partition away --------------------------------------------------------------------------------------

    async def last_commits(self, part: OwnedPartition, ends: float) -> list[TopicPartition]:
        """Everything that a partition still has to say; its state, if it has one, is acknowledged when this returns."""
        offsets = []
        for stream in (LIVE, REPLAY):
            commits = part.commits[stream]
            if not commits.idle:
                commits.failed()  # whatever is under way is older than what follows
            step = commits.begin(
                part.views[stream], now=self._clock(), table_offset=self._parts.table_offset(), final=True
            )
            if isinstance(step, WriteState):
                pointer = await self._written_within(part.index, stream, step.state, ends)
                step = None if pointer is None else commits.state_written(step, pointer)
            if isinstance(step, SendCommit):
                offsets.append(self.offset_of(part.index, stream, step))
        return offsets

    async def _written_within(
        self, partition: int, stream: StreamIndex, state: PartitionState, ends: float
    ) -> StatePointer | None:
        future: asyncio.Future[StatePointer | None] = asyncio.get_running_loop().create_future()
        self.write_state(partition, stream, state, lambda p: None if future.done() else future.set_result(p))
        try:
            async with asyncio.timeout(max(0.0, ends - self._clock())):
                return await future
        except TimeoutError:
            log.warning("a last state was not acknowledged; what it covered is delivered again", partition=partition)
            return None
