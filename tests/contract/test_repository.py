"""The database of hooks, on SQLite and on PostgreSQL."""

from __future__ import annotations

import base64
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from sqlalchemy import select, text, update

from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import HookState
from hookstream.subscriptions.database import Sessions, open_database, open_sessions, reading, transact
from hookstream.subscriptions.errors import (
    DatabaseUnavailableError,
    ExpiredTokenError,
    HookExistsError,
    HookNotFoundError,
    IdempotencyConflictError,
    RevokedTokenError,
    UnknownTokenError,
)
from hookstream.subscriptions.idempotency import purge_idempotency_keys
from hookstream.subscriptions.migrations import migrate
from hookstream.subscriptions.models import AuditRow, CounterRow, IdempotencyRow, Role, SubscriptionRow, TokenRow
from hookstream.subscriptions.registration import Registered, register_hook
from hookstream.subscriptions.repository import HookQuery, HookRepository, NewHook, lift_hook_ids
from hookstream.subscriptions.secrets import SigningSecret, hook_context
from hookstream.subscriptions.target_url import Target
from hookstream.subscriptions.tokens import (
    TokenRequest,
    authenticate,
    issue_token,
    list_tokens,
    revoke_token,
)
from tests.support.subscriptions_api import BOX, TARGET
from tests.support.wait import WITHIN_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hookstream.subscriptions.changes import StoredHook

T = TypeVar("T")

NOW_MS = 1_700_000_000_000
DAY_MS = 24 * 3600 * 1000


@dataclass
class Store:
    """A process's view of the database: an engine of its own."""

    sessions: Sessions
    now_ms: int = NOW_MS

    def create(self, client: int = 434, event: str = "lead.new", target: str = TARGET) -> StoredHook:
        """Create a hook."""
        new = NewHook(client=ClientId(str(client)), event=EventName(event), target=Target(target))
        return self.hooks(lambda hooks: hooks.create(new, seal_secret=lambda hook_id: b"sealed for %d" % hook_id))

    def delete(self, hook_id: int, client: int | None = 434) -> StoredHook:
        """Delete a hook."""
        owner = None if client is None else ClientId(str(client))
        return self.hooks(lambda hooks: hooks.delete(hook_id, client=owner))

    def get(self, hook_id: int, client: int | None = 434) -> StoredHook:
        """Read a hook."""
        owner = None if client is None else ClientId(str(client))
        with reading(self.sessions) as session:
            return HookRepository(session, "test", self.now_ms).get(hook_id, client=owner)

    def hooks(self, work: Callable[[HookRepository], T]) -> T:
        """Work on the hooks in one transaction."""
        return transact(self.sessions, lambda session: work(HookRepository(session, "test", self.now_ms)))

    def register(self, key: str | None, *, client: int = 434, event: str = "lead.new") -> Registered:
        """Create a hook as the API does."""
        new = NewHook(client=ClientId(str(client)), event=EventName(event), target=Target(TARGET))
        return register_hook(self.sessions, BOX, new, actor="test", now_ms=lambda: self.now_ms, idempotency_key=key)

    def stored_row(self, client: int = 434, event: str = "lead.new") -> SubscriptionRow:
        """Read the subscription row."""
        with reading(self.sessions) as session:
            return session.get_one(SubscriptionRow, (client, event))


@pytest.fixture
def processes(any_database_url: str) -> Iterator[tuple[Store, Store]]:
    migrate(any_database_url)
    engines = open_database(any_database_url), open_database(any_database_url)
    yield Store(open_sessions(engines[0])), Store(open_sessions(engines[1]))
    for engine in engines:
        engine.dispose()


@pytest.fixture
def store(processes: tuple[Store, Store]) -> Store:
    return processes[0]


def test_a_created_hook_can_be_read(store: Store) -> None:
    """What was created is read back whole, and pending for the topic."""
    created = store.create()
    assert store.get(created.hook.id) == created
    assert created.hook.state is HookState.ENABLED
    assert created.hook.revision == 1
    assert created.published_revision == 0
    assert created.hook.secrets == (b"sealed for %d" % created.hook.id,)


