"""Rotation of the master key: what is sealed under an older key is sealed again under the first one.

A hook's row is written like any other change: locked, its revision raised, audited, and published by the relay; so
routers and workers get the new ciphertexts on the way of every change, and go on with the old ones until then. What is
under the first key already is passed over: a run that ended early is simply repeated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from hookstream.schemas.hook import Hook, HookState

from .database import NowMs, Sessions, reading, transact
from .errors import SecretError
from .idempotency import answer_context
from .models import IdempotencyRow, SubscriptionRow
from .publication import SubscriptionKey
from .repository import HookRepository
from .secrets import SecretBox, hook_context

_BATCH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class SealCounts:
    """How many secrets and kept answers are sealed under each key, by its id in hex; the first key's is `current`."""

    current: str
    under: Mapping[str, int]

    @property
    def others(self) -> Mapping[str, int]:
        """Those of other keys, which are still needed."""
        return {key: count for key, count in self.under.items() if key != self.current}


@dataclass(slots=True, kw_only=True)
class ResealReport:
    """What was sealed again. `unopenable` hooks are sealed under no key that is given: they stay as they are."""

    hooks: int = 0
    answers: int = 0
    unopenable: list[int] = field(default_factory=list)


def count_hooks(sessions: Sessions) -> int:
    """How many hooks have secrets."""
    with reading(sessions) as session:
        living = select(func.count()).select_from(SubscriptionRow).where(SubscriptionRow.state != HookState.DELETED)
        return session.scalar(living) or 0


def count_sealed(sessions: Sessions, box: SecretBox) -> SealCounts:
    """Look at everything that is sealed; nothing is opened."""
    under: Counter[str] = Counter()
    for batch in _keys(sessions):
        under.update(box.key_id(sealed) for _, secrets in batch for sealed in secrets)
    for answers in _answers(sessions):
        under.update(box.key_id(answer) for _, answer in answers)
    return SealCounts(current=box.keys[0].id.hex(), under=dict(under))


def count_unpublished(sessions: Sessions) -> int:
    """How many rows the relay has yet to publish."""
    with reading(sessions) as session:
        pending = (
            select(func.count())
            .select_from(SubscriptionRow)
            .where(SubscriptionRow.revision > SubscriptionRow.published_revision)
        )
        return session.scalar(pending) or 0


def reseal_all(
    sessions: Sessions, box: SecretBox, *, actor: str, now_ms: NowMs, progress: Callable[[int], None]
) -> ResealReport:
    """Seal everything under the first key, in transactions of some hundred rows.

    `progress` is called with the number of hooks that were looked at.

    Raises:
        DatabaseUnavailableError: run it again; what is done stays done.
    """
    report = ResealReport()
    seen = 0
    for batch in _keys(sessions):
        old = [key for key, secrets in batch if not all(map(box.sealed_under_first, secrets))]
        if old:

            def work(session: Session, old: Sequence[SubscriptionKey] = old) -> tuple[int, list[int]]:
                return _reseal_hooks(HookRepository(session, actor, now_ms()), box, old)

            hooks, unopenable = transact(sessions, work)
            report.hooks += hooks
            report.unopenable += unopenable
        seen += len(batch)
        progress(seen)
    for answers in _answers(sessions):
        stale = [key for key, answer in answers if not box.sealed_under_first(answer)]
        if stale:
            report.answers += transact(sessions, partial(_reseal_answers, box, stale))
    return report


def _reseal_hooks(hooks: HookRepository, box: SecretBox, keys: Sequence[SubscriptionKey]) -> tuple[int, list[int]]:
    unopenable: list[int] = []

    def reseal(hook: Hook) -> tuple[bytes, ...]:
        context = hook_context(hook.client, hook.event, hook.id)
        try:
            return tuple(_resealed(box, sealed, context) for sealed in hook.secrets)
        except SecretError:
            unopenable.append(hook.id)
            return hook.secrets

    return sum(hooks.replace_secrets(key, reseal) for key in keys), unopenable


def _reseal_answers(box: SecretBox, keys: Sequence[tuple[str, str]], session: Session) -> int:
    """Answers that no key opens stay as they are: they are forgotten within a day."""
    count = 0
    for client, key in keys:
        row = session.get(IdempotencyRow, (client, key), with_for_update=True)
        if row is None or not row.answer:
            continue
        try:
            answer = _resealed(box, row.answer, answer_context(client, key))
        except SecretError:
            continue
        count += answer != row.answer
        row.answer = answer
    return count


def _resealed(box: SecretBox, sealed: bytes, context: bytes) -> bytes:
    if box.sealed_under_first(sealed):
        return sealed
    return box.seal(box.open(sealed, context=context), context=context)


def _keys(sessions: Sessions) -> Iterator[list[tuple[SubscriptionKey, tuple[bytes, ...]]]]:
    """Every living hook's subscription key and secrets, in the order of the keys, without a lock."""
    key = tuple_(SubscriptionRow.client, SubscriptionRow.event)
    after: SubscriptionKey = ("", "")
    while True:
        found = select(SubscriptionRow.client, SubscriptionRow.event, SubscriptionRow.secrets).where(
            key > after, SubscriptionRow.state != HookState.DELETED
        )
        with reading(sessions) as session:
            rows = session.execute(found.order_by(SubscriptionRow.client, SubscriptionRow.event).limit(_BATCH)).all()
        if not rows:
            return
        yield [((client, event), secrets) for client, event, secrets in rows]
        after = (rows[-1][0], rows[-1][1])


def _answers(sessions: Sessions) -> Iterator[list[tuple[tuple[str, str], bytes]]]:
    """Every answer that is kept, in the keys' order, without a lock."""
    name = tuple_(IdempotencyRow.client, IdempotencyRow.key)
    after = ("", "")
    while True:
        found = select(IdempotencyRow.client, IdempotencyRow.key, IdempotencyRow.answer).where(name > after)
        with reading(sessions) as session:
            rows = session.execute(found.order_by(IdempotencyRow.client, IdempotencyRow.key).limit(_BATCH)).all()
        if not rows:
            return
        yield [((client, key), answer) for client, key, answer in rows if answer]
        after = (rows[-1][0], rows[-1][1])
