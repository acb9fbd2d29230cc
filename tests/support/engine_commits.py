"""What outlives the owners in the engine's world: the group's commits and `delivery-state`, through the shipped codecs.

An owner's commits are decided by the shipped `StreamCommits`, written as the text and the chunks that Kafka would keep,
and a start reads them with the shipped decision. So what a commit means is tested from the turn that it was taken in to
the turn that it is restored in, and everything between may be planted with a bug.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from hookstream.processors.delivery.checkpoints.commit_metadata import log_digest, table_digest
from hookstream.processors.errors import StartRefusedError, StoredFormatError

if TYPE_CHECKING:
    from hookstream.processors.delivery.engine.engine_view import EngineView

TOPICS = ("deliveries", "deliveries.replay")
_CHUNK_BYTES = 40  # so that most states are cut
# A state is looked at every second, and a step of the world is one: now and then a commit has to do without.
_COMMITS_PER_STATE = 40.0
_STATE_EVERY_S = 1.0


class HeldBackError(Exception):
    """A commit waits though a state may be written."""


class OlderStateError(Exception):
    """A commit knows less than one before it."""


class CommitModules(Protocol):
    """The modules of the commits, the shipped ones or a copy with a planted bug."""

    @property
    def commit_metadata(self) -> ModuleType: ...
    @property
    def commit_state(self) -> ModuleType: ...
    @property
    def partition_start(self) -> ModuleType: ...
    @property
    def partition_state(self) -> ModuleType: ...
    @property
    def state_codec(self) -> ModuleType: ...
    @property
    def tracker(self) -> ModuleType: ...


@dataclass(eq=False)
class Committer:
    """One owner's commits of one stream, a step at a time."""

    view: EngineView
    commits: Any
    step: Any = None  # what Kafka's answer is awaited for
    written_at: float = -math.inf  # when a state was written last, whatever became of it

    def may_write(self, now: int) -> bool:
        """Whether the last state is old enough for another."""
        return now / _COMMITS_PER_STATE - self.written_at >= _STATE_EVERY_S

    late: list[Any] = field(default_factory=list)  # states that were given up, and may still be acknowledged


@dataclass(frozen=True)
class Restored:
    """What a start found."""

    start: Any
    commits: Any
    table_offset: int


