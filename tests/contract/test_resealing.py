"""What is sealed under an old master key is sealed again under the present one, on SQLite and on PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, update

from hookstream.schemas.event import ClientId, EventName
from hookstream.subscriptions import resealing
from hookstream.subscriptions.changes import hook_of
from hookstream.subscriptions.database import Sessions, open_database, open_sessions, reading, transact
from hookstream.subscriptions.errors import UnknownKeyError
from hookstream.subscriptions.migrations import migrate
from hookstream.subscriptions.models import AuditRow, SubscriptionRow
from hookstream.subscriptions.registration import Registered, register_hook
from hookstream.subscriptions.repository import HookRepository, NewHook
from hookstream.subscriptions.resealing import ResealReport, count_sealed, count_unpublished, reseal_all
from hookstream.subscriptions.secrets import MasterKey, SecretBox, open_hook_secrets
from hookstream.subscriptions.target_url import Target

if TYPE_CHECKING:
    from collections.abc import Iterator

OLD, NEW, LOST = (MasterKey(bytes([n]) * 32) for n in (1, 2, 3))
OLD_BOX, BOTH, NEW_BOX = SecretBox((OLD,)), SecretBox((NEW, OLD)), SecretBox((NEW,))
NOW_MS = 1_700_000_000_000


@pytest.fixture
def sessions(any_database_url: str) -> Iterator[Sessions]:
    migrate(any_database_url)
    engine = open_database(any_database_url)
    yield open_sessions(engine)
    engine.dispose()


def register(sessions: Sessions, client: int, box: SecretBox = OLD_BOX) -> Registered:
    """Register a hook with a key whose answer is kept."""
    new = NewHook(client=ClientId(str(client)), event=EventName("lead.new"), target=Target("https://example.com/"))
    return register_hook(
        sessions, box, new, actor="test", now_ms=lambda: NOW_MS, idempotency_key=f"key of client {client}"
    )


def reseal(sessions: Sessions, box: SecretBox = BOTH) -> ResealReport:
    """Seal everything again."""
    return reseal_all(sessions, box, actor="operator", now_ms=lambda: NOW_MS + 1, progress=lambda _done: None)


def secret_of(sessions: Sessions, client: int, box: SecretBox) -> str:
    """What the hook's deliveries are signed with."""
    with reading(sessions) as session:
        (secret,) = open_hook_secrets(box, hook_of(session.get_one(SubscriptionRow, (client, "lead.new"))))
        return secret.reveal()


def test_afterwards_the_new_key_alone_opens_everything(sessions: Sessions) -> None:
    """Hooks keep their secrets, first answers can be had again, and nothing needs the old key."""
    made = [register(sessions, client) for client in range(5)]
    transact(
        sessions,
        lambda session: session.execute(update(SubscriptionRow).values(published_revision=SubscriptionRow.revision)),
    )
    before = count_sealed(sessions, BOTH)
    assert before.others == {OLD.id.hex(): 10}
    with pytest.raises(UnknownKeyError):
        secret_of(sessions, 0, NEW_BOX)

    report = reseal(sessions)
    assert (report.hooks, report.answers, report.unopenable) == (5, 5, [])
    assert count_sealed(sessions, BOTH).others == {}
    for client, hook in enumerate(made):
        assert secret_of(sessions, client, NEW_BOX) == hook.secret
        again = register(sessions, client, NEW_BOX)
        assert (again.repeated, again.secret) == (True, hook.secret)
    assert count_unpublished(sessions) == 5, "the relay publishes what has changed"


def test_every_row_is_audited_and_nothing_is_done_twice(sessions: Sessions) -> None:
    """A second run finds nothing to do: no revision rises, and the audit has one line a hook."""
    for client in range(3):
        register(sessions, client)
    reseal(sessions)
    report = reseal(sessions)
    assert (report.hooks, report.answers) == (0, 0)
    with reading(sessions) as session:
        rows = session.scalars(select(AuditRow).where(AuditRow.action == "hook.secret.reseal")).all()
        assert [(row.actor, row.client, row.detail) for row in rows] == [
            ("operator", str(client), {"revision": 2}) for client in range(3)
        ]


def test_a_run_that_was_killed_is_gone_on_with(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was committed before the end stays done; the next run does the rest."""
    monkeypatch.setattr(resealing, "_BATCH", 2)
    for client in range(5):
        register(sessions, client)

    def die(done: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reseal_all(sessions, BOTH, actor="operator", now_ms=lambda: NOW_MS, progress=die)
    assert count_sealed(sessions, BOTH).under == {NEW.id.hex(): 4, OLD.id.hex(): 6}
    report = reseal(sessions)
    assert (report.hooks, report.answers) == (1, 5)


def test_what_no_key_opens_is_named_and_left_alone(sessions: Sessions) -> None:
    """A hook that is sealed under a key that is not given stays as it is; the others are done."""
    kept = register(sessions, 1)
    lost = register(sessions, 2, SecretBox((LOST,)))
    report = reseal(sessions)
    assert (report.hooks, report.unopenable) == (1, [lost.hook_id])
    assert count_sealed(sessions, BOTH).others == {LOST.id.hex(): 2}
    assert secret_of(sessions, 1, NEW_BOX) == kept.secret
    assert secret_of(sessions, 2, SecretBox((LOST,))) == lost.secret


def test_deleted_hooks_have_nothing_to_seal(sessions: Sessions) -> None:
    """A deleted hook's row is not touched: it has no secrets."""
    hook = register(sessions, 1)
    transact(sessions, lambda s: HookRepository(s, "test", NOW_MS).delete(hook.hook_id, client=None))
    assert reseal(sessions).hooks == 0
