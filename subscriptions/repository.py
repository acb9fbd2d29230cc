"""Hooks in the database: every write locks its row, raises its revision and is audited, in the caller's transaction.

A subscription key (client, event) has one row and at most one hook. Writers take turns by the row's lock, in whatever
process, and each sees the result of the one before: of two at once, the one that committed last has the higher
revision, and its hook stays.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import Hook, HookId, HookNotice, HookState
from hookstream.schemas.notices import NoticeName

from .changes import StoredHook, hook_of, stored_hook
from .errors import HookChangedError, HookExistsError, HookNotFoundError, HooksExistError, TooManySecretsError
from .models import LIVING, AuditRow, CounterRow, DisabledReason, SubscriptionRow
from .notices import note_hook
from .target_url import Target

HOOK_ID_COUNTER = "hook_id"

# Each is a signature more in every request: 48 bytes of header.
MAX_SECRETS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHook:
    """What an integrator asks for."""

    client: ClientId
    event: EventName
    target: Target


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How many deliveries a second a hook takes; None is as many as its endpoint bears."""

    per_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HookChange:
    """What is to be another than it was; None stays as it is."""

    target: Target | None = None
    rate_limit: RateLimit | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """The revisions at which a hook may be changed."""

    revisions: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class HookQuery:
    """Which hooks to list: those above `after`, at most `limit`, of one client and one event where these are set."""

    client: ClientId | None
    event: EventName | None = None
    after: int = 0
    limit: int = 100


