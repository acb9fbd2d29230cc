"""What the second of two transactions sees of the first: every row lock of the subscriptions' database, on PostgreSQL.

The order is not left to chance: the second one begins when the first has written and not yet committed. On SQLite one
writing transaction excludes every other from its beginning, which has a test of its own.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, text, update

from hookstream.schemas.control import EndpointSettings, target_digest
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import Hook, HookId, HookNotice, HookState, NoticeKind, Revision
from hookstream.subscriptions.attempt_log import LogProgress, log_progress, write_attempts
from hookstream.subscriptions.changes import StoredHook, hook_of
from hookstream.subscriptions.database import Sessions, open_database, open_sessions, reading, transact
from hookstream.subscriptions.endpoint_settings import EndpointKey, EndpointSettingsChanges
from hookstream.subscriptions.endpoint_settings_publication import (
    PublishedSettings,
    publish_pending_settings,
    rewrite_missing,
    take_over,
)
from hookstream.subscriptions.errors import (
    DatabaseUnavailableError,
    HookExistsError,
    HookNotFoundError,
    LeaseLostError,
    ReplayStateError,
)
from hookstream.subscriptions.idempotency import claim_key
from hookstream.subscriptions.migrations import migrate
from hookstream.subscriptions.models import (
    Base,
    CounterRow,
    DisabledReason,
    EndpointSettingsRow,
    ReplayRow,
    SubscriptionRow,
)
from hookstream.subscriptions.publication import (
    SeenRow,
    correct,
    publish_all,
    publish_pending,
    publish_tombstones,
)
from hookstream.subscriptions.registration import register_hook
from hookstream.subscriptions.replays import (
    Lease,
    NewReplay,
    ReplayFilter,
    ReplayProgress,
    ReplayRepository,
    ReplayState,
    ReplayWork,
)
from hookstream.subscriptions.repository import HookChange, HookRepository, NewHook
from hookstream.subscriptions.resync import lift_above
from hookstream.subscriptions.secret_rotation import RotationRequest, drop_old_secrets, rotate_secret
from hookstream.subscriptions.target_url import Target
from tests.support.postgres import new_database
from tests.support.subscriptions_api import BOX, TARGET
from tests.support.waiting_transactions import Second, begun, one_after_the_other

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy.orm import Session

NOW_MS = 1_700_000_000_000
DAY_MS = 24 * 3600 * 1000
CLIENT, EVENT = ClientId("434"), EventName("lead.new")
KEY = (CLIENT, EVENT)
OTHER = Target("https://other.example/")
NEW = NewHook(client=CLIENT, event=EVENT, target=Target(TARGET))
ENDPOINT = EndpointKey(CLIENT, target_digest(TARGET))


@dataclass
class Topic:
    """The topics of hooks and of endpoint settings, as one list."""

    rows: list[Hook | bytes] = field(default_factory=list)
    settings: list[EndpointSettings] = field(default_factory=list)

    def publish(self, hooks: Sequence[Hook]) -> Sequence[int]:
        self.rows += hooks
        return range(len(self.rows) - len(hooks), len(self.rows))

    def publish_tombstones(self, keys: Sequence[bytes]) -> Sequence[int]:
        self.rows += keys
        return range(len(self.rows) - len(keys), len(self.rows))


@dataclass
class SettingsTopic:
    """The control topic."""

    settings: list[EndpointSettings] = field(default_factory=list)

    def publish(self, settings: Sequence[EndpointSettings]) -> Sequence[PublishedSettings]:
        self.settings += settings
        return [PublishedSettings(wanted=wanted, partition=0, offset=len(self.settings)) for wanted in settings]


@dataclass
class Store:
    """A database with one hook, and its topic."""

    sessions: Sessions
    hook: StoredHook
    topic: Topic = field(default_factory=Topic)
    now_ms: int = NOW_MS

    def hooks(self, session: Session) -> HookRepository:
        return HookRepository(session, "test", self.now_ms)

    def do(self, work: Callable[[HookRepository], object]) -> object:
        """One transaction."""
        return transact(self.sessions, lambda session: work(self.hooks(session)))

    def row(self) -> SubscriptionRow:
        with reading(self.sessions) as session:
            return session.get_one(SubscriptionRow, KEY)

    def race(self, first: Callable[[HookRepository], object], second: Callable[[], object]) -> Second:
        """Let the second begin before the first has committed."""
        return one_after_the_other(self.sessions, lambda session: first(self.hooks(session)), second)

    def retarget(self, hooks: HookRepository) -> StoredHook:
        return hooks.change(self.hook.hook.id, HookChange(target=OTHER), client=None)


def seal(hook_id: HookId) -> bytes:
    return b"sealed for %d" % hook_id


def create(hooks: HookRepository) -> StoredHook:
    return hooks.create(NEW, seal_secret=seal)


@pytest.fixture(scope="module")
def migrated(postgres_url: str) -> Iterator[str]:
    """Make one database for all of these tests: its tables are emptied between them."""
    for url in new_database(postgres_url):
        migrate(url)
        yield url


@pytest.fixture
def store(migrated: str) -> Iterator[Store]:
    engine = open_database(migrated)
    sessions = open_sessions(engine)
    with engine.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            if table.name != CounterRow.__tablename__:
                connection.execute(table.delete())
    hook = transact(sessions, lambda session: create(HookRepository(session, "test", NOW_MS)))
    yield Store(sessions, hook)
    engine.dispose()


# --- hooks ------------------------------------------------------------------------------------------------------------


def test_of_two_creations_where_a_hook_was_deleted_one_wins_and_the_other_is_told(store: Store) -> None:
    """Of two creations at once for a key whose hook was deleted, one makes the hook; the other gets its name."""
    store.do(lambda hooks: hooks.delete(store.hook.hook.id, client=None))
    made: list[StoredHook] = []
    second = store.race(lambda hooks: made.append(create(hooks)), lambda: store.do(create))
    assert second.waited
    with pytest.raises(HookExistsError) as caught:
        second.result()
    assert caught.value.hook_id == made[0].hook.id
    row = store.row()
    assert (row.hook_id, row.revision, row.secrets) == (made[0].hook.id, 3, (seal(made[0].hook.id),))


def test_of_two_creations_for_a_new_key_one_wins_and_the_other_is_told(store: Store) -> None:
    """The same where the subscription key has no row yet: the second runs into the first one's, and begins again."""
    other = replace(NEW, event=EventName("lead.status"))
    made: list[StoredHook] = []
    second = store.race(
        lambda hooks: made.append(hooks.create(other, seal_secret=seal)),
        lambda: store.do(lambda hooks: hooks.create(other, seal_secret=seal)),
    )
    with pytest.raises(HookExistsError) as caught:
        second.result()
    assert caught.value.hook_id == made[0].hook.id


