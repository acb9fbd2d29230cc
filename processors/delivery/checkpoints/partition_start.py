"""Where a partition begins: what its commit says, compared with the log and with what `delivery-state` holds. Pure.

Nothing here guesses. Where a commit and a state contradict each other, an operator reset offsets, restored a backup or
made a topic anew, and only an operator knows what is still pending.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from hookstream.processors.errors import StartRefusedError, StoredFormatError

from .commit_metadata import CommitMetadata, decode_metadata


class LogIdentity(NamedTuple):
    """Which cluster and topic this is, and which subscriptions table; see `commit_metadata`."""

    log_digest: bytes
    table_digest: bytes


class FoundCommit(NamedTuple):
    """What the group has of one partition of a topic; offset None: nothing."""

    topic: str
    partition: int
    offset: int | None
    metadata: str | None


@dataclass(frozen=True, slots=True)
class StartAt:
    """Begin at `offset`; with `metadata` if the commit (at `committed`) is ours, else commit first.

    `expired`: so many offsets between the two are gone.
    """

    offset: int
    committed: int | None
    metadata: CommitMetadata | None = None
    expired: int = 0


def needs_state_search(found: FoundCommit) -> bool:
    """Whether `decide_start` has to know if there is any state: only a commit that is ours makes the question idle."""
    return found.offset is None or not (found.metadata or "").rstrip("\0")


def decide_start(
    found: FoundCommit, *, watermarks: tuple[int, int], identity: LogIdentity, state_exists: bool
) -> StartAt:
    """Decide; `watermarks` are the first offset that the log holds and the one after its last.

    Raises:
        StartRefusedError: one line that says why and names the command that decides.
    """
    low, high = watermarks
    try:
        metadata = decode_metadata(found.metadata)
    except StoredFormatError as exc:
        raise refusal(found, str(exc)) from exc
    if found.offset is None or metadata is None:
        if state_exists:
            what = "the group has no offset" if found.offset is None else "the group's offset was set by hand"
            raise refusal(found, f"{what}, but a state has pending deliveries")
        if found.offset is None:
            return StartAt(low, None)
    elif metadata.log_digest != identity.log_digest:
        raise refusal(found, "its commit is of another cluster, or of an earlier topic of this name")
    if found.offset > high:
        raise refusal(found, f"it is committed up to {found.offset}, but its log ends at {high}")
    return StartAt(max(found.offset, low), found.offset, metadata, expired=max(0, low - found.offset))


def refusal(found: FoundCommit, reason: str) -> StartRefusedError:
    """One line that says why, and what to do."""
    return StartRefusedError(
        f"{found.topic}:{found.partition} cannot be started: {reason}; stop all workers, then run"
        " `hookstream recover --keep-owed` (deliver what is pending) or `hookstream recover --forget`",
        reason,
    )
