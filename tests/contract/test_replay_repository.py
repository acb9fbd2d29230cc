"""Replays in the database, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import pytest
from sqlalchemy import event, select

from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import HookId
from hookstream.subscriptions.database import Sessions, open_database, open_sessions, transact
from hookstream.subscriptions.errors import (
    LeaseLostError,
    ReplayNotFoundError,
    ReplayStateError,
    ReplayUnfinishedError,
)
from hookstream.subscriptions.migrations import migrate
from hookstream.subscriptions.models import AuditRow, ReplayRow
from hookstream.subscriptions.replays import (
    ALL_WORK,
    Lease,
    NewReplay,
    ReplayCount,
    ReplayFilter,
    ReplayId,
    ReplayProgress,
    ReplayQuery,
    ReplayRepository,
    ReplayState,
    ReplayWork,
    StoredReplay,
    Stretch,
    Window,
    WorkKind,
)
from tests.support.wait import WITHIN_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.orm import Session

T = TypeVar("T")

NOW_MS = 1_700_000_000_000
WANTED = ReplayFilter(from_ms=NOW_MS - 3_600_000, to_ms=NOW_MS, client=ClientId("434"))
NEW = NewReplay(wanted=WANTED, rate_per_s=1000.0, endpoint_rate_per_s=100.0)
WINDOW = Window(stretches=[Stretch(topic="events.lead", partition=2, start=7, end=90)], left_from_ms=NOW_MS - 1000)
COUNT = ReplayCount(deliveries=83, hooks={HookId(1): 80, HookId(2): 3}, hook_count=2, estimate_s=0.8)
LEASE_MS = 30_000


@dataclass
class Store:
    """The replays, as people and replayers see them."""

    sessions: Sessions
    now_ms: int = NOW_MS

    def ask(self, work: Callable[[ReplayRepository], T], actor: str = "token:1:ops") -> T:
        """A transaction."""
        return transact(self.sessions, lambda session: work(ReplayRepository(session, actor, self.now_ms)))

    def work(self, work: Callable[[ReplayWork], T], owner: str = "a") -> T:
        """A replayer's transaction."""
        lease = Lease(owner=owner, lasts_ms=LEASE_MS)
        return transact(self.sessions, lambda session: work(ReplayWork(session, lease, self.now_ms)))

    def create(self, *, own: bool = False, new: NewReplay = NEW) -> ReplayId:
        """Ask for a replay."""
        return self.ask(lambda replays: replays.create(new, one_at_a_time=own)).id

    def planned(self) -> ReplayId:
        """Ask for a replay, and count it."""
        replay_id = self.create()
        assert self.claim() == replay_id
        self.work(lambda work: work.fix_window(replay_id, WINDOW))
        self.work(lambda work: work.counted(replay_id, ReplayProgress(scanned=83), COUNT))
        return replay_id

    def running(self) -> ReplayId:
        """Let a planned replay run, with a replayer that holds it."""
        replay_id = self.planned()
        self.ask(lambda replays: replays.run(replay_id, client=None))
        assert self.claim() == replay_id
        return replay_id

    def claim(self, owner: str = "a") -> ReplayId | None:
        """Take what has work."""
        found = self.work(lambda work: work.claim(), owner)
        return None if found is None else found.id

    def get(self, replay_id: int, client: int | None = None) -> StoredReplay:
        """Read one."""
        scope = None if client is None else ClientId(str(client))
        return self.ask(lambda replays: replays.get(replay_id, client=scope))


@pytest.fixture
def store(any_database_url: str) -> Iterator[Store]:
    """An empty database."""
    migrate(any_database_url)
    engine = open_database(any_database_url)
    yield Store(open_sessions(engine))
    engine.dispose()