def test_one_hook_per_client_and_event(store: Store) -> None:
    """A second hook of a client for an event is refused by the name of the first; another event or client is free."""
    first = store.create()
    with pytest.raises(HookExistsError) as caught:
        store.create(target="https://other.example/")
    assert caught.value.hook_id == first.hook.id
    assert store.create(event="lead.status").hook.id > first.hook.id
    assert store.create(client=435).hook.id > first.hook.id


def test_every_write_raises_the_rows_revision(store: Store) -> None:
    """The revision grows over deletion and re-creation, and the hook's id is a new one each time."""
    revisions, ids = [], []
    for _ in range(3):
        created = store.create()
        deleted = store.delete(created.hook.id)
        revisions += [created.hook.revision, deleted.hook.revision]
        ids.append(created.hook.id)
    assert revisions == [1, 2, 3, 4, 5, 6]
    assert ids == sorted(set(ids))


def test_a_deleted_hook_is_gone_but_its_row_stays(store: Store) -> None:
    """A deletion leaves a row for the topic, without the secrets."""
    created = store.create()
    deleted = store.delete(created.hook.id)
    assert deleted.hook.state is HookState.DELETED
    assert deleted.hook.secrets == ()
    assert deleted.hook.id == created.hook.id
    for again in (store.get, store.delete):
        with pytest.raises(HookNotFoundError):
            again(created.hook.id)
    assert store.stored_row().revision == 2


def test_another_clients_hook_is_not_there(store: Store) -> None:
    """A client can neither read nor delete another's hook; an operator can do both."""
    created = store.create(client=434)
    with pytest.raises(HookNotFoundError):
        store.get(created.hook.id, client=435)
    with pytest.raises(HookNotFoundError):
        store.delete(created.hook.id, client=435)
    assert store.get(created.hook.id, client=None) == created
    assert store.delete(created.hook.id, client=None).hook.state is HookState.DELETED


def test_the_id_of_a_replaced_hook_finds_nothing(store: Store) -> None:
    """Deleting by the old id leaves the hook that took its subscription key alone."""
    old = store.create()
    store.delete(old.hook.id)
    new = store.create()
    with pytest.raises(HookNotFoundError):
        store.delete(old.hook.id)
    assert store.get(new.hook.id) == new


def test_lists_are_in_order_of_ids_and_paged(store: Store) -> None:
    """Pages hold every living hook once, in the order of ids, filtered by client and event."""
    made = [store.create(client=client, event=event).hook.id for client in (2, 1) for event in ("a.x", "b.x", "c.x")]
    store.delete(made[1], client=None)
    living = [hook_id for hook_id in made if hook_id != made[1]]

    def page(**query: object) -> list[int]:
        with reading(store.sessions) as session:
            found = HookRepository(session, "", 0).list(HookQuery(**query))  # type: ignore[arg-type]
        return [stored.hook.id for stored in found]

    assert page(client=None) == living
    assert page(client=None, limit=2) == living[:2]
    assert page(client=None, limit=10, after=living[1]) == living[2:]
    assert page(client=ClientId("1")) == made[3:]
    assert page(client=None, event=EventName("c.x")) == [made[2], made[5]]


def test_hook_ids_are_lifted_and_never_fall(store: Store) -> None:
    """After a lift the next id is above it; a lift below changes nothing."""
    first = store.create().hook.id
    transact(store.sessions, lambda session: lift_hook_ids(session, 1000))
    assert store.create(event="a.x").hook.id == 1001
    transact(store.sessions, lambda session: lift_hook_ids(session, first))
    assert store.create(event="b.x").hook.id == 1002