class Durable:
    """The group's offsets and the topic `delivery-state`."""

    def __init__(self, kit: CommitModules, chance: random.Random) -> None:
        self.kit, self.random = kit, chance
        self.offsets: list[tuple[int | None, str | None]] = [(None, None), (None, None)]
        self.chunks: dict[bytes, bytes] = {}
        self.states = 0  # written so far
        self.written: dict[bytes, int] = {}  # the number of each, by its id
        self.pointed = [0, 0]  # the number of the state that the last commit with one points to
        # The pointer and the state that were read last of each stream.
        self._decoded: list[tuple[Any, Any]] = [(None, None), (None, None)]
        self.identities = [
            kit.partition_start.LogIdentity(log_digest("cluster", topic), table_digest("table")) for topic in TOPICS
        ]

    def restore(self, stream: int, high: int, low: int) -> Restored:
        """What the next owner begins with; the first commit is made at once.

        Raises:
            StartRefusedError: commit, log and state do not fit.
            StoredFormatError: the state that the commit points to cannot be read.
        """
        kit = self.kit
        found = kit.partition_start.FoundCommit(TOPICS[stream], 0, *self.offsets[stream])
        exists = kit.partition_start.needs_state_search(found) and self.any_state(stream)
        identity = self.identities[stream]
        start = kit.partition_start.decide_start(found, watermarks=(low, high), identity=identity, state_exists=exists)
        if start.metadata is None:
            self.keep(stream, kit.commit_state.SendCommit(start.offset, b"", None, 0))
            commits = kit.commit_state.StreamCommits(offset=start.offset)
            empty = kit.partition_state.EMPTY_STATE
            return Restored((start.offset, kit.tracker.SettledSet(start.offset), empty), commits, 0)
        metadata = start.metadata
        state = self.load(stream, metadata.pointer)
        settled = kit.tracker.SettledSet(start.committed, metadata.settled)
        commits = kit.commit_state.StreamCommits(
            offset=start.committed, settled=metadata.settled, pointer=metadata.pointer, state=state
        )
        return Restored((start.offset, settled, state), commits, metadata.table_offset)

    def load(self, stream: int, pointer: Any) -> Any:
        """Read the state that a commit points to.

        Raises:
            StoredFormatError: it is not there, or cannot be read.
        """
        if pointer is None:
            return self.kit.partition_state.EMPTY_STATE
        found = [self.chunks.get(self._key(stream, pointer, chunk)) for chunk in range(pointer.chunks)]
        if None in found:
            raise StoredFormatError("the state that it points to is not in its topic")
        if self._decoded[stream][0] != pointer:  # most commits point to the state of the last
            data = b"".join(chunk for chunk in found if chunk is not None)
            self._decoded[stream] = pointer, self.kit.state_codec.decode_state(data)
        return self._decoded[stream][1]

    def any_state(self, stream: int) -> bool:
        """Whether there is any state of a stream."""
        return any(key.startswith(TOPICS[stream].encode() + b"|") for key in self.chunks)

    def write(self, stream: int, state: Any) -> Any:
        """Write a state under an id of its own, and give the pointer to it."""
        codec = self.kit.state_codec
        chunks = codec.chunks_of(codec.encode_state(state), size=_CHUNK_BYTES)
        pointer = self.kit.commit_metadata.StatePointer(self.random.randbytes(8), len(chunks), 0, len(chunks) - 1)
        for index, chunk in enumerate(chunks):
            self.chunks[self._key(stream, pointer, index)] = chunk
        self.states += 1
        self.written[pointer.id] = self.states
        return pointer

    def delete(self, stream: int, pointer: Any) -> None:
        """Write the tombstones of a state, and compact."""
        for chunk in range(pointer.chunks):
            self.chunks.pop(self._key(stream, pointer, chunk), None)

    def keep(self, stream: int, commit: Any) -> None:
        """Keep a commit."""
        if commit.pointer is not None:
            self.pointed[stream] = self.written[commit.pointer.id]
        identity = self.identities[stream]
        metadata = self.kit.commit_metadata.CommitMetadata(
            log_digest=identity.log_digest,
            table_digest=identity.table_digest,
            table_offset=commit.table_offset,
            settled=commit.settled,
            pointer=commit.pointer,
        )
        self.offsets[stream] = (commit.offset, self.kit.commit_metadata.encode_metadata(metadata))

    def said(self, stream: int) -> tuple[int, Any, Any]:
        """Offset, settled set and state of the present commit."""
        offset, text = self.offsets[stream]
        metadata = self.kit.commit_metadata.decode_metadata(text)
        settled = self.kit.tracker.SettledSet(offset, metadata.settled)
        return offset or 0, settled, self.load(stream, metadata.pointer)

    def covers(self, stream: int, committer: Committer) -> bool:
        """Whether the state that the present commit points to has every cursor that its owner has now."""
        state = self.said(stream)[2]
        return {(cursor.hook_id, cursor.resource) for cursor in state.cursors}.issuperset(committer.view.cursors())

    def goes_back(self, stream: int, commit: Any, view: EngineView) -> bool:
        """Whether a commit that begins now points to an older state than the last, and to another than now is."""
        if commit.pointer is None or self.written[commit.pointer.id] >= self.pointed[stream]:
            return False
        return bool(self.load(stream, commit.pointer) != view.snapshot().state)

    def offset(self, stream: int) -> int:
        """The committed offset."""
        return self.offsets[stream][0] or 0

    def _key(self, stream: int, pointer: Any, chunk: int) -> bytes:
        key: bytes = self.kit.state_codec.StateKey(TOPICS[stream], 0, pointer.id, chunk).encode()
        return key