def test_a_replay_is_counted_before_it_may_run_and_keeps_its_window(store: Store) -> None:
    """Nothing runs uncounted; the window that was counted is the one that runs."""
    replay_id = store.create()
    with pytest.raises(ReplayStateError, match="counting"):
        store.ask(lambda replays: replays.run(replay_id, client=None))
    assert store.claim() == replay_id
    store.work(lambda work: work.fix_window(replay_id, WINDOW))
    counted = ReplayProgress(scanned=83, expired=2, unreadable=1)
    store.work(lambda work: work.counted(replay_id, counted, COUNT))
    assert store.claim() is None, "what is planned waits for a person"
    found = store.get(replay_id)
    assert (found.state, found.asked, found.window, found.count) == (ReplayState.PLANNED, NEW, WINDOW, COUNT)
    assert found.progress == counted
    started = store.ask(lambda replays: replays.run(replay_id, client=None))
    assert (started.state, started.progress) == (ReplayState.RUNNING, ReplayProgress()), "all of it is read again"
    assert store.claim() == replay_id
    store.work(lambda work: work.end(replay_id, ReplayProgress(scanned=83, sent=83)))
    found = store.get(replay_id)
    assert (found.state, found.window, found.progress.sent) == (ReplayState.DONE, WINDOW, 83)
    assert found.job == f"replay-{replay_id}"


def test_only_the_holder_of_a_lease_writes_and_a_dead_holders_lease_ends(store: Store) -> None:
    """While a lease runs no other replayer is given the replay; after it, its former holder writes nothing."""
    replay_id = store.running()
    assert store.claim("b") is None
    store.now_ms += LEASE_MS + 1
    assert store.claim("b") == replay_id
    for write in (
        lambda work: work.save(replay_id, ReplayProgress(sent=1)),
        lambda work: work.end(replay_id, ReplayProgress(sent=1)),
        lambda work: work.release(replay_id, ReplayProgress(sent=1)),
        lambda work: work.counted(replay_id, ReplayProgress(sent=1), COUNT),
        lambda work: work.fix_window(replay_id, replace(WINDOW, stretches=[])),
    ):
        with pytest.raises(LeaseLostError):
            store.work(write, "a")
    store.now_ms += 1000
    assert store.work(lambda work: work.save(replay_id, ReplayProgress(sent=9)), "b") is ReplayState.RUNNING
    assert store.get(replay_id).progress.sent == 9
    store.now_ms += LEASE_MS - 1
    assert store.claim("a") is None, "a save renews the lease"
    store.work(lambda work: work.release(replay_id, ReplayProgress(sent=9)), "b")
    assert store.claim("a") == replay_id, "what was let go is free at once"


def test_whoever_works_on_a_replay_hears_that_it_was_paused_or_cancelled_and_cannot_undo_it(store: Store) -> None:
    """A pause and a cancellation win over the end that a replayer writes at the same moment."""
    replay_id = store.running()
    store.ask(lambda replays: replays.pause(replay_id, client=None))
    assert store.work(lambda work: work.save(replay_id, ReplayProgress(sent=5))) is ReplayState.PAUSED
    store.work(lambda work: work.release(replay_id, ReplayProgress(sent=5)))
    assert store.claim() is None
    store.ask(lambda replays: replays.run(replay_id, client=None))
    assert store.claim() == replay_id
    store.ask(lambda replays: replays.cancel(replay_id, client=None))
    store.work(lambda work: work.end(replay_id, ReplayProgress(sent=6)))
    assert store.get(replay_id).state is ReplayState.CANCELLED
    store.ask(lambda replays: replays.cancel(replay_id, client=None))
    with pytest.raises(ReplayStateError, match="cancelled"):
        store.ask(lambda replays: replays.run(replay_id, client=None))


def test_a_replayer_is_given_only_what_it_has_places_for(store: Store) -> None:
    """Of what waits, the oldest of the kinds that are asked for; what integrators asked for is a kind of its own."""
    counting, running = ReplayState.COUNTING, ReplayState.RUNNING
    operators = store.running()
    store.work(lambda work: work.release(operators, ReplayProgress()))
    own = store.create(own=True)

    def claimed(*kinds: WorkKind) -> ReplayId | None:
        found = store.work(lambda work: work.claim(kinds=kinds))
        if found is not None:
            store.work(lambda work: work.release(found.id, ReplayProgress()))
        return None if found is None else found.id

    assert claimed(WorkKind(own=True, state=counting)) == own
    assert claimed(WorkKind(own=False, state=running)) == operators
    assert claimed(WorkKind(own=True, state=running), WorkKind(own=False, state=counting)) is None
    assert claimed() is None
    assert claimed(*ALL_WORK) == operators, "the oldest"


