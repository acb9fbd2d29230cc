"""The steps of a replay in their order: what is waited for before anything is judged, and checked before a write."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from hookstream.processors.errors import ForeignTableError, KafkaUnavailableError
from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.lifecycle import StopSignal
from hookstream.processors.operations.replays import leased_row
from hookstream.processors.operations.replays import run as replay_run
from hookstream.processors.operations.replays.judge import AttemptJudge
from hookstream.processors.operations.replays.pacing import Done
from hookstream.processors.operations.replays.preparation import RefusedError
from hookstream.processors.operations.replays.run import ReplayRun
from hookstream.processors.operations.replays.run_deps import RunDeps
from hookstream.processors.operations.replays.selection import Selected
from hookstream.processors.operations.replays.window import TableSeen
from hookstream.processors.tables.subscription_table import SubscriptionTable
from hookstream.schemas.hook import ResyncMark
from hookstream.schemas.sources.record import SourceRecord
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.errors import LeaseLostError
from hookstream.subscriptions.replays import (
    Lease,
    NewReplay,
    ReplayFilter,
    ReplayId,
    ReplayProgress,
    ReplayState,
    StoredReplay,
    Stretch,
    Window,
)
from tests.support.values import DELIVERY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hookstream.schemas.delivery import Delivery

PLACE = ("events.property", 3)
WINDOW = Window(stretches=[Stretch(topic=PLACE[0], partition=PLACE[1], start=0, end=4)])
LEASE_S = 10.0


@dataclass
class World:
    """Everything that a run talks to. `journal` is what it did, in its order; `now` moves when a test moves it."""

    journal: list[str] = field(default_factory=list)
    now: float = 100.0
    table: SubscriptionTable = field(default_factory=SubscriptionTable)
    topic_id: str | None = "table-2"
    table_end: int = 10
    seen: TableSeen | None = None
    records: int = 4
    wanted: ReplayState | None = None
    """What the row says that is wanted; None: what the run does already."""
    lease_lost: bool = False
    kafka_away: bool = False
    transaction_s: float = 0.0
    sent: list[int] = field(default_factory=list)
    committed: list[Mapping[tuple[str, int], Done]] = field(default_factory=list)

    # the table's reader, and the lookup

    def end(self) -> int:
        """Tell where the subscriptions topic ends."""
        return self.table_end

    def fix(self, _asked: NewReplay, *, now_ms: int) -> Window:
        """Look the window up."""
        del now_ms
        self.journal.append("look up the window")
        return WINDOW

    def table_seen(self, _asked: NewReplay) -> TableSeen | None:
        """Tell how far the routers had read the table."""
        return self.seen

    # the writer

    def write(self, deliveries: Sequence[Delivery], *, job: str, stop: StopSignal) -> None:
        """Write deliveries."""
        del job, stop
        if self.kafka_away:
            raise KafkaUnavailableError("no acknowledgement")
        self.journal.append("write")
        self.sent += [delivery.source_offset for delivery in deliveries]

    # the rows

    def transact(self, _sessions: object, work: Callable[[Any], Any]) -> Any:  # whatever the work gives
        """Do something in a transaction, which takes its time."""
        if self.lease_lost:
            raise LeaseLostError(ReplayId(1))
        done = work(self)
        self.now += self.transaction_s
        return done

    def fix_window(self, _replay_id: ReplayId, _window: Window) -> None:
        """Keep the window."""
        self.journal.append("keep the window")

    def save(self, _replay_id: ReplayId, _progress: ReplayProgress) -> ReplayState:
        """Keep how far it is, and tell what is wanted."""
        self.journal.append("tell the row")
        return self.wanted or ReplayState.RUNNING

    def release(self, _replay_id: ReplayId, _progress: ReplayProgress) -> None:
        """Let go."""
        self.journal.append("let go")

    def end_replay(self, _replay_id: ReplayId, _progress: ReplayProgress, *, failed: str | None = None) -> None:
        """Note its end."""
        self.journal.append(f"end {failed or 'done'}")


@dataclass
class Work:
    """The rows as a transaction sees them."""

    world: World

    def __getattr__(self, name: str) -> Any:  # any of the world's writes
        return getattr(self.world, "end_replay" if name == "end" else name)


@dataclass
class MemoryWindow:
    """A window whose records are read two at a time."""

    world: World
    scanned: int = 0
    expired: int = 0

    def open(self, *, go_on: bool) -> dict[tuple[str, int], Done]:
        """Begin at its start."""
        del go_on
        self.world.journal.append("read")
        return {PLACE: Done(0, 0)}

    @property
    def done(self) -> bool:
        """Whether everything was read."""
        return self.scanned >= self.world.records

    def position(self, _place: tuple[str, int]) -> int:
        """Tell the next offset."""
        return self.scanned

    def read(self, _timeout_s: float = 0.0) -> tuple[list[SourceRecord], set[tuple[str, int]]]:
        """Read two records."""
        if self.done:
            return [], set()
        records = [SourceRecord(*PLACE, offset, None, b"", None, 0) for offset in range(self.scanned, self.scanned + 2)]
        self.scanned += 2
        return records, {PLACE}

    def commit(self, progress: Mapping[tuple[str, int], Done]) -> None:
        """Keep how far it is."""
        if self.world.committed[-1:] != [progress]:
            self.world.journal.append("commit")
            self.world.committed.append(progress)

    def rest(self) -> None:
        """Disconnect for a while."""
        self.world.journal.append("rest")

    def close(self, *, for_good: bool = False) -> None:
        """Disconnect."""
        self.world.journal.append("forget" if for_good else "close")


class Chosen:
    """Everything that was read is wanted."""

    unreadable = 0

    def select(self, record: SourceRecord) -> Selected:
        """Choose it."""
        return Selected(record, replace(DELIVERY, source_offset=record.offset), ("1", "https://e.example/"))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A world in which nothing is missing."""
    made = World()
    made.table.advance(10)
    monkeypatch.setattr(leased_row, "transact", made.transact)
    monkeypatch.setattr(leased_row, "ReplayWork", lambda _session, _lease, _now_ms: Work(made))
    monkeypatch.setattr(replay_run, "WindowReader", lambda *_args, **_more: MemoryWindow(made))
    return made


