"""Replays in the database: what was asked for, who works on it, and how far it is.

A replay is counted first, and sends nothing before a caller has seen the count and lets it run:

    counting ──► planned ──► running ◄──► paused
        │                      ├──► done
        └──────► failed ◄──────┘            and from each that has not ended: cancelled

Whoever works on one holds its lease, a time in its row until which no other does. Every write checks the lease
under the row's lock, so of two that believe to hold it only one writes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, NewType

from sqlalchemy import ColumnElement, and_, false, or_, select
from sqlalchemy.orm import Session

from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import HookId

from .choices import ReplayOnly, ReplaySource
from .errors import LeaseLostError, ReplayNotFoundError, ReplayStateError, ReplayUnfinishedError
from .models import AuditRow, ReplayRow

ReplayId = NewType("ReplayId", int)


class ReplayState(StrEnum):
    """How far a replay is."""

    COUNTING = "counting"  # the window is read, nothing is sent
    PLANNED = "planned"  # counted; a caller has to let it run
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


UNFINISHED: Final = frozenset({ReplayState.COUNTING, ReplayState.PLANNED, ReplayState.RUNNING, ReplayState.PAUSED})


class WorkKind(NamedTuple):
    """What a replayer does for a replay, and whether its client asked for it."""

    own: bool
    state: ReplayState


ALL_WORK: Final = frozenset(
    WorkKind(own, state) for own in (False, True) for state in (ReplayState.COUNTING, ReplayState.RUNNING)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayFilter:
    """What of the window is wanted; None wants any. Times are those of arrival in the log, `to_ms` is not in it."""

    from_ms: int
    to_ms: int
    client: ClientId | None = None
    hook_id: HookId | None = None
    event: EventName | None = None
    namespace: str | None = None
    concept_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewReplay:
    """What is asked for. Rates are deliveries a second."""

    wanted: ReplayFilter
    source: ReplaySource = ReplaySource.EVENTS
    only: ReplayOnly = ReplayOnly.ALL
    rate_per_s: float
    endpoint_rate_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What is read of one partition: the offsets from `start` on and before `end`."""

    topic: str
    partition: int
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The window in offsets, fixed once. `left_from_ms`: retention has cut it, and it is whole from then on only."""

    stretches: Sequence[Stretch]
    left_from_ms: int | None = None

    @property
    def records(self) -> int:
        """How many offsets there are to read."""
        return sum(stretch.end - stretch.start for stretch in self.stretches)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayCount:
    """What a dry run found. `hooks` are those with the most deliveries; `estimate_s` is what the rates allow."""

    deliveries: int
    hooks: Mapping[HookId, int]
    hook_count: int
    estimate_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayProgress:
    """How far a run is: records read, deliveries sent, records that were gone or no event when they were met."""

    scanned: int = 0
    sent: int = 0
    expired: int = 0
    unreadable: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReplay:
    """A replay as its row has it. `own`: its client asked for it.

    Its lease lasts until `claimed_until_ms`, by the clock of the database.
    """

    id: ReplayId
    own: bool
    asked: NewReplay
    state: ReplayState
    created_by: str
    created_at_ms: int
    updated_at_ms: int
    started_at_ms: int | None
    ended_at_ms: int | None
    window: Window | None
    count: ReplayCount | None
    progress: ReplayProgress
    reason: str | None
    claimed_until_ms: int

    @property
    def job(self) -> str:
        """What its deliveries carry as `hookstream-replay`."""
        return f"replay-{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayQuery:
    """Which replays to list, the newest first: below `before`, of one client and one state where these are set."""

    client: ClientId | None
    state: ReplayState | None = None
    before: int | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class ReplayRepository:
    """The replays, as one transaction of the API sees and changes them."""

    session: Session
    actor: str
    now_ms: int

    def create(self, new: NewReplay, *, one_at_a_time: bool) -> StoredReplay:
        """Ask for a replay; it is counted as soon as a replayer has time. `one_at_a_time`: of the client's own.

        Of two that are asked for at once the later one breaks a unique index; `transact` repeats it, and it is refused.

        Raises:
            ReplayUnfinishedError: the client has one that has not ended.
        """
        wanted = new.wanted
        if one_at_a_time:
            unfinished = select(ReplayRow.id).where(ReplayRow.client == wanted.client, ReplayRow.own, _unfinished())
            found = self.session.scalar(unfinished.limit(1))
            if found is not None:
                raise ReplayUnfinishedError(found)
        row = ReplayRow(
            created_by=self.actor,
            created_at_ms=self.now_ms,
            own=one_at_a_time,
            from_ms=wanted.from_ms,
            to_ms=wanted.to_ms,
            client=wanted.client,
            hook_id=wanted.hook_id,
            event=wanted.event,
            namespace=wanted.namespace,
            concept_id=wanted.concept_id,
            source=new.source.value,
            selection=new.only.value,
            rate_per_s=new.rate_per_s,
            endpoint_rate_per_s=new.endpoint_rate_per_s,
            scanned=0,
            sent=0,
            expired=0,
            unreadable=0,
            lease_until_ms=0,
        )
        self.session.add(row)
        row.state = ReplayState.COUNTING.value
        row.updated_at_ms = self.now_ms
        self.session.flush()
        detail = {name: value for name, value in _asked_detail(row).items() if value is not None}
        return self._audited(row, "replay.create", detail)

    def get(self, replay_id: int, *, client: ClientId | None) -> StoredReplay:
        """Read a replay; `client` None sees every client's.

        Raises:
            ReplayNotFoundError: none, or not of this client alone.
        """
        return stored_replay(self._row(replay_id, client, lock=False))

    def list(self, query: ReplayQuery) -> Sequence[StoredReplay]:
        """Replays, the newest first."""
        found = select(ReplayRow).order_by(ReplayRow.id.desc()).limit(query.limit)
        if query.client is not None:
            found = found.where(ReplayRow.client == query.client)
        if query.state is not None:
            found = found.where(ReplayRow.state == query.state.value)
        if query.before is not None:
            found = found.where(ReplayRow.id < query.before)
        return [stored_replay(row) for row in self.session.scalars(found)]

    def run(self, replay_id: int, *, client: ClientId | None) -> StoredReplay:
        """Let a planned or paused replay run. One that runs stays as it is.

        Raises:
            ReplayNotFoundError: as `get`.
            ReplayStateError: it is not counted yet, or has ended.
        """
        return self._to(
            replay_id, client, ReplayState.RUNNING, since=(ReplayState.PLANNED, ReplayState.PAUSED), action="replay.run"
        )

    def pause(self, replay_id: int, *, client: ClientId | None) -> StoredReplay:
        """Send nothing more until it is let run again; what was sent is delivered. A paused one stays as it is.

        Raises:
            ReplayNotFoundError: as `get`.
            ReplayStateError: it does not run.
        """
        return self._to(replay_id, client, ReplayState.PAUSED, since=(ReplayState.RUNNING,), action="replay.pause")

    def cancel(self, replay_id: int, *, client: ClientId | None) -> StoredReplay:
        """End it; what was sent is delivered. A cancelled one stays as it is.

        Raises:
            ReplayNotFoundError: as `get`.
            ReplayStateError: it has ended otherwise.
        """
        return self._to(replay_id, client, ReplayState.CANCELLED, since=tuple(UNFINISHED), action="replay.cancel")

    def _to(
        self,
        replay_id: int,
        client: ClientId | None,
        state: ReplayState,
        *,
        since: Sequence[ReplayState],
        action: str,
    ) -> StoredReplay:
        row = self._row(replay_id, client, lock=True)
        if row.state == state:
            return stored_replay(row)
        if row.state not in since:
            raise ReplayStateError(row.id, row.state)
        _enter(row, state, self.now_ms)
        return self._audited(row, action, {})

    def _row(self, replay_id: int, client: ClientId | None, *, lock: bool) -> ReplayRow:
        found = select(ReplayRow).where(ReplayRow.id == replay_id)
        if client is not None:
            found = found.where(ReplayRow.client == client)
        row = self.session.scalar(found.with_for_update() if lock else found)
        if row is None:
            raise ReplayNotFoundError(replay_id)
        return row

    def _audited(self, row: ReplayRow, action: str, detail: Mapping[str, object]) -> StoredReplay:
        self.session.add(
            AuditRow(
                at_ms=self.now_ms,
                actor=self.actor,
                action=action,
                client=row.client,
                event=row.event,
                hook_id=row.hook_id,
                detail={"replay": row.id, **detail},
            )
        )
        self.session.flush()
        return stored_replay(row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Which process works, and how long its lease lasts after each renewal."""

    owner: str
    lasts_ms: int