@pytest.mark.parametrize("first", ["change", "disable", "enable", "rotate"])
def test_a_change_sees_the_one_before(store: Store, first: str) -> None:
    """Of two changes at once neither is lost, and each has a revision of its own."""
    hook_id = store.hook.hook.id
    firsts: dict[str, Callable[[HookRepository], object]] = {
        "change": store.retarget,
        "disable": lambda hooks: hooks.disable(hook_id, client=None),
        "enable": lambda hooks: hooks.enable(hook_id, client=None, not_before_ms=5),
        "rotate": lambda hooks: hooks.rotate_secret(
            hook_id, client=None, renew=lambda hook: (b"new", *hook.secrets), old_until_ms=NOW_MS + 1
        ),
    }
    second = store.race(
        firsts[first], lambda: store.do(lambda hooks: hooks.enable(hook_id, client=None, not_before_ms=9))
    )
    assert second.waited
    second.result()
    row = store.row()
    assert (row.revision, row.not_before_ms, row.state) == (3, 9, HookState.ENABLED)
    assert (row.target == OTHER) == (first == "change")
    assert len(row.secrets) == (2 if first == "rotate" else 1)


def test_a_change_of_a_hook_that_is_being_replaced_finds_nothing(store: Store) -> None:
    """Whoever waits for a hook that is replaced meanwhile does not touch its successor."""
    hook_id = store.hook.hook.id

    def replace_it(hooks: HookRepository) -> None:
        hooks.delete(hook_id, client=None)
        create(hooks)

    second = store.race(replace_it, lambda: store.do(lambda hooks: hooks.disable(hook_id, client=None)))
    assert second.waited
    with pytest.raises(HookNotFoundError):
        second.result()
    assert store.row().state == HookState.ENABLED