@dataclass(frozen=True, slots=True)
class HookRepository:
    """The hooks, as one transaction sees and changes them. `actor` and `now_ms` go into what is written."""

    session: Session
    actor: str
    now_ms: int

    def create(self, new: NewHook, *, seal_secret: Callable[[HookId], bytes]) -> StoredHook:
        """Make the hook of a subscription key. Its secret is sealed for the id that it gets.

        Raises:
            HookExistsError: the subscription key has one.
            IntegrityError: another process made the row at this moment; `transact` begins again and sees it.
        """
        row = self.session.get(SubscriptionRow, (new.client, new.event), with_for_update=True)
        if row is not None and row.state != HookState.DELETED:
            raise HookExistsError(row.hook_id)
        return self._created(row, new, seal_secret, next_hook_id(self.session))

    def create_all(
        self,
        client: ClientId,
        events: Collection[EventName],
        target: Target,
        *,
        seal_secret: Callable[[EventName, HookId], bytes],
    ) -> Sequence[StoredHook]:
        """Make one hook for each of the events, or none. The secret is sealed for each.

        All rows are locked before an id is taken, in one order: two that meet wait for each other once.

        Raises:
            HooksExistError: some of the subscription keys have one.
            IntegrityError: as in `create`.
        """
        found = (
            select(SubscriptionRow)
            .where(SubscriptionRow.client == client, SubscriptionRow.event.in_(events))
            .order_by(SubscriptionRow.event)
            .with_for_update()
        )
        rows = {row.event: row for row in self.session.scalars(found)}
        living = {event: row.hook_id for event, row in rows.items() if row.state != HookState.DELETED}
        if living:
            raise HooksExistError(living)
        first = next_hook_id(self.session, count=len(events))
        return [
            self._created(
                rows.get(event),
                NewHook(client=client, event=event, target=target),
                partial(seal_secret, event),
                HookId(first + index),
            )
            for index, event in enumerate(events)
        ]

    def _created(
        self, row: SubscriptionRow | None, new: NewHook, seal_secret: Callable[[HookId], bytes], hook_id: HookId
    ) -> StoredHook:
        if row is None:
            row = SubscriptionRow(
                client=new.client, event=new.event, revision=0, published_revision=0, tombstoned=False
            )
            self.session.add(row)
        row.hook_id = hook_id
        row.target = new.target
        row.state = HookState.ENABLED.value
        row.disabled_reason = None
        row.secrets = (seal_secret(hook_id),)
        row.old_secrets_until_ms = None
        row.not_before_ms = 0
        row.rate_limit_per_s = None
        row.created_at_ms = self.now_ms
        return self._written(row, "hook.create", {"target": new.target})

    def get(self, hook_id: int, *, client: ClientId | None) -> StoredHook:
        """Read a hook; `client` None sees every client's.

        Raises:
            HookNotFoundError: none, deleted, or another client's.
        """
        row = self.session.scalar(_living(hook_id, client))
        if row is None:
            raise HookNotFoundError(hook_id)
        return stored_hook(row)

    def list(self, query: HookQuery) -> Sequence[StoredHook]:
        """Hooks in the order of their ids, which is that of their creation."""
        found = (
            select(SubscriptionRow)
            .where(LIVING, SubscriptionRow.hook_id > query.after)
            .order_by(SubscriptionRow.hook_id)
            .limit(query.limit)
        )
        if query.client is not None:
            found = found.where(SubscriptionRow.client == query.client)
        if query.event is not None:
            found = found.where(SubscriptionRow.event == query.event)
        return [stored_hook(row) for row in self.session.scalars(found)]

    def change(
        self, hook_id: int, change: HookChange, *, client: ClientId | None, condition: Condition | None = None
    ) -> StoredHook:
        """Give the hook another target or rate limit; its id, secrets and state stay.

        What is as it was is not written: a request that is sent again changes nothing.

        Raises:
            HookNotFoundError: none, deleted, or another client's.
            HookChangedError: it is at a revision that the condition does not name; so in every method with one.
        """
        row = self._locked(hook_id, client, condition)
        detail: dict[str, object] = {}
        if change.target is not None and change.target != row.target:
            detail["target"] = row.target = change.target
        if change.rate_limit is not None and change.rate_limit.per_s != row.rate_limit_per_s:
            detail["rate_limit_per_s"] = row.rate_limit_per_s = change.rate_limit.per_s
        return self._written(row, "hook.change", detail) if detail else stored_hook(row)

    def disable(self, hook_id: int, *, client: ClientId | None, condition: Condition | None = None) -> StoredHook:
        """Deliver nothing more for the hook; what is pending is kept. One that is disabled stays as it is.

        Raises:
            HookNotFoundError: none, deleted, or another client's.
        """
        row = self._locked(hook_id, client, condition)
        if row.state == HookState.DISABLED:
            return stored_hook(row)
        return self._disabled(row, DisabledReason.REQUESTED, {}, at_ms=self.now_ms)

    def disable_observed(self, notice: HookNotice, reason: DisabledReason) -> bool:
        """Disable a hook as a worker has already done for itself; give whether the notice still held.

        It does not where the row is another than the worker saw: the hook was changed, enabled, disabled,
        deleted or replaced since, or this very notice was applied before.
        """
        row = self.session.get(SubscriptionRow, (notice.client, notice.event), with_for_update=True)
        seen = (notice.hook_id, notice.revision, HookState.ENABLED)
        if row is None or (row.hook_id, row.revision, row.state) != seen:
            return False
        self._disabled(row, reason, {"observed_at_ms": notice.observed_at_ms}, at_ms=notice.observed_at_ms)
        return True

    def enable(
        self,
        hook_id: int,
        *,
        client: ClientId | None,
        not_before_ms: int | None,
        condition: Condition | None = None,
    ) -> StoredHook:
        """Deliver for the hook again: what is pending, or nothing that arrived before then (the broker's time).

        The revision rises for an enabled hook too: a worker may have disabled it for itself, under the present one,
        and its notice may not have been read yet. The higher revision ends that, and makes the notice void.

        Raises:
            HookNotFoundError: none, deleted, or another client's.
        """
        row = self._locked(hook_id, client, condition)
        was_disabled = row.state == HookState.DISABLED
        row.state = HookState.ENABLED.value
        row.disabled_reason = None
        detail: dict[str, object] = {"backlog": "resume"}
        if not_before_ms is not None:
            row.not_before_ms = max(row.not_before_ms, not_before_ms)  # what was skipped once stays so
            detail = {"backlog": "skip", "not_before_ms": row.not_before_ms}
        stored = self._written(row, "hook.enable", detail)
        if was_disabled:
            note_hook(self.session, row, NoticeName.HOOK_ENABLED, at_ms=self.now_ms)
        return stored

    def delete(self, hook_id: int, *, client: ClientId | None, condition: Condition | None = None) -> StoredHook:
        """Delete the hook; its row stays. The secrets go at once: no request is signed for a deleted hook.

        Raises:
            HookNotFoundError: none, deleted already, replaced, or another client's.
        """
        row = self._locked(hook_id, client, condition)
        row.state = HookState.DELETED.value
        row.disabled_reason = None
        row.secrets = ()
        row.old_secrets_until_ms = None
        return self._written(row, "hook.delete", {})

    def rotate_secrets(
        self, client: ClientId, target: str, *, renew: Callable[[Hook], tuple[bytes, ...]], old_until_ms: int
    ) -> Sequence[StoredHook]:
        """Give every hook of the client with this target a new secret, see `rotate_secret`, or none.

        Raises:
            TooManySecretsError: as in `rotate_secret`, for one of them.
        """
        found = (
            select(SubscriptionRow)
            .where(
                SubscriptionRow.client == client,
                SubscriptionRow.target == target,
                SubscriptionRow.state != HookState.DELETED,
            )
            .order_by(SubscriptionRow.event)
            .with_for_update()
        )
        return [self._rotated(row, renew, old_until_ms) for row in self.session.scalars(found).all()]

    def rotate_secret(
        self, hook_id: int, *, client: ClientId | None, renew: Callable[[Hook], tuple[bytes, ...]], old_until_ms: int
    ) -> StoredHook:
        """Give the hook a new secret: `renew` says what it is signed with until then, the newest first, which stays.

        Raises:
            HookNotFoundError: none, deleted, or another client's.
            TooManySecretsError: it was rotated again and again while the first ones were in use.
        """
        return self._rotated(self._locked(hook_id, client), renew, old_until_ms)

    def _rotated(
        self, row: SubscriptionRow, renew: Callable[[Hook], tuple[bytes, ...]], old_until_ms: int
    ) -> StoredHook:
        secrets = renew(hook_of(row))
        if len(secrets) > MAX_SECRETS:
            raise TooManySecretsError(row.hook_id, row.old_secrets_until_ms or self.now_ms)
        row.secrets = secrets
        row.old_secrets_until_ms = old_until_ms if len(secrets) > 1 else None
        return self._written(row, "hook.secret.rotate", {"secrets": len(secrets), "old_until_ms": old_until_ms})

    def drop_old_secrets(self, *, limit: int) -> int:
        """Sign with the newest secret alone where the old ones' time is over; give the number of hooks."""
        due = select(SubscriptionRow).where(SubscriptionRow.old_secrets_until_ms <= self.now_ms).limit(limit)
        rows = self.session.scalars(due.with_for_update(skip_locked=True)).all()
        for row in rows:
            row.secrets = row.secrets[:1]
            row.old_secrets_until_ms = None
            self._written(row, "hook.secret.drop", {})
        return len(rows)

    def replace_secrets(self, key: tuple[str, str], reseal: Callable[[Hook], tuple[bytes, ...]]) -> bool:
        """Write the same secrets as other ciphertexts; give whether there was anything to write."""
        row = self.session.get(SubscriptionRow, key, with_for_update=True)
        if row is None:
            return False
        secrets = reseal(hook_of(row))
        if secrets == row.secrets:
            return False
        row.secrets = secrets
        self._written(row, "hook.secret.reseal", {})
        return True

    def _disabled(
        self, row: SubscriptionRow, reason: DisabledReason, detail: Mapping[str, object], *, at_ms: int
    ) -> StoredHook:
        row.state = HookState.DISABLED.value
        row.disabled_reason = reason.value
        stored = self._written(row, "hook.disable", {"reason": reason.value, **detail})
        note_hook(self.session, row, NoticeName.HOOK_DISABLED, at_ms=at_ms, reason=reason.value)
        return stored

    def _locked(self, hook_id: int, client: ClientId | None, condition: Condition | None = None) -> SubscriptionRow:
        # PostgreSQL evaluates the condition again after it waited for the lock: a hook that was replaced in the
        # meantime is not found, and its successor stays untouched.
        row = self.session.scalar(_living(hook_id, client).with_for_update())
        if row is None:
            raise HookNotFoundError(hook_id)
        if condition is not None and row.revision not in condition.revisions:
            raise HookChangedError(hook_id, row.revision)
        return row

    def _written(self, row: SubscriptionRow, action: str, detail: Mapping[str, object]) -> StoredHook:
        row.revision += 1
        row.tombstoned = False
        row.updated_at_ms = self.now_ms
        audit = AuditRow(
            at_ms=self.now_ms,
            actor=self.actor,
            action=action,
            client=row.client,
            event=row.event,
            hook_id=row.hook_id,
            detail={"revision": row.revision, **detail},
        )
        self.session.add(audit)
        self.session.flush()
        return stored_hook(row)


def next_hook_id(session: Session, *, count: int = 1) -> HookId:
    """The first of `count` numbers above all before them. Rolled back ones were never seen, and may come again."""
    taken = update(CounterRow).where(CounterRow.name == HOOK_ID_COUNTER).values(value=CounterRow.value + count)
    return HookId(session.scalars(taken.returning(CounterRow.value)).one() - count + 1)


def lift_hook_ids(session: Session, highest: int) -> None:
    """Let no hook get an id up to `highest`."""
    lifted = update(CounterRow).where(CounterRow.name == HOOK_ID_COUNTER, CounterRow.value < highest)
    session.execute(lifted.values(value=highest))


def _living(hook_id: int, client: ClientId | None) -> Select[SubscriptionRow]:
    found = select(SubscriptionRow).where(
        SubscriptionRow.hook_id == hook_id, SubscriptionRow.state != HookState.DELETED
    )
    return found if client is None else found.where(SubscriptionRow.client == client)