def a_run(world: World, *, window: Window | None = WINDOW, rate: float = 1000.0) -> ReplayRun:
    """Make a running replay that was claimed just now."""
    asked = NewReplay(wanted=ReplayFilter(from_ms=0, to_ms=1), rate_per_s=rate, endpoint_rate_per_s=rate)
    replay = StoredReplay(
        id=ReplayId(1),
        own=False,
        asked=asked,
        state=ReplayState.RUNNING,
        created_by="test",
        created_at_ms=0,
        updated_at_ms=0,
        started_at_ms=0,
        ended_at_ms=None,
        window=window,
        count=None,
        progress=ReplayProgress(),
        reason=None,
        claimed_until_ms=0,
    )
    double = cast("Any", world)
    deps = RunDeps(
        kafka=KafkaConfig(bootstrap_servers="k:9092"),
        topics=TopicNames(),
        sessions=double,
        lookup=double,
        table=world.table,
        reader=double,
        writer=double,
        selection=lambda _replay: cast("Any", Chosen()),
        stop=StopSignal(),
        lease=Lease(owner="me", lasts_ms=round(LEASE_S * 1000)),
        now_ms=lambda: 0,
        clock=lambda: world.now,
        lease_now_ms=lambda _session: 0,
    )
    return ReplayRun(deps, replay, claimed_at=world.now)


def step(world: World, run: ReplayRun, times: int = 1, *, every_s: float = 0.6) -> list[str]:
    """Step a run, and give what it did meanwhile."""
    before = len(world.journal)
    for _ in range(times):
        if not run.ended:
            run.step()
            world.now += every_s
    return world.journal[before:]


# --- before anything is judged --------------------------------------------------------------------------------------


def test_a_replayer_that_has_not_read_the_table_to_its_end_waits(world: World) -> None:
    world.table_end = 12
    run = a_run(world)
    assert "read" not in step(world, run, 5)
    world.table.advance(11)
    assert "read" not in step(world, run, 5)
    world.table.advance(12)
    assert "read" in step(world, run, 5)


def test_a_replayer_that_has_read_less_of_the_table_than_a_router_waits(world: World) -> None:
    world.seen = TableSeen("table-2", 15)
    run = a_run(world)
    assert "read" not in step(world, run, 5)
    world.table.advance(15)
    assert "read" in step(world, run, 5)


def test_a_table_that_is_not_the_one_which_the_routers_read_is_waited_for_until_it_was_filled(world: World) -> None:
    world.seen = TableSeen("table-1", 15)
    with pytest.raises(ForeignTableError, match="resync"):
        step(world, a_run(world), 5)
    world.table.apply(10, b"", ResyncMark(topic_id="table-2", written_at_ms=0))
    assert "read" in step(world, a_run(world), 5)


def test_a_table_with_rows_that_cannot_be_read_judges_nothing(world: World) -> None:
    world.table.apply_unreadable(10, b"434|lead.new")
    with pytest.raises(ForeignTableError, match="cannot be read"):
        step(world, a_run(world), 5)
    assert "read" not in world.journal