def test_a_workers_notice_about_a_row_that_is_being_changed_is_void(store: Store) -> None:
    """A notice that waits for a change of its row was about another row, and disables nothing."""
    notice = HookNotice(
        client=CLIENT,
        event=EVENT,
        hook_id=store.hook.hook.id,
        revision=Revision(1),
        kind=NoticeKind.GONE,
        observed_at_ms=NOW_MS,
    )
    second = store.race(
        store.retarget, lambda: store.do(lambda hooks: hooks.disable_observed(notice, DisabledReason.GONE))
    )
    assert second.waited
    assert second.result() is False
    assert (store.row().state, store.row().revision) == (HookState.ENABLED, 2)


def test_a_rotation_with_a_key_sees_the_change_before(store: Store) -> None:
    """A rotation that has looked at its hook and then waits for it goes by what it finds after it waited."""
    wanted = RotationRequest(hook_id=store.hook.hook.id, client=CLIENT, idempotency_key="k")
    second = store.race(
        store.retarget, lambda: rotate_secret(store.sessions, BOX, wanted, actor="x", now_ms=lambda: NOW_MS)
    )
    assert second.waited
    second.result()
    row = store.row()
    assert (row.revision, row.target) == (3, OTHER)


def test_of_two_requests_with_one_key_the_second_waits_for_the_answer(store: Store) -> None:
    """The second request with a key waits for the first one's row, and gets its answer."""
    new = replace(NEW, event=EventName("lead.status"))
    request = [new.event, new.target]

    def first(session: Session) -> None:
        claim = claim_key(session, BOX, (CLIENT, "k"), request, now_ms=NOW_MS)
        hook = HookRepository(session, "x", NOW_MS).create(new, seal_secret=seal).hook
        claim.keep(BOX, hook.id, CLIENT, new.event, new.target, "whsec_first")

    def second() -> object:
        return register_hook(store.sessions, BOX, new, actor="x", now_ms=lambda: NOW_MS, idempotency_key="k")

    done = one_after_the_other(store.sessions, first, second)
    assert done.waited
    assert done.result().secret == "whsec_first"  # type: ignore[attr-defined]
    # The same where the key's row exists already: its time is over, and two come at once.
    later_ms = NOW_MS + 2 * DAY_MS
    transact(
        store.sessions, lambda session: HookRepository(session, "x", 0).delete(store.hook.hook.id + 1, client=None)
    )

    def again(session: Session) -> None:
        claim = claim_key(session, BOX, (CLIENT, "k"), request, now_ms=later_ms)
        assert claim.answer is None
        hook = HookRepository(session, "x", later_ms).create(new, seal_secret=seal).hook
        claim.keep(BOX, hook.id, CLIENT, new.event, new.target, "whsec_second")

    def repeated() -> object:
        return register_hook(store.sessions, BOX, new, actor="x", now_ms=lambda: later_ms, idempotency_key="k")

    done = one_after_the_other(store.sessions, again, repeated)
    assert done.waited
    assert done.result().secret == "whsec_second"  # type: ignore[attr-defined]


# --- secrets ----------------------------------------------------------------------------------------------------------


def _rotate(hooks: HookRepository) -> StoredHook:
    def renew(hook: Hook) -> tuple[bytes, ...]:
        return (b"newest", *hook.secrets)

    hook_id = hooks.session.get_one(SubscriptionRow, KEY).hook_id
    return hooks.rotate_secret(hook_id, client=None, renew=renew, old_until_ms=hooks.now_ms + DAY_MS)