def begin(committer: Committer, *, now: int, table_offset: int, final: bool) -> Any:
    """Begin an owner's commit."""
    at = now / _COMMITS_PER_STATE
    step = committer.commits.begin(committer.view, now=at, table_offset=table_offset, final=final)
    if hasattr(step, "state"):
        committer.written_at = at
    return step


def _judge_begun(durable: Durable, committer: Committer, stream: int, now: int) -> None:
    step = committer.step
    if hasattr(step, "pointer") and durable.goes_back(stream, step, committer.view):
        raise OlderStateError(f"{step.offset} points to an older state than a commit before it")
    if step is None and committer.may_write(now) and not durable.covers(stream, committer):
        raise HeldBackError(f"{committer.view.progress()[0]} waits, the last state is of {committer.written_at}")


def advance(
    durable: Durable, committer: Committer, stream: int, *, now: int, table_offset: int, fenced: bool, final: bool
) -> bool:
    """Take one step of an owner's commits: begin, state written, committed; says whether a commit was kept.

    Kafka may refuse a state, acknowledge it too late, and keep a commit without its answer ever arriving.

    Raises:
        HeldBackError: a commit waits for a state, though none was written within a second.
        OlderStateError: a commit points to an older state than one that Kafka has kept.
    """
    commits, chance = committer.commits, durable.random
    if committer.late and chance.random() < 0.5:
        written = committer.late.pop(0)
        commit = commits.state_written(written, durable.write(stream, written.state))
        if commit is not None:
            committer.step = commit
        return False
    step, committer.step = committer.step, None
    if step is None:
        committer.step = begin(committer, now=now, table_offset=table_offset, final=final)
        if not fenced and not final:
            _judge_begun(durable, committer, stream, now)
        return False
    if isinstance(step, durable.kit.commit_state.WriteState):
        if not final and chance.random() < 0.1:  # given up; whether it was written is seen later
            commits.failed()
            committer.late.append(step)
            return False
        committer.step = commits.state_written(step, durable.write(stream, step.state))
        return False
    if fenced:
        commits.failed()
        return False
    durable.keep(stream, step)
    if chance.random() < 0.05:
        commits.failed()  # kept, but the answer was lost
    else:
        for pointer in commits.committed(step):
            durable.delete(stream, pointer)
    return True


def finish(durable: Durable, committer: Committer, stream: int, *, now: int, table_offset: int) -> bool:
    """Make the last commit of a stream that is given away."""
    if not committer.commits.idle:
        committer.commits.failed()
    committer.step = None
    committer.late.clear()
    kept = False
    for _ in range(3):
        kept |= advance(durable, committer, stream, now=now, table_offset=table_offset, fenced=False, final=True)
        if committer.step is None:
            break
    return kept


def tamper(durable: Durable, stream: int) -> bool:
    """Do to the group's offset what makes a start guess; says whether a start has to be refused now."""
    offset, text = durable.offsets[stream]
    kind = durable.random.randrange(3)
    if kind == 2:
        log = durable.identities[1 - stream].log_digest
        metadata = durable.kit.commit_metadata.decode_metadata(text)
        foreign = durable.kit.commit_metadata.CommitMetadata(
            log_digest=log,
            table_digest=metadata.table_digest,
            table_offset=metadata.table_offset,
            settled=metadata.settled,
            pointer=metadata.pointer,
        )
        durable.offsets[stream] = (offset, durable.kit.commit_metadata.encode_metadata(foreign))
        return True
    if not durable.any_state(stream):
        return False
    durable.offsets[stream] = (offset, None) if kind == 0 else (None, None)
    return True


__all__ = [
    "Committer",
    "Durable",
    "HeldBackError",
    "OlderStateError",
    "Restored",
    "StartRefusedError",
    "StoredFormatError",
]