def test_a_failure_keeps_its_reason(store: Store) -> None:
    """A later reader is told why."""
    replay_id = store.create()
    store.claim()
    store.work(lambda work: work.end(replay_id, ReplayProgress(), failed="the attempt log is behind"))
    found = store.get(replay_id)
    assert (found.state, found.reason) == (ReplayState.FAILED, "the attempt log is behind")
    with pytest.raises(ReplayStateError):
        store.ask(lambda replays: replays.cancel(replay_id, client=None))


def test_a_client_sees_its_replays_and_has_one_at_a_time_of_its_own(store: Store) -> None:
    """Another client's replay is not found; a second one of its own waits for the first one's end."""
    mine = store.create(own=True)
    theirs = store.create(new=replace(NEW, wanted=replace(WANTED, client=ClientId("9999"))))
    everybodys = store.create(new=replace(NEW, wanted=replace(WANTED, client=None)))
    store.create()  # an operator's, for this client
    with pytest.raises(ReplayUnfinishedError, match=str(mine)):
        store.create(own=True)
    for hidden in (theirs, everybodys):
        with pytest.raises(ReplayNotFoundError):
            store.get(hidden, client=434)
    store.ask(lambda replays: replays.cancel(mine, client=ClientId("434")))
    again = store.create(own=True)
    listed = store.ask(lambda replays: replays.list(ReplayQuery(client=ClientId("434"))))
    assert next(each.id for each in listed) == again
    assert {each.asked.wanted.client for each in listed} == {"434"}
    page = store.ask(lambda replays: replays.list(ReplayQuery(client=None, before=everybodys, limit=1)))
    assert [each.id for each in page] == [theirs]
    cancelled = store.ask(lambda replays: replays.list(ReplayQuery(client=None, state=ReplayState.CANCELLED)))
    assert [each.id for each in cancelled] == [mine]


def test_of_two_own_replays_that_are_asked_for_at_once_one_is_refused(database_url: str) -> None:
    """Two requests that both saw no unfinished replay end with one. SQLite has one writer at a time anyway."""
    migrate(database_url)
    engine = open_database(database_url)
    store = Store(open_sessions(engine))
    both_have_looked = threading.Barrier(2)

    def meet(session: Session, *_: object) -> None:
        if any(isinstance(row, ReplayRow) for row in session.new):
            both_have_looked.wait(WITHIN_S)

    event.listen(store.sessions, "before_flush", meet)
    try:
        with ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(store.create, own=True) for _ in range(2)]
            failures = [found.exception() for found in asked]
        assert [type(failure) for failure in failures if failure] == [ReplayUnfinishedError]
        listed = store.ask(lambda replays: replays.list(ReplayQuery(client=ClientId("434"))))
        assert len(listed) == 1
    finally:
        engine.dispose()


def test_every_deed_is_audited(store: Store) -> None:
    """Who asked for a replay, let it run, paused it and ended it can be read afterwards."""
    replay_id = store.running()
    store.ask(lambda replays: replays.pause(replay_id, client=None), actor="token:2:pause")
    store.ask(lambda replays: replays.run(replay_id, client=None), actor="token:2:run")
    store.ask(lambda replays: replays.cancel(replay_id, client=None), actor="token:2:cancel")
    with store.sessions() as session:
        rows = list(session.scalars(select(AuditRow).order_by(AuditRow.id)))
    assert [(row.action, row.actor) for row in rows] == [
        ("replay.create", "token:1:ops"),
        ("replay.run", "token:1:ops"),
        ("replay.pause", "token:2:pause"),
        ("replay.run", "token:2:run"),
        ("replay.cancel", "token:2:cancel"),
    ]
    assert {row.detail["replay"] for row in rows} == {replay_id}
    assert rows[0].detail["from_ms"] == WANTED.from_ms