def test_dropping_old_secrets_leaves_a_locked_row(store: Store) -> None:
    """Whoever drops old secrets passes a hook that is being rotated: its newest secret is not lost."""
    store.do(_rotate)
    later_ms = NOW_MS + DAY_MS
    second = store.race(_rotate, lambda: drop_old_secrets(store.sessions, now_ms=later_ms, limit=10))
    assert not second.waited
    assert second.result() == 0
    assert store.row().secrets == (b"newest", b"newest", seal(store.hook.hook.id))
    assert drop_old_secrets(store.sessions, now_ms=later_ms, limit=10) == 1
    assert store.row().secrets == (b"newest",)


def test_sealing_again_keeps_a_secret_that_is_being_made(store: Store) -> None:
    """A row that is sealed again under another key while its hook is rotated keeps the new secret."""

    def reseal(hook: Hook) -> tuple[bytes, ...]:
        return tuple(b"again:" + secret for secret in hook.secrets)

    second = store.race(_rotate, lambda: store.do(lambda hooks: hooks.replace_secrets(KEY, reseal)))
    assert second.waited
    second.result()
    assert store.row().secrets == (b"again:newest", b"again:" + seal(store.hook.hook.id))
    assert store.row().revision == 3


# --- publication ------------------------------------------------------------------------------------------------------


def test_a_relay_passes_a_locked_row(store: Store) -> None:
    """What is pending is published under its lock: another relay, or a change, that has it is not waited for."""
    second = store.race(store.retarget, lambda: publish_pending(store.sessions, store.topic, limit=10))
    assert not second.waited
    assert second.result() == 0
    assert store.topic.rows == []
    assert publish_pending(store.sessions, store.topic, limit=10) == 1
    assert [row.revision for row in store.topic.rows if isinstance(row, Hook)] == [2]


def test_a_change_waits_until_its_row_is_published(store: Store) -> None:
    """A row that is being published does not change until Kafka has it and that is remembered."""
    changes: list[Second] = []
    with ThreadPoolExecutor(1) as pool:

        class Holding(Topic):
            def publish(self, hooks: Sequence[Hook]) -> Sequence[int]:
                changes.append(begun(store.sessions, pool, lambda: store.do(store.retarget)))
                return super().publish(hooks)

        assert publish_pending(store.sessions, Holding(), limit=10) == 1
    assert changes[0].waited
    changes[0].result()
    row = store.row()
    assert (row.revision, row.published_revision) == (2, 1)


@pytest.mark.parametrize("limit", [1, 10])
def test_a_deletion_that_is_old_and_not_published_gets_its_row_first_and_its_tombstone_later(
    store: Store, limit: int
) -> None:
    """A deletion that is 40 days old and was never published is told by its row before the tombstone hides it."""
    store.do(lambda hooks: hooks.delete(store.hook.hook.id, client=None))
    before_ms = NOW_MS + 1
    assert publish_tombstones(store.sessions, store.topic, deleted_before_ms=before_ms, limit=limit) == 0
    assert store.topic.rows == []
    assert publish_pending(store.sessions, store.topic, limit=limit) == 1
    assert publish_tombstones(store.sessions, store.topic, deleted_before_ms=before_ms, limit=limit) == 1
    assert publish_tombstones(store.sessions, store.topic, deleted_before_ms=before_ms, limit=limit) == 0
    row, tombstone = store.topic.rows
    assert isinstance(row, Hook)
    assert row.state is HookState.DELETED
    assert tombstone == b"434|lead.new"


def test_no_tombstone_is_written_for_a_key_that_gets_a_hook(store: Store) -> None:
    """A key whose old deletion is due for its tombstone, and that gets a new hook at this moment, gets none."""
    store.do(lambda hooks: hooks.delete(store.hook.hook.id, client=None))
    publish_pending(store.sessions, store.topic, limit=10)
    store.topic.rows.clear()
    second = store.race(
        create, lambda: publish_tombstones(store.sessions, store.topic, deleted_before_ms=NOW_MS + 1, limit=10)
    )
    assert not second.waited
    assert second.result() == 0
    assert store.topic.rows == []


def test_a_correction_waits_for_whoever_writes_and_leaves_what_is_pending(store: Store) -> None:
    """A row that looks wrong while it is being changed is left to the change, which is written behind everything."""
    publish_pending(store.sessions, store.topic, limit=10)
    store.topic.rows.clear()
    seen = SeenRow(key=KEY, offset=99, revision=0)
    second = store.race(store.retarget, lambda: correct(store.sessions, store.topic, [seen]))
    assert second.waited
    assert second.result() == 0
    assert store.topic.rows == []


