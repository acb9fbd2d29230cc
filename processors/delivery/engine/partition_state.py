"""What outlives the process: the commit's snapshot and the state it points to, as values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoredCursor:
    """One cursor: everything of the hook (or of one resource) from `next_offset` on, but for `settled`."""

    hook_id: int
    client: str
    event: str
    resource: str | None
    next_offset: int
    settled: tuple[int, ...]  # ascending
    oldest_ms: int


@dataclass(frozen=True, slots=True)
class StoredClock:
    """The clock of one resource of one hook; `due_ms` is Unix time."""

    hook_id: int
    client: str
    event: str
    resource: str
    attempts: int
    requests: int
    due_ms: int
    schedule_exhausted: bool
    first_failed_ms: int


@dataclass(frozen=True, slots=True)
class StoredDisable:
    """A hook that a 410 or five days of failure disabled, with the revision of the row it happened under."""

    hook_id: int
    client: str
    event: str
    revision: int
    failing: bool  # five days of failure, not a 410


@dataclass(frozen=True, slots=True)
class StoredHealth:
    """How an endpoint was doing; times are Unix milliseconds, 0 for none.

    `target_digest` stands for the target, see `hookstream.schemas.control`. `retried_at_ms` is the last request to
    try at once that was followed.
    """

    client: str
    target_digest: bytes
    breaker_open: bool
    from_backlog: bool
    retry_after_until_ms: int
    failing_since_ms: int
    busy_streak: int
    probe_at_ms: int
    probes: int
    retried_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class StoredTold:
    """What was told of an endpoint, and is to be told, see `Told`; of a hook of it, by which it is found again."""

    hook_id: int
    client: str
    event: str
    target_digest: bytes
    quarantined_ms: int
    told_ms: int
    ended_ms: int
    expiring_told_ms: int
    dead_told_ms: int
    dead_at_ms: int = 0
    dead_cause: str = ""
    dead_delivery_id: str = ""
    dead_reasons: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class PartitionState:
    """Everything but the offset and the settled set; a healthy partition's is empty and never written."""

    cursors: tuple[StoredCursor, ...] = ()
    clocks: tuple[StoredClock, ...] = ()
    disables: tuple[StoredDisable, ...] = ()
    health: tuple[StoredHealth, ...] = ()
    told: tuple[StoredTold, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to store."""
        return not (self.cursors or self.clocks or self.disables or self.health or self.told)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One stream of one partition, at one turn: what a commit says.

    `offset` is the lowest unsettled one; `settled` the bitmap above it (see `OffsetTracker.settled_above`).
    """

    offset: int
    settled: bytes
    state: PartitionState


EMPTY_STATE = PartitionState()
