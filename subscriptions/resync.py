"""Bringing the database above the `subscriptions` topic, after one of them was lost or restored.

The topic was written from the database. Where it holds a revision that the database never reached, the database is an
older one, from a backup, and the row of the topic is what was acknowledged last: it is taken over. A row that was
written since the restore (it is still pending: no relay publishes from a database that is older than the topic) keeps
that. In every case the row's revision ends above all that was seen, so that what is published next is the newest
everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from hookstream.schemas.bounded import MAX_LONG, is_storable
from hookstream.schemas.hook import Hook, HookState

from .database import Sessions, transact, translated
from .models import AuditRow, SubscriptionRow
from .publication import SubscriptionKey
from .repository import lift_hook_ids, next_hook_id
from .secret_rotation import SECRET_OVERLAP_MS

_BATCH = 500
_ACTION = "hook.resync"


@dataclass(frozen=True, slots=True, kw_only=True)
class LiftReport:
    """What a resync changed in the database: of `seen` rows of the topic it raised `lifted`.

    `taken_over` rows got what the topic has. `closed` ones could not, for the database has given the hook's id to
    another hook since it was restored: their row says deleted, and the integrator has to register again. `refused`
    ones hold what no database takes, so they were never in one: they are left in the topic as they are.
    """

    seen: int = 0
    lifted: int = 0
    taken_over: int = 0
    closed: tuple[SubscriptionKey, ...] = ()
    refused: tuple[SubscriptionKey, ...] = ()

    def plus(self, other: LiftReport) -> LiftReport:
        """Both together."""
        return LiftReport(
            seen=self.seen + other.seen,
            lifted=self.lifted + other.lifted,
            taken_over=self.taken_over + other.taken_over,
            closed=self.closed + other.closed,
            refused=self.refused + other.refused,
        )


def lift_above(sessions: Sessions, seen: Mapping[SubscriptionKey, Hook], *, actor: str, now_ms: int) -> LiftReport:
    """Raise every row's revision, and the hook ids, above what the topic holds: `seen` has its highest row of each key.

    Idempotent; a second run after a crash goes on where the first one ended. The caller publishes every row then.

    Raises:
        DatabaseUnavailableError: call it again.
    """
    hooks, report = _storable(seen)
    # In a transaction of its own: whoever makes a hook locks its row first, and the counter of ids then.
    transact(sessions, lambda session: lift_hook_ids(session, _highest_id(hooks)))
    for start in range(0, len(hooks), _BATCH):

        def work(session: Session, start: int = start) -> LiftReport:
            return _Lift(session, actor, now_ms).lift(hooks[start : start + _BATCH])

        report = report.plus(transact(sessions, work))
    return report


def preview_lift(sessions: Sessions, seen: Mapping[SubscriptionKey, Hook], *, actor: str, now_ms: int) -> LiftReport:
    """Say what `lift_above` would do: everything is done, and taken back.

    Raises:
        DatabaseUnavailableError: call it again.
    """
    hooks, report = _storable(seen)
    for start in range(0, len(hooks), _BATCH):
        with translated(), sessions() as session:
            lift_hook_ids(session, _highest_id(hooks))
            report = report.plus(_Lift(session, actor, now_ms).lift(hooks[start : start + _BATCH]))
            session.rollback()
    return report


def _storable(seen: Mapping[SubscriptionKey, Hook]) -> tuple[Sequence[Hook], LiftReport]:
    """The rows that a database takes, in the order of their keys, and a report that names the others."""
    hooks = [seen[key] for key in sorted(seen) if _is_storable(seen[key])]
    refused = tuple(key for key in sorted(seen) if not _is_storable(seen[key]))
    return hooks, LiftReport(seen=len(refused), refused=refused)


def _highest_id(hooks: Sequence[Hook]) -> int:
    return max((hook.id for hook in hooks), default=0)


def _is_storable(hook: Hook) -> bool:
    """Whether every database takes the row, and a revision and an id above its own."""
    return is_storable(hook.event) and "\0" not in hook.target and max(hook.revision, hook.id) < MAX_LONG


@dataclass(frozen=True, slots=True)
class _Lift:
    """One transaction of a resync."""

    session: Session
    actor: str
    now_ms: int

    def lift(self, batch: Sequence[Hook]) -> LiftReport:
        """Lift these rows; the hook ids are lifted before."""
        lifted = taken_over = 0
        closed: list[SubscriptionKey] = []
        rows = self._locked(batch)
        owners = self._owners(batch)
        for hook in batch:
            key: SubscriptionKey = (hook.client, hook.event)
            row = rows.get(key)
            if row is not None and hook.revision < row.revision:
                continue
            lifted += 1
            if row is None or (hook.revision > row.revision and row.revision == row.published_revision):
                free = owners.get(hook.id, key) == key
                row = self._take_over(row, hook, free=free)
                taken_over += free
                if not free and hook.state is not HookState.DELETED:
                    closed.append(key)
            row.revision = hook.revision + 1
            row.tombstoned = False
            self._audit(row)
        self.session.flush()
        return LiftReport(seen=len(batch), lifted=lifted, taken_over=taken_over, closed=tuple(closed))

    def _locked(self, hooks: Sequence[Hook]) -> dict[SubscriptionKey, SubscriptionRow]:
        keys = tuple_(SubscriptionRow.client, SubscriptionRow.event).in_([(hook.client, hook.event) for hook in hooks])
        found = (
            select(SubscriptionRow)
            .where(keys)
            .order_by(SubscriptionRow.client, SubscriptionRow.event)
            .with_for_update()
        )
        return {(row.client, row.event): row for row in self.session.scalars(found)}

    def _owners(self, hooks: Sequence[Hook]) -> dict[int, SubscriptionKey]:
        """Which keys have the hooks' ids in this database."""
        found = select(SubscriptionRow.hook_id, SubscriptionRow.client, SubscriptionRow.event).where(
            SubscriptionRow.hook_id.in_([hook.id for hook in hooks])
        )
        return {hook_id: (client, event) for hook_id, client, event in self.session.execute(found)}

    def _take_over(self, row: SubscriptionRow | None, hook: Hook, *, free: bool) -> SubscriptionRow:
        hook_id = hook.id if free else next_hook_id(self.session)
        if row is None:
            row = SubscriptionRow(client=hook.client, event=hook.event, published_revision=0, created_at_ms=self.now_ms)
            self.session.add(row)
        row.hook_id = hook_id
        row.target = hook.target
        row.state = hook.state.value if free else HookState.DELETED.value
        row.disabled_reason = None
        row.secrets = hook.secrets if free else ()
        # The topic does not say when the old ones end: no receiver is cut off early.
        row.old_secrets_until_ms = self.now_ms + SECRET_OVERLAP_MS if len(row.secrets) > 1 else None
        row.not_before_ms = hook.not_before_ms
        row.rate_limit_per_s = hook.rate_limit_per_s
        row.updated_at_ms = self.now_ms
        return row

    def _audit(self, row: SubscriptionRow) -> None:
        self.session.add(
            AuditRow(
                at_ms=self.now_ms,
                actor=self.actor,
                action=_ACTION,
                client=row.client,
                event=row.event,
                hook_id=row.hook_id,
                detail={"revision": row.revision, "state": row.state},
            )
        )