def test_an_attempt_log_that_is_behind_is_waited_for_a_while_and_one_that_will_never_know_is_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble: list[tuple[str, bool] | None] = [("it is 3 attempts behind", True)]
    monkeypatch.setattr(AttemptJudge, "trouble", lambda _judge: trouble[0])
    run = a_run(world)
    assert "read" not in step(world, run, 20)
    with pytest.raises(RefusedError, match="3 attempts behind"):
        step(world, run, 60)
    trouble[0] = ("it begins later", False)
    with pytest.raises(RefusedError, match="begins later"):
        step(world, a_run(world), 1)
    trouble[0] = None
    assert "read" in step(world, a_run(world), 2)


def test_a_window_is_kept_in_the_row_before_it_is_read_and_looked_up_once(world: World) -> None:
    done = step(world, a_run(world, window=None), 5)
    assert done[:3] == ["look up the window", "keep the window", "read"]
    assert done.count("look up the window") == 1
    assert "look up the window" not in step(world, a_run(world), 5)


# --- writing ----------------------------------------------------------------------------------------------------------


def test_what_is_written_is_committed_afterwards_and_the_row_is_told_last(world: World) -> None:
    done = step(world, a_run(world), 6)
    assert done[:5] == ["read", "commit", "tell the row", "write", "write"], "it hears first what is wanted by now"
    assert done[-3:] == ["commit", "end done", "forget"]
    assert world.sent == [0, 1, 2, 3]
    assert [progress[PLACE].sent for progress in world.committed][-1] == 4


def test_what_was_not_acknowledged_is_not_committed(world: World) -> None:
    run = a_run(world)
    world.kafka_away = True
    with pytest.raises(KafkaUnavailableError):
        step(world, run, 3)
    run.release()
    assert [progress[PLACE] for progress in world.committed] == [Done(0, 0)]


def test_a_lease_is_renewed_before_anything_is_sent_once_half_of_it_is_gone(world: World) -> None:
    run = a_run(world)
    step(world, run, 1)
    world.now += LEASE_S / 2
    done = step(world, run, 1)
    assert done.index("tell the row") < done.index("write")


def test_what_the_row_says_was_committed_before(world: World) -> None:
    world.records = 400
    run = a_run(world, rate=30.0)
    step(world, run, 1)
    done = step(world, run, 3)
    assert "tell the row" in done
    assert done.index("commit") < done.index("tell the row")


def test_a_replay_that_was_paused_is_seen_to_be_when_its_lease_is_renewed_and_sends_nothing(world: World) -> None:
    run = a_run(world, rate=1.0)
    step(world, run, 1)
    before = [*world.sent]
    world.wanted = ReplayState.PAUSED
    world.now += LEASE_S / 2 + 0.1
    step(world, run, 1)
    assert (run.ended, world.sent) == (True, before)


def test_whoever_was_suspended_and_lost_the_lease_sends_nothing(world: World) -> None:
    run = a_run(world)
    step(world, run, 1)
    before = [*world.sent]
    world.now += 3 * LEASE_S
    world.lease_lost = True
    with pytest.raises(LeaseLostError):
        run.step()
    assert world.sent == before


def test_the_time_of_a_lease_counts_from_before_the_transaction_that_renewed_it(world: World) -> None:
    run = a_run(world, rate=1.0)
    step(world, run, 1)
    world.now += LEASE_S / 2
    world.transaction_s = 0.6 * LEASE_S
    done = step(world, run, 1, every_s=0.0)
    assert "tell the row" in done
    assert "write" not in done, "the lease that was renewed may have ended"
    world.transaction_s = 0.0
    done = step(world, run, 1, every_s=0.0)
    assert "tell the row" in done, "a slow transaction has used more than half of the lease by its end"


@pytest.mark.parametrize(("wanted", "ends"), [(ReplayState.PAUSED, "close"), (ReplayState.CANCELLED, "forget")])
def test_what_is_wanted_no_longer_is_let_go_and_sends_nothing_more(
    world: World, wanted: ReplayState, ends: str
) -> None:
    world.records = 400
    run = a_run(world, rate=1.0)
    step(world, run, 1)
    world.wanted = wanted
    done = step(world, run, 10)
    assert run.ended
    assert done[-3:] == ["tell the row", "let go", ends]


# --- a run that sleeps ----------------------------------------------------------------------------------------------


def test_a_run_that_waits_for_long_gives_its_connection_back(world: World) -> None:
    slow, quick = a_run(world, rate=0.01), a_run(world, rate=1000.0)
    assert "rest" in step(world, slow, 4)
    assert "rest" not in step(world, quick, 4)