def test_what_fails_leaves_nothing(store: Store) -> None:
    """A transaction that raises writes no subscription row, no audit, and no idempotency key."""

    def fail(_: int) -> bytes:
        raise RuntimeError

    new = NewHook(client=ClientId("1"), event=EventName("a.x"), target=Target(TARGET))
    with pytest.raises(RuntimeError):
        store.hooks(lambda hooks: hooks.create(new, seal_secret=fail))
    with reading(store.sessions) as session:
        assert session.scalars(select(SubscriptionRow)).all() == []
        assert session.scalars(select(AuditRow)).all() == []
        assert session.get_one(CounterRow, "hook_id").value == 0


def test_the_audit_says_who_did_what(store: Store) -> None:
    """Each write leaves a line with actor, action, time and revision, and no secret."""
    hook_id = store.create().hook.id
    store.now_ms += 5
    store.delete(hook_id)
    with reading(store.sessions) as session:
        lines = session.scalars(select(AuditRow).order_by(AuditRow.id)).all()
    assert [(line.actor, line.action, line.at_ms, line.hook_id, line.detail) for line in lines] == [
        ("test", "hook.create", NOW_MS, hook_id, {"revision": 1, "target": TARGET}),
        ("test", "hook.delete", NOW_MS + 5, hook_id, {"revision": 2}),
    ]


# --- races ------------------------------------------------------------------------------------------------------------


def test_of_two_creations_at_once_one_wins(processes: tuple[Store, Store]) -> None:
    """Two processes that create a client's hook for one event at the same moment make one hook; the other is told."""
    for round_ in range(10):
        outcomes = _at_once(*[lambda s=s, e=f"race.{round_}": s.create(event=e) for s in processes])
        made = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
        refused = [outcome for outcome in outcomes if isinstance(outcome, HookExistsError)]
        assert len(made) == len(refused) == 1, outcomes
        assert refused[0].hook_id == made[0].hook.id


def test_racing_deletion_and_recreation_end_with_the_newer_hook(processes: tuple[Store, Store]) -> None:
    """Where two processes delete and re-create at once, the newer hook has the key, under the top revision."""
    one, other = processes
    current = one.create().hook
    for _ in range(10):

        def replace(store: Store, old: int = current.id) -> StoredHook:
            store.delete(old)
            return store.create()

        outcomes = _at_once(lambda: replace(one), lambda: replace(other))
        made = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
        assert len(made) == 1, outcomes
        newer = one.get(made[0].hook.id)
        assert newer.hook.id > current.id
        assert newer.hook.revision == current.revision + 2
        with pytest.raises(HookNotFoundError):
            other.get(current.id)
        current = newer.hook


def test_a_deletion_that_waited_does_not_hit_the_successor(processes: tuple[Store, Store]) -> None:
    """A deletion of the old hook that waits for the row while the hook is replaced finds nothing to delete."""
    one, other = processes
    old = one.create().hook
    halfway, deleted_too_early = threading.Event(), threading.Event()

    def replace(hooks: HookRepository) -> StoredHook:
        hooks.delete(old.id, client=None)
        halfway.set()
        # Time for the other to get where it has to wait; it comes back early only if it did not wait.
        assert not deleted_too_early.wait(0.5)
        new = NewHook(client=old.client, event=old.event, target=Target(TARGET))
        return hooks.create(new, seal_secret=lambda _: b"")

    def delete_late() -> StoredHook:
        assert halfway.wait(WITHIN_S)
        deleted = other.delete(old.id)
        deleted_too_early.set()
        return deleted

    replaced, deleted = _at_once(lambda: one.hooks(replace), delete_late)
    assert isinstance(deleted, HookNotFoundError)
    assert one.get(replaced.hook.id) == replaced


