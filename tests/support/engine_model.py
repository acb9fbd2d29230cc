"""What the parts of the simulated world hand to each other: the engine's modules, its owner, a request, a violation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hookstream.processors.delivery.checkpoints import commit_metadata, commit_state, partition_start, state_codec
from hookstream.processors.delivery.engine import (
    catch_up,
    dispatcher,
    engine,
    model,
    outcome,
    partition_state,
    policy,
    tracker,
)

if TYPE_CHECKING:
    from types import ModuleType

    from hookstream.processors.delivery.engine.ledger import Ledger
    from hookstream.processors.delivery.engine.model import Post
    from hookstream.schemas.control import EndpointSettings
    from hookstream.schemas.delivery import Delivery
    from hookstream.schemas.hook import Hook
    from tests.support.engine_commits import Committer

LIVE, REPLAY = 0, 1
WINDOW, MAX_RESOURCE_CURSORS = 30, 3
SCHEDULE, NEAR = (10.0, 40.0, 120.0), 15.0
PROBE_FIRST, PROBE_STEADY, PROBE_MAX, STEADY_PROBES = 5.0, 20.0, 80.0, 1
PROBE_PAUSES = (5.0, 10.0, 20.0, 40.0, 80.0)  # after so many failed probes; what follows is the last
BREAKER_AFTER, BREAKER_IN_A_ROW = 60, 4
TIMEOUT, EXPIRE_AFTER = 150, 1500
WALL_MS = 1_700_000_000_000
OK, FAIL, GONE, BUSY, REJECT = "2xx", "failure", "410", "retry-after", "422"
REFUSED = "refused"  # reason of a dead letter whose receiver asked for it


@dataclass(frozen=True)
class Kit:
    """The modules of the engine, the shipped ones or a copy with a planted bug."""

    catch_up: ModuleType = catch_up
    commit_metadata: ModuleType = commit_metadata
    commit_state: ModuleType = commit_state
    dispatcher: ModuleType = dispatcher
    engine: ModuleType = engine
    model: ModuleType = model
    outcome: ModuleType = outcome
    partition_start: ModuleType = partition_start
    partition_state: ModuleType = partition_state
    policy: ModuleType = policy
    state_codec: ModuleType = state_codec
    tracker: ModuleType = tracker


class ViolationError(AssertionError):
    """An invariant does not hold; the first word names it."""


class Table:
    """One owner's copy of the subscriptions table."""

    def __init__(self) -> None:
        """Begin empty."""
        self.rows: dict[tuple[str, str], Hook] = {}
        self.settings: dict[tuple[str, bytes], EndpointSettings] = {}
        self.offset = 0

    def get(self, client: str, event: str) -> Hook | None:
        """Return the row of a subscription key."""
        return self.rows.get((client, event))

    def apply(self, row: Hook) -> bool:
        """Take the next row of the topic; return whether it is newer than the known one."""
        self.offset += 1
        known = self.rows.get((row.client, row.event))
        if known is not None and row.revision <= known.revision:
            return False
        self.rows[row.client, row.event] = row
        return True


class SettingsView:
    """One owner's copy of the endpoints' settings, as the engine asks for it."""

    def __init__(self, table: Table) -> None:
        """Read from a table's settings."""
        self.table = table

    def get(self, client: str, digest: bytes) -> EndpointSettings | None:
        """Return what operators set for an endpoint."""
        return self.table.settings.get((client, digest))


@dataclass(eq=False)
class Owner:
    """One engine with what belongs to its process."""

    engine: Any
    dispatcher: Any
    table: Table
    serial: int
    dead_letters: list[tuple[int, Any, str]] = field(default_factory=list)
    told: list[Any] = field(default_factory=list)  # notices that Kafka has not answered
    committers: list[Committer] = field(default_factory=list)
    readers: dict[tuple[int, bool], int | None] = field(default_factory=dict)
    stale: set[int] = field(default_factory=set)

    @property
    def ledger(self) -> Ledger:
        """What the engine knows."""
        ledger: Ledger = self.engine._ledger
        return ledger

    def position(self, stream: int) -> int:
        """Where the engine reads next."""
        position: int = self.engine.views[stream].position
        return position


@dataclass(eq=False)
class Flight:
    """One request on the wire."""

    post: Post
    owner: Owner
    endpoint: tuple[str, str]
    outcome: str | None = None
    refuses: bool = False  # the answer asks for a dead letter


def skips(wanted: EndpointSettings, record: Delivery) -> bool:
    """Whether an operator wants the record in the dead letters."""
    since = record.replayed_at_ms or record.arrived_ms
    return since < wanted.skip_before_ms or any(
        skip.delivery_id == record.id and since < skip.at_ms for skip in wanted.skipped
    )