@dataclass(frozen=True, slots=True)
class ReplayWork:
    """The replays as whoever works on them sees them, in one transaction.

    `now_ms` is by one clock for all of them, that of the database: whether a lease has ended is compared with it.
    """

    session: Session
    lease: Lease
    now_ms: int

    def claim(self, *, but_not: Sequence[ReplayId] = (), kinds: Collection[WorkKind] = ALL_WORK) -> StoredReplay | None:
        """Take the oldest replay of some kinds that has work and no lease; None where there is none."""
        free = or_(ReplayRow.lease_until_ms < self.now_ms, ReplayRow.lease_owner == self.lease.owner)
        wanted = or_(false(), *(and_(ReplayRow.own.is_(own), ReplayRow.state == state.value) for own, state in kinds))
        found = select(ReplayRow).where(wanted, free)
        if but_not:
            found = found.where(ReplayRow.id.not_in(but_not))
        row = self.session.scalar(found.order_by(ReplayRow.id).limit(1).with_for_update(skip_locked=True))
        if row is None:
            return None
        row.lease_owner = self.lease.owner
        self._renew(row)
        return stored_replay(row)

    def fix_window(self, replay_id: ReplayId, window: Window) -> None:
        """Keep the window, which nothing changes any more.

        Raises:
            LeaseLostError: another process holds the replay.
        """
        row = self._held(replay_id)
        row.stretches = [(each.topic, each.partition, each.start, each.end) for each in window.stretches]
        row.left_from_ms = window.left_from_ms
        self._renew(row)

    def save(self, replay_id: ReplayId, progress: ReplayProgress) -> ReplayState:
        """Keep how far it is, renew the lease, and give the state that is wanted.

        Raises:
            LeaseLostError: as above.
        """
        row = self._held(replay_id)
        self._store_progress(row, progress)
        self._renew(row)
        return ReplayState(row.state)

    def counted(self, replay_id: ReplayId, progress: ReplayProgress, count: ReplayCount) -> None:
        """Keep what a dry run found, and let go; it waits until a caller lets it run.

        Raises:
            LeaseLostError: as above.
        """
        row = self._held(replay_id)
        row.matched = count.deliveries
        row.hooks = {str(hook): number for hook, number in count.hooks.items()}
        row.hook_count = count.hook_count
        row.estimate_s = count.estimate_s
        if row.state == ReplayState.COUNTING:
            _enter(row, ReplayState.PLANNED, self.now_ms)
        self._store_progress(row, progress)
        self._let_go(row)

    def end(self, replay_id: ReplayId, progress: ReplayProgress, *, failed: str | None = None) -> None:
        """Keep that everything was sent, or why it cannot be, and let go. What was cancelled meanwhile stays so.

        Raises:
            LeaseLostError: as above.
        """
        row = self._held(replay_id)
        self._store_progress(row, progress)
        if row.state in UNFINISHED:
            row.reason = failed
            _enter(row, ReplayState.DONE if failed is None else ReplayState.FAILED, self.now_ms)
        self._let_go(row)

    def release(self, replay_id: ReplayId, progress: ReplayProgress) -> None:
        """Keep how far it is, and let go, so that the next one need not wait for the lease's end.

        Raises:
            LeaseLostError: as above.
        """
        row = self._held(replay_id)
        self._store_progress(row, progress)
        self._let_go(row)

    def _held(self, replay_id: ReplayId) -> ReplayRow:
        row = self.session.scalar(select(ReplayRow).where(ReplayRow.id == replay_id).with_for_update())
        if row is None or row.lease_owner != self.lease.owner:
            raise LeaseLostError(replay_id)
        return row

    def _store_progress(self, row: ReplayRow, progress: ReplayProgress) -> None:
        row.scanned, row.sent = progress.scanned, progress.sent
        row.expired, row.unreadable = progress.expired, progress.unreadable
        row.updated_at_ms = self.now_ms

    def _renew(self, row: ReplayRow) -> None:
        row.lease_until_ms = self.now_ms + self.lease.lasts_ms
        self.session.flush()

    def _let_go(self, row: ReplayRow) -> None:
        row.lease_owner, row.lease_until_ms = None, 0
        self.session.flush()


