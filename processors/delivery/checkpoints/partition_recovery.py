"""Where a partition begins that no worker may start: what an operator's answer means, given everything there is. Pure.

Keep what is pending: begin so low that nothing is missing that the group's offset or any state has not settled, and
read the log from there. It costs duplicates, and loses nothing:

- An offset that means nothing here (none, of another log, beyond the end), or a state that is gone or cannot be read:
  it is unknown what is pending. Begin with the first record that the log holds.
- Else begin at the lowest of the offset and the cursors of the states; and, where they have any, a window below their
  highest cursor. The lost commit can have been no lower: a cursor never starts above the reading position, and a window
  is all that lies between that and a commit.

Every state that has no tombstone counts, for it is not known which of them the lost commit pointed to.

Forget what is pending: go on at the group's offset if it is one of this log, with what its commit calls settled;
else at the end of the log.

Either way the new commit points to no state. Which subscriptions table its predecessor had read is kept, so that one
that was made anew is still refused until its end mark.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from hookstream.processors.delivery.engine.partition_state import PartitionState
from hookstream.processors.delivery.engine.policy import LONGEST_WINDOW
from hookstream.processors.errors import StoredFormatError

from .commit_metadata import CommitMetadata, decode_metadata
from .partition_start import FoundCommit, LogIdentity
from .state_codec import StateKey


class PendingDeliveries(StrEnum):
    """What becomes of pending deliveries."""

    KEEP = "keep-owed"
    FORGET = "forget"


@dataclass(frozen=True, slots=True)
class FoundState:
    """A state of a partition: the chunks that are there, and what it says; None where it cannot be read."""

    chunks: tuple[StateKey, ...]
    state: PartitionState | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that there is of one partition of a topic; `refused` is why a worker does not start it, if so."""

    found: FoundCommit
    watermarks: tuple[int, int]
    identity: LogIdentity
    states: tuple[FoundState, ...]
    refused: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What mends a partition: first this commit, then tombstones for `drop`.

    `again`: so many offsets are read that may have been delivered. `cursors_dropped`: of the states that are dropped.
    """

    offset: int
    metadata: CommitMetadata
    drop: tuple[StateKey, ...]
    again: int
    cursors_dropped: int


def plan_recovery(evidence: Evidence, pending: PendingDeliveries) -> Recovery | None:
    """Decide; None where a worker starts the partition as it is, and nothing is to be done."""
    if evidence.refused is None:
        return None
    low, high = evidence.watermarks
    metadata, offset = _metadata(evidence.found), evidence.found.offset
    foreign = metadata is not None and metadata.log_digest != evidence.identity.log_digest
    usable = None if offset is None or offset > high or foreign else offset
    states = [found.state for found in evidence.states]
    settled = b""
    if pending is PendingDeliveries.KEEP:
        known = [state for state in states if state is not None]
        lost = len(known) < len(states) or (metadata is not None and metadata.pointer is not None)
        begin = low if usable is None or lost else min([usable, *_lowest(known)])
    else:
        begin = high if usable is None else usable
        if metadata is not None and begin == offset and begin >= low:
            settled = metadata.settled
    begin = min(max(begin, low), high)
    return Recovery(
        offset=begin,
        metadata=CommitMetadata(
            log_digest=evidence.identity.log_digest,
            table_digest=evidence.identity.table_digest if metadata is None else metadata.table_digest,
            table_offset=0 if metadata is None else metadata.table_offset,
            settled=settled,
        ),
        drop=tuple(key for found in evidence.states for key in found.chunks),
        again=max(0, (high if usable is None else usable) - begin),
        cursors_dropped=len({(c.hook_id, c.resource) for state in states if state is not None for c in state.cursors}),
    )


def _lowest(states: Iterable[PartitionState]) -> list[int]:
    """Below which nothing is pending: by a cursor, or in the window of the commit that pointed to one of the states."""
    starts = [cursor.next_offset for state in states for cursor in state.cursors]
    return [min(starts), max(starts) - LONGEST_WINDOW] if starts else []


def _metadata(found: FoundCommit) -> CommitMetadata | None:
    try:
        return decode_metadata(found.metadata)
    except StoredFormatError:
        return None
