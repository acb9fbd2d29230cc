"""When one stream of one partition commits, what, and with which state. Sans-I/O.

Safety depends on this order; the numbers are repeated where it happens (rule R10).

1. Offset, settled set and state are taken in one turn of the engine.
2. A state that is written is acknowledged by Kafka before the commit that points to it is sent.
3. A commit may point to the state of the last successful commit instead, if that one has every cursor that the engine
   has now: then only progress inside of those cursors is older, and what it repeats is a duplicate, not a loss.
4. The commit in progress is the only one: what it covers is remembered when Kafka has answered, not before.
5. A commit with another state whose answer is missing may have arrived. So the next one does not point to the state
   before it, or the partition would know less than it did: until one is acknowledged, each has the whole state.

So a state is looked at once a second, however often is committed, and a healthy partition has none. A cursor that no
written state has holds back every commit until one has it: what was settled meanwhile would be repeated by
a kill. So its state is written at once, unless another was within the last second.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol, TypeAlias

from hookstream.processors.delivery.engine.partition_state import EMPTY_STATE, PartitionState

if TYPE_CHECKING:
    from collections.abc import Collection

    from hookstream.processors.delivery.engine.partition_state import Snapshot

    from .commit_metadata import StatePointer

STATE_EVERY_S = 1.0

CursorName: TypeAlias = tuple[int, str | None]
"""Hook and resource, None for the cursor of the whole hook."""


class StreamView(Protocol):
    """One stream of an engine, as commits see it; every call answers for the present turn."""

    def progress(self) -> tuple[int, bytes]:
        """The lowest unsettled offset, and the settled set above it."""
        ...

    def cursors(self) -> Collection[CursorName]:
        """Every open cursor."""
        ...

    def snapshot(self) -> Snapshot:
        """Everything that a commit with a new state says."""
        ...


@dataclass(frozen=True, slots=True)
class WriteState:
    """Write this state, then call `state_written` or `failed`."""

    state: PartitionState


@dataclass(frozen=True, slots=True)
class SendCommit:
    """Commit this, then call `committed` or `failed`."""

    offset: int
    settled: bytes
    pointer: StatePointer | None
    table_offset: int


class _Stage(Enum):
    IDLE = "idle"
    WRITING = "writing"
    COMMITTING = "committing"


class StreamCommits:
    """The commits of one stream, from its start to its revocation."""

    def __init__(
        self,
        *,
        offset: int,
        settled: bytes = b"",
        pointer: StatePointer | None = None,
        state: PartitionState = EMPTY_STATE,
    ) -> None:
        """Start with what the restored commit says."""
        self._stage = _Stage.IDLE
        self._last: tuple[int, bytes, StatePointer | None] | None = (offset, settled, pointer)
        self._pointer = pointer
        self._state = state
        self._look_at = 0.0
        self._write_at = 0.0
        self._state_next = EMPTY_STATE
        self._commit: SendCommit | None = None
        self._writing: WriteState | None = None
        self._orphans: list[StatePointer] = []
        self._held_back = False
        self._perhaps_arrived = False  # a commit with another state

    @property
    def pointed(self) -> StatePointer | None:
        """The state that the last successful commit points to."""
        return self._pointer

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return self._stage is _Stage.IDLE

    @property
    def held_back(self) -> bool:
        """Whether the last `begin` did not look at the whole state, so that there may be more to say a second later."""
        return self._held_back

    def forget_commit(self) -> None:
        """Commit at the next opportunity even if nothing has changed."""
        self._last = None

    def begin(
        self, view: StreamView, *, now: float, table_offset: int, final: bool = False
    ) -> WriteState | SendCommit | None:
        """Begin a commit; None if there is nothing new to say, or no state may be written yet that it would need.

        `final` takes the state along whenever it was written last: the partition is given away.
        """
        self._held_back = self._stage is not _Stage.IDLE
        if self._held_back:
            return None
        due = final or now >= self._look_at
        covers = due or (not self._perhaps_arrived and self._covers(view.cursors()))  # (5)
        if due or (now >= self._write_at and not covers):
            snapshot = view.snapshot()  # (1)
            self._look_at = now + STATE_EVERY_S
            if snapshot.state.empty:
                return self._send(snapshot.offset, snapshot.settled, None, EMPTY_STATE, table_offset)
            if snapshot.state != self._state:
                self._write_at = now + STATE_EVERY_S
                self._stage = _Stage.WRITING
                self._state_next = snapshot.state
                self._commit = SendCommit(snapshot.offset, snapshot.settled, None, table_offset)
                self._writing = WriteState(snapshot.state)
                return self._writing
            return self._send(snapshot.offset, snapshot.settled, self._pointer, self._state, table_offset)
        self._held_back = True
        if not covers:
            return None
        offset, settled = view.progress()  # (1)
        return self._send(offset, settled, self._pointer, self._state, table_offset)  # (3)

    def state_written(self, written: WriteState, pointer: StatePointer) -> SendCommit | None:
        """Take Kafka's acknowledgement of a state, and give the commit that waited for it, if one still does."""
        waiting = self._commit
        if written is not self._writing or waiting is None:
            self._orphans.append(pointer)
            return None
        self._writing = None
        return self._send(waiting.offset, waiting.settled, pointer, self._state_next, waiting.table_offset)  # (2)

    def committed(self, commit: SendCommit) -> list[StatePointer]:
        """Take Kafka's acknowledgement of a commit; give the states that nothing points to any more."""
        if commit is not self._commit or self._stage is not _Stage.COMMITTING:
            return []
        replaced = self._orphans
        if self._pointer is not None and self._pointer != commit.pointer:
            replaced = [*replaced, self._pointer]
        self._orphans = []
        self._perhaps_arrived = False
        self._pointer, self._state = commit.pointer, self._state_next
        self._last = (commit.offset, commit.settled, commit.pointer)
        self._stage, self._commit = _Stage.IDLE, None
        return replaced

    def failed(self) -> None:
        """Give up what is under way: Kafka said no, or nothing. What it wanted to say is said by the next."""
        commit = self._commit
        if self._stage is _Stage.COMMITTING and commit is not None and commit.pointer != self._pointer:
            self._perhaps_arrived = True
            if commit.pointer is not None:  # so its state stays until a later commit is acknowledged
                self._orphans.append(commit.pointer)
        self._last = None
        self._stage, self._commit, self._writing = _Stage.IDLE, None, None

    def under_way(self, step: WriteState | SendCommit) -> bool:
        """Whether this is what Kafka's answer is awaited for."""
        return step is self._writing or step is self._commit

    def _send(
        self, offset: int, settled: bytes, pointer: StatePointer | None, state: PartitionState, table_offset: int
    ) -> SendCommit | None:
        if self._last == (offset, settled, pointer):
            return None
        self._stage = _Stage.COMMITTING
        self._state_next = state
        self._commit = SendCommit(offset, settled, pointer, table_offset)
        return self._commit

    def _covers(self, cursors: Collection[CursorName]) -> bool:
        """Whether the state that is pointed to has all of these cursors; an empty one has none."""
        if not cursors:
            return True
        mine = {(cursor.hook_id, cursor.resource) for cursor in self._state.cursors}
        return mine.issuperset(cursors)