def test_a_correction_goes_by_the_last_record_of_a_key(store: Store) -> None:
    """Of several records of a key the last one stands; where that is right nothing is written, in whatever order."""
    publish_pending(store.sessions, store.topic, limit=10)
    store.topic.rows.clear()
    wrong, right = SeenRow(key=KEY, offset=98, revision=0), SeenRow(key=KEY, offset=99, revision=1)
    assert correct(store.sessions, store.topic, [right, wrong]) == 0
    assert correct(store.sessions, store.topic, [wrong, right]) == 0
    late = SeenRow(key=KEY, offset=100, revision=0)
    assert correct(store.sessions, store.topic, [late, wrong]) == 1


def test_everything_is_published_with_what_is_being_changed(store: Store) -> None:
    """A resync that publishes every row waits for one that is being changed, and writes the changed row."""
    second = store.race(store.retarget, lambda: publish_all(store.sessions, store.topic, batch=10))
    assert second.waited
    assert second.result() == 1
    assert [row.revision for row in store.topic.rows if isinstance(row, Hook)] == [2]
    assert store.row().published_revision == 2


def test_a_lift_above_the_topic_sees_what_is_being_written(store: Store) -> None:
    """A row that is changed while a resync lifts it keeps the change, under a revision above everything seen."""
    publish_pending(store.sessions, store.topic, limit=10)
    seen = replace(hook_of(store.row()), revision=Revision(7), target="https://topic.example/")
    second = store.race(store.retarget, lambda: lift_above(store.sessions, {KEY: seen}, actor="x", now_ms=NOW_MS))
    assert second.waited
    second.result()
    row = store.row()
    assert (row.revision, row.target, row.published_revision) == (8, OTHER, 1)


# --- endpoint settings ------------------------------------------------------------------------------------------------


def test_an_action_sees_the_one_before(store: Store) -> None:
    """Of a pause and a drain at once both hold; each has a revision of its own."""
    transact(store.sessions, lambda session: EndpointSettingsChanges(session, "a", NOW_MS).resume(ENDPOINT, "first"))

    def drain() -> object:
        return transact(
            store.sessions,
            lambda session: EndpointSettingsChanges(session, "b", NOW_MS).drain(ENDPOINT, "x", before_ms=5),
        )

    second = one_after_the_other(
        store.sessions, lambda session: EndpointSettingsChanges(session, "a", NOW_MS).pause(ENDPOINT, "y"), drain
    )
    assert second.waited
    second.result()
    with reading(store.sessions) as session:
        wanted = EndpointSettingsChanges(session, "", NOW_MS).get(ENDPOINT).wanted
    assert (wanted.paused, wanted.skip_before_ms, wanted.revision) == (True, 5, 3)


def _pause(session: Session) -> object:
    return EndpointSettingsChanges(session, "a", NOW_MS).pause(ENDPOINT, "y")


def test_a_relay_passes_locked_settings(store: Store) -> None:
    """Settings that are being changed are published by whoever comes after its commit."""
    transact(store.sessions, lambda session: EndpointSettingsChanges(session, "a", NOW_MS).resume(ENDPOINT, "first"))
    topic = SettingsTopic()
    second = one_after_the_other(
        store.sessions, _pause, lambda: publish_pending_settings(store.sessions, topic, limit=10)
    )
    assert not second.waited
    assert second.result() == 0
    assert publish_pending_settings(store.sessions, topic, limit=10) == 1
    assert [wanted.paused for wanted in topic.settings] == [True]