def test_a_lock_that_is_held_too_long_is_an_error(
    any_database_url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that cannot lock the row in time is told that the database is unavailable, and has written nothing."""
    monkeypatch.setattr("hookstream.subscriptions.database._LOCK_TIMEOUT_S", 1)
    hook = store.create().hook
    engine = open_database(any_database_url)
    impatient = Store(open_sessions(engine))

    def hold(hooks: HookRepository) -> None:
        hooks.delete(hook.id, client=None)
        with pytest.raises(DatabaseUnavailableError):
            impatient.delete(hook.id)

    store.hooks(hold)
    engine.dispose()


# --- idempotency ------------------------------------------------------------------------------------------------------


def test_the_same_key_gets_the_first_answer(store: Store) -> None:
    """The same request under the same key makes nothing new, and shows the same secret."""
    first = store.register("k")
    again = store.register("k")
    assert again.repeated
    assert (again.hook_id, again.secret, again.target) == (first.hook_id, first.secret, first.target)
    sealed = store.get(first.hook_id).hook.secrets[0]
    context = hook_context("434", "lead.new", first.hook_id)
    assert SigningSecret(BOX.open(sealed, context=context)).reveal() == first.secret


def test_the_same_key_with_another_body_is_refused(store: Store) -> None:
    """A key stands for one request of one client."""
    store.register("k")
    with pytest.raises(IdempotencyConflictError):
        store.register("k", event="lead.status")
    assert not store.register("k", client=435).repeated


def test_a_key_lives_for_a_day(store: Store) -> None:
    """After 24 hours the key is free again, whether or not it was purged."""
    first = store.register("k")
    store.now_ms += DAY_MS - 1
    assert store.register("k").repeated
    store.now_ms += 1
    with pytest.raises(HookExistsError):
        store.register("k")  # and the hook, which lives, is in the way of a new one
    store.delete(first.hook_id)
    assert not store.register("k").repeated
    store.now_ms += DAY_MS
    transact(store.sessions, lambda session: purge_idempotency_keys(session, now_ms=store.now_ms))
    with reading(store.sessions) as session:
        assert session.scalars(select(IdempotencyRow)).all() == []


def test_one_key_at_once_makes_one_hook(processes: tuple[Store, Store]) -> None:
    """Two processes with one key at the same moment make one hook, and give the same answer."""
    for round_ in range(10):  # with a new subscription key first, then with one that a deleted hook had
        outcomes = _at_once(*[lambda s=s, key=f"k{round_}": s.register(key) for s in processes])
        assert [type(outcome) for outcome in outcomes] == [Registered, Registered], outcomes
        assert {outcome.repeated for outcome in outcomes} == {True, False}
        assert len({outcome.secret for outcome in outcomes}) == 1
        processes[0].delete(outcomes[0].hook_id)


def test_a_refused_creation_keeps_no_key(store: Store) -> None:
    """A key that came with a conflict can be used once the conflict is gone."""
    first = store.register(None)
    with pytest.raises(HookExistsError):
        store.register("k")
    store.delete(first.hook_id)
    assert not store.register("k").repeated


def test_no_secret_is_stored_in_the_clear(store: Store) -> None:
    """Neither the subscription row, nor the kept answer, nor the audit holds the secret or its key."""
    secret = store.register("k").secret
    key = base64.b64decode(secret.removeprefix("whsec_"))
    found = b""
    with reading(store.sessions) as session:
        for table in ("subscription_keys", "idempotency_keys", "audit"):
            for row in session.execute(text(f"SELECT * FROM {table}")):  # noqa: S608  # names from above
                found += b"|".join(value if isinstance(value, bytes) else str(value).encode() for value in row)
    assert len(found) > 100
    for hidden in (secret.encode(), secret.removeprefix("whsec_").encode(), key, key.hex().encode()):
        assert hidden not in found


# --- tokens -----------------------------------------------------------------------------------------------------------


def _issue(store: Store, role: Role, client: int | None = None, expires_at_ms: int | None = None) -> str:
    owner = None if client is None else ClientId(str(client))
    request = TokenRequest(role=role, client=owner, name="ci", expires_at_ms=expires_at_ms)
    return transact(store.sessions, lambda session: issue_token(session, request, actor="test", now_ms=NOW_MS)).token


def _who(store: Store, token: str, now_ms: int = NOW_MS) -> tuple[Role, ClientId | None]:
    with reading(store.sessions) as session:
        principal = authenticate(session, token, now_ms=now_ms)
    return principal.role, principal.client


def test_a_token_names_its_holder(store: Store) -> None:
    """A token opens the role and the client that it was issued for."""
    assert _who(store, _issue(store, Role.INTEGRATOR, 434)) == (Role.INTEGRATOR, "434")
    assert _who(store, _issue(store, Role.PLATFORM)) == (Role.PLATFORM, None)
    assert _who(store, _issue(store, Role.OPERATOR)) == (Role.OPERATOR, None)


def test_a_token_is_256_random_bits_kept_as_a_hash(store: Store) -> None:
    """No token is in the database, and no two are alike."""
    tokens = {_issue(store, Role.OPERATOR) for _ in range(5)}
    assert len(tokens) == 5
    for token in tokens:
        assert token.startswith("hks_")
        assert len(token) == len("hks_") + 43
    with reading(store.sessions) as session:
        hashes = session.scalars(select(TokenRow.hash)).all()
    assert {len(value) for value in hashes} == {32}
    assert not any(token.encode() in value for token in tokens for value in hashes)


def test_a_token_expires(store: Store) -> None:
    """A token opens nothing from the millisecond of its expiry on."""
    token = _issue(store, Role.OPERATOR, expires_at_ms=NOW_MS + 10)
    assert _who(store, token, NOW_MS + 9)
    with pytest.raises(ExpiredTokenError):
        _who(store, token, NOW_MS + 10)


def test_a_token_can_be_revoked(store: Store) -> None:
    """A revoked token opens nothing, and the list says since when."""
    token = _issue(store, Role.OPERATOR)
    with reading(store.sessions) as session:
        (info,) = list_tokens(session)
    transact(store.sessions, lambda session: revoke_token(session, info.id, actor="test", now_ms=NOW_MS + 1))
    again = transact(store.sessions, lambda session: revoke_token(session, info.id, actor="test", now_ms=NOW_MS + 2))
    assert again.revoked_at_ms == NOW_MS + 1
    with pytest.raises(RevokedTokenError):
        _who(store, token)
    with pytest.raises(UnknownTokenError):
        transact(store.sessions, lambda session: revoke_token(session, 999, actor="test", now_ms=NOW_MS))


@pytest.mark.parametrize(
    "token", ["", "x", "hks_", "hks_" + "a" * 43, "hks_" + "ä" * 43, "hookstream_" + "a" * 43, "a" * 43]
)
def test_what_is_no_token(store: Store, token: str) -> None:
    """Whatever was never issued opens nothing."""
    with pytest.raises(UnknownTokenError):
        _who(store, token)


@pytest.mark.parametrize(
    ("role", "client", "name"),
    [
        (Role.INTEGRATOR, None, "x"),
        (Role.OPERATOR, 1, "x"),
        (Role.INTEGRATOR, "", "x"),
        (Role.INTEGRATOR, "a\n", "x"),
        (Role.INTEGRATOR, "x" * 256, "x"),
        (Role.OPERATOR, None, " "),
        (Role.OPERATOR, None, "x\n"),
        (Role.OPERATOR, None, "x" * 201),
    ],
)
def test_what_no_token_is_issued_for(role: Role, client: int | str | None, name: str) -> None:
    """A token's role, client and name have to fit together."""
    owner = None if client is None else ClientId(str(client))
    with pytest.raises(ValueError, match=r".+"):
        TokenRequest(role=role, client=owner, name=name, expires_at_ms=None)


def test_the_tables_refuse_what_the_code_would_not_write(store: Store) -> None:
    """A row cannot be published beyond its revision, whoever writes it."""
    store.create()
    with pytest.raises(Exception, match="ck_subscription_keys_revision"):
        transact(store.sessions, lambda session: session.execute(update(SubscriptionRow).values(published_revision=2)))


def _at_once(*calls: Callable[[], object]) -> list[Any]:
    """Run each in a thread, started together; an exception of ours is a result."""
    together = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> object:
        together.wait(WITHIN_S)
        try:
            return call()
        except (HookExistsError, HookNotFoundError) as exc:
            return exc

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))