def _enter(row: ReplayRow, state: ReplayState, now_ms: int) -> None:
    row.state = state.value
    row.updated_at_ms = now_ms
    if state is ReplayState.RUNNING and row.started_at_ms is None:
        row.started_at_ms = now_ms
        row.scanned = row.expired = row.unreadable = 0  # what was counted is read again
    if state not in UNFINISHED:
        row.ended_at_ms = now_ms


def _unfinished() -> ColumnElement[bool]:
    return ReplayRow.state.in_([state.value for state in UNFINISHED])


def _asked_detail(row: ReplayRow) -> dict[str, object]:
    return {
        "from_ms": row.from_ms,
        "to_ms": row.to_ms,
        "namespace": row.namespace,
        "concept_id": row.concept_id,
        "source": row.source,
        "only": row.selection,
        "rate_per_s": row.rate_per_s,
        "endpoint_rate_per_s": row.endpoint_rate_per_s,
    }


def stored_replay(row: ReplayRow) -> StoredReplay:
    """The row as a value that outlives its session."""
    wanted = ReplayFilter(
        from_ms=row.from_ms,
        to_ms=row.to_ms,
        client=None if row.client is None else ClientId(row.client),
        hook_id=None if row.hook_id is None else HookId(row.hook_id),
        event=None if row.event is None else EventName(row.event),
        namespace=row.namespace,
        concept_id=row.concept_id,
    )
    return StoredReplay(
        id=ReplayId(row.id),
        own=row.own,
        asked=NewReplay(
            wanted=wanted,
            source=ReplaySource(row.source),
            only=ReplayOnly(row.selection),
            rate_per_s=row.rate_per_s,
            endpoint_rate_per_s=row.endpoint_rate_per_s,
        ),
        state=ReplayState(row.state),
        created_by=row.created_by,
        created_at_ms=row.created_at_ms,
        updated_at_ms=row.updated_at_ms,
        started_at_ms=row.started_at_ms,
        ended_at_ms=row.ended_at_ms,
        window=_window(row),
        count=_count(row),
        progress=ReplayProgress(scanned=row.scanned, sent=row.sent, expired=row.expired, unreadable=row.unreadable),
        reason=row.reason,
        claimed_until_ms=row.lease_until_ms,
    )


def _window(row: ReplayRow) -> Window | None:
    if row.stretches is None:
        return None
    stretches = [
        Stretch(topic=topic, partition=partition, start=start, end=end)
        for topic, partition, start, end in row.stretches
    ]
    return Window(stretches=stretches, left_from_ms=row.left_from_ms)


def _count(row: ReplayRow) -> ReplayCount | None:
    if row.matched is None:
        return None
    return ReplayCount(
        deliveries=row.matched,
        hooks={HookId(int(hook)): number for hook, number in (row.hooks or {}).items()},
        hook_count=row.hook_count or 0,
        estimate_s=row.estimate_s or 0.0,
    )