def test_what_the_topic_teaches_is_judged_after_whoever_writes(store: Store) -> None:
    """A record ahead of the database meets settings that are being changed: what can only grow is both's."""
    transact(store.sessions, lambda session: EndpointSettingsChanges(session, "a", NOW_MS).resume(ENDPOINT, "first"))
    topic = SettingsTopic()
    publish_pending_settings(store.sessions, topic, limit=10)
    ahead = replace(topic.settings[0], revision=9, skip_before_ms=77)
    record = PublishedSettings(wanted=ahead, partition=0, offset=50)
    second = one_after_the_other(store.sessions, _pause, lambda: take_over(store.sessions, [record], now_ms=NOW_MS))
    assert second.waited
    assert second.result() == 1
    with reading(store.sessions) as session:
        wanted = EndpointSettingsChanges(session, "", NOW_MS).get(ENDPOINT).wanted
    assert (wanted.paused, wanted.skip_before_ms, wanted.revision) == (True, 77, 10)


def test_a_new_topic_gets_a_settings_that_is_being_published(store: Store) -> None:
    """What is published while another process finds the topic empty is looked at once that is known."""
    transact(store.sessions, lambda session: EndpointSettingsChanges(session, "a", NOW_MS).resume(ENDPOINT, "first"))
    published = update(EndpointSettingsRow).values(published_revision=1, published_partition=0, published_offset=3)
    second = one_after_the_other(
        store.sessions, lambda session: session.execute(published), lambda: rewrite_missing(store.sessions, [])
    )
    assert second.waited
    assert second.result() == 1
    with reading(store.sessions) as session:
        assert session.scalar(select(EndpointSettingsRow.published_revision)) == 0


# --- replays ----------------------------------------------------------------------------------------------------------


ASKED = NewReplay(
    wanted=ReplayFilter(from_ms=NOW_MS - 1000, to_ms=NOW_MS, client=CLIENT), rate_per_s=1.0, endpoint_rate_per_s=1.0
)


def replaying(owner: str, now_ms: int = NOW_MS) -> Callable[[Session], ReplayWork]:
    return lambda session: ReplayWork(session, Lease(owner=owner, lasts_ms=30_000), now_ms)


def test_of_two_replayers_one_has_the_replay(store: Store) -> None:
    """A replay that one replayer is taking at this moment is passed by the other, who gets the next one."""
    asked = [
        transact(store.sessions, lambda s: ReplayRepository(s, "x", NOW_MS).create(ASKED, one_at_a_time=False)).id
        for _ in range(2)
    ]
    a, b = replaying("a"), replaying("b")
    taken: list[int] = []

    def first(session: Session) -> None:
        found = a(session).claim()
        assert found is not None
        taken.append(found.id)

    second = one_after_the_other(
        store.sessions, first, lambda: transact(store.sessions, lambda session: b(session).claim())
    )
    assert not second.waited
    assert [*taken, second.result().id] == asked  # type: ignore[attr-defined]


def test_a_pause_is_seen_by_whoever_saves_after_it(store: Store) -> None:
    """A replayer that saves its progress while an operator pauses the replay sees the pause, and keeps it."""
    replay = transact(store.sessions, lambda s: ReplayRepository(s, "x", NOW_MS).create(ASKED, one_at_a_time=False)).id
    transact(store.sessions, lambda session: replaying("a")(session).claim())
    transact(store.sessions, lambda s: s.execute(update(ReplayRow).values(state=ReplayState.RUNNING.value)))
    progress = ReplayProgress(scanned=5)
    second = one_after_the_other(
        store.sessions,
        lambda session: ReplayRepository(session, "x", NOW_MS).pause(replay, client=None),
        lambda: transact(store.sessions, lambda session: replaying("a")(session).save(replay, progress)),
    )
    assert second.waited
    assert second.result() is ReplayState.PAUSED


def test_a_cancellation_and_an_end_at_once_leave_the_one_that_was_first(store: Store) -> None:
    """A replay that ends while it is being cancelled stays cancelled; whatever its replayer says."""
    replay = transact(store.sessions, lambda s: ReplayRepository(s, "x", NOW_MS).create(ASKED, one_at_a_time=False)).id
    transact(store.sessions, lambda session: replaying("a")(session).claim())
    second = one_after_the_other(
        store.sessions,
        lambda session: ReplayRepository(session, "x", NOW_MS).cancel(replay, client=None),
        lambda: transact(store.sessions, lambda session: replaying("a")(session).end(replay, ReplayProgress())),
    )
    assert second.waited
    second.result()
    with reading(store.sessions) as session:
        assert ReplayRepository(session, "", 0).get(replay, client=None).state is ReplayState.CANCELLED


def test_a_replay_that_is_ending_cannot_be_cancelled_any_more(store: Store) -> None:
    """Whoever cancels a replay while its replayer ends it is told that it has ended."""
    replay = transact(store.sessions, lambda s: ReplayRepository(s, "x", NOW_MS).create(ASKED, one_at_a_time=False)).id
    transact(store.sessions, lambda session: replaying("a")(session).claim())
    second = one_after_the_other(
        store.sessions,
        lambda session: replaying("a")(session).end(replay, ReplayProgress()),
        lambda: transact(store.sessions, lambda s: ReplayRepository(s, "x", NOW_MS).cancel(replay, client=None)),
    )
    assert second.waited
    with pytest.raises(ReplayStateError):
        second.result()
    with reading(store.sessions) as session:
        assert ReplayRepository(session, "", 0).get(replay, client=None).state is ReplayState.DONE


def test_a_lease_that_is_being_taken_over_is_lost_for_its_holder(store: Store) -> None:
    """A replayer whose lease has ended writes nothing once another one has taken the replay."""
    replay = transact(store.sessions, lambda s: ReplayRepository(s, "x", NOW_MS).create(ASKED, one_at_a_time=False)).id
    transact(store.sessions, lambda session: replaying("a")(session).claim())
    second = one_after_the_other(
        store.sessions,
        lambda session: replaying("b", NOW_MS + 30_001)(session).claim(),
        lambda: transact(store.sessions, lambda session: replaying("a")(session).save(replay, ReplayProgress(sent=9))),
    )
    assert second.waited
    with pytest.raises(LeaseLostError):
        second.result()
    with reading(store.sessions) as session:
        assert ReplayRepository(session, "", 0).get(replay, client=None).progress.sent == 0


# --- the attempt log --------------------------------------------------------------------------------------------------


def test_progress_that_waited_does_not_go_back(store: Store) -> None:
    """Of two processes that read a partition for a moment, the one that is behind does not take progress back."""

    def progress(offset: int) -> list[LogProgress]:
        return [LogProgress(partition=0, topic_id="t", next_offset=offset, appended_at_ms=1, covers_from_ms=0)]

    transact(store.sessions, lambda session: write_attempts(session, [], progress(1)))
    second = one_after_the_other(
        store.sessions,
        lambda session: write_attempts(session, [], progress(10)),
        lambda: transact(store.sessions, lambda session: write_attempts(session, [], progress(5))),
    )
    assert second.waited
    second.result()
    with reading(store.sessions) as session:
        assert log_progress(session)[0].next_offset == 10


# --- the database itself ----------------------------------------------------------------------------------------------


def test_on_sqlite_a_writer_has_the_file_from_its_first_read_on(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second writing transaction does not begin before the first has ended, so it reads nothing that will change."""
    migrate(sqlite_url)
    monkeypatch.setattr("hookstream.subscriptions.database._LOCK_TIMEOUT_S", 0.1)
    engines = open_database(sqlite_url), open_database(sqlite_url)
    one, other = map(open_sessions, engines)

    def read(session: Session) -> None:
        session.scalar(select(SubscriptionRow.hook_id))

    def first(session: Session) -> None:
        read(session)
        with pytest.raises(DatabaseUnavailableError):
            transact(other, read)
        with reading(other) as reader:
            read(reader)  # and a reader waits for no lock

    transact(one, first)
    transact(other, read)
    for engine in engines:
        engine.dispose()


def test_a_transaction_that_is_left_open_is_ended_by_the_server(migrated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is suspended inside a transaction loses it, and with it its locks."""
    monkeypatch.setattr("hookstream.subscriptions.database._IDLE_IN_TRANSACTION_S", 37)
    engine = open_database(migrated)
    with reading(open_sessions(engine)) as session:
        assert session.scalar(text("SHOW idle_in_transaction_session_timeout")) == "37s"
        assert session.scalar(text("SHOW lock_timeout")) == "10s"
    engine.dispose()
