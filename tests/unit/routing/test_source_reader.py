"""The steps that a router's safety rests on towards its group: each test notices that one of them is left out."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from confluent_kafka import KafkaError

from hookstream.processors.errors import ExpiredRecordsError, KafkaRefusedError, KafkaUnavailableError, StoppedError
from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.lifecycle import StopSignal
from hookstream.processors.routing import source_reader as module
from hookstream.processors.routing import source_start
from hookstream.processors.routing.commit_note import CommitNote
from hookstream.processors.routing.source_reader import SourceReader
from hookstream.processors.tables.subscription_table import SubscriptionTable
from hookstream.schemas.sources.readers import TopicEvents
from hookstream.schemas.sources.record import Refused, SourceRecord
from tests.support.group_consumer import GroupConsumer
from tests.support.scripted_consumer import record

TOPIC = "events.lead"
P0, P1 = (TOPIC, 0), (TOPIC, 1)


@dataclass
class Reader:
    """A table's reader: where the topic ends now, and where it ended when reading began."""

    ends_at: int = 0
    target_offset: int = 0
    topic_id: str | None = "table-id"
    silent: int = 0

    def end(self) -> int:
        """Tell where the topic ends."""
        if self.silent:
            self.silent -= 1
            raise KafkaUnavailableError("no answer")
        return self.ends_at


@dataclass
class Clock:
    """Time that a test lets pass."""

    now: float = 100.0

    def monotonic(self) -> float:
        """Read it."""
        return self.now


@dataclass
class World:
    """A source with everything around it."""

    source: SourceReader
    group: GroupConsumer
    table: SubscriptionTable
    reader: Reader
    clock: Clock
    stop: StopSignal
    drained: list[int] = field(default_factory=list)

    def done(self, place: tuple[str, int], offset: int) -> None:
        """Let everything below an offset be acknowledged."""
        part = self.source.partitions[place]
        part.next_offset = part.done_offset = offset

    def offsets(self) -> list[int]:
        """Take, and give the offsets."""
        return [message.offset() or 0 for part, message in self.source.take(0) if not part.gone]


def refuse(_record: SourceRecord) -> Refused:
    raise NotImplementedError


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    group, reader, table, clock, stop = GroupConsumer(), Reader(), SubscriptionTable(), Clock(), StopSignal()
    monkeypatch.setattr(module, "make_consumer", group.made)
    monkeypatch.setattr(source_start, "topic_ids", lambda _kafka, names: dict.fromkeys(names, "source-id"))
    made: list[World] = []

    def drain() -> None:
        made[0].drained.append(len(group.asked("commit")))
        for part in made[0].source.partitions.values():
            part.done_offset = part.next_offset

    source = SourceReader(
        KafkaConfig(bootstrap_servers="k:9092"),
        group="g",
        events={TOPIC: TopicEvents(refuse, foreign=False)},
        table=table,
        reader=reader,  # type: ignore[arg-type]
        drain=drain,
        stop=stop,
        monotonic_s=clock.monotonic,
    )
    made.append(World(source, group, table, reader, clock, stop))
    return made[0]


def event(offset: int, partition: int = 0) -> object:
    return record(b"", topic=TOPIC, partition=partition, offset=offset)


# --- the table --------------------------------------------------------------------------------------------------------


def test_a_partition_that_comes_later_waits_until_the_table_is_read_to_the_end_of_that_moment(world: World) -> None:
    world.group.assign(P0)
    world.group.script.append(event(0))  # type: ignore[arg-type]
    assert world.offsets() == [0]
    world.table.advance(5)
    world.reader.ends_at = 8  # rows were appended since: whoever had the partition before may have read them
    world.group.assign(P1)
    world.group.script += [event(0, partition=1), event(1)]  # type: ignore[list-item]
    assert world.offsets() == [1]
    assert world.source.waiting
    world.table.advance(7)
    assert world.offsets() == []
    world.table.advance(8)
    assert world.offsets() == [0]
    assert not world.source.waiting


def test_a_partition_that_has_to_wait_gives_nothing_in_the_very_call_that_assigned_it(world: World) -> None:
    world.reader.ends_at = 8
    world.group.script += [lambda: world.group.assign(P0), event(0)]  # type: ignore[list-item]
    assert world.offsets() == []


def test_the_table_has_to_be_read_as_far_as_the_predecessor_had_read_it(world: World) -> None:
    note = CommitNote(table_topic_id="table-id", table_offset=9, source_topic_id=None)
    world.group.stored[P0] = (40, note.encode())
    world.group.assign(P0)
    world.group.script.append(event(40))  # type: ignore[arg-type]
    world.table.advance(8)
    assert world.offsets() == []
    world.table.advance(9)
    assert world.offsets() == [40]


def test_nothing_is_committed_of_a_partition_that_waits_for_the_table(world: World) -> None:
    world.reader.ends_at = 8
    world.group.assign(P0)
    world.source.commit_if_due()
    assert world.source.commit_now(world.source.partitions.values())
    assert world.group.asked("commit") == []


def test_a_row_that_cannot_be_read_pauses_everything_and_its_repair_resumes_it(world: World) -> None:
    world.group.assign(P0, P1)
    world.table.apply_unreadable(0, b"1|lead.new")
    world.group.script.append(event(0))  # type: ignore[arg-type]
    assert world.offsets() == []
    world.table.apply(1, b"1|lead.new", None)
    assert world.offsets() == [0]


def test_the_table_s_progress_is_committed_without_any_event_but_once_a_second(world: World) -> None:
    world.group.assign(P0)
    for _ in range(3):
        world.source.commit_if_due()
        if world.group.asked("commit"):
            world.group.answer()
        world.table.advance(world.table.offset + 1)
        world.clock.now += 0.2
    assert len(world.group.asked("commit")) == 2, "that it owns the partition, and the table once"
    world.clock.now += 1.0
    world.source.commit_if_due()
    assert len(world.group.asked("commit")) == 3


def test_the_table_s_progress_is_committed_of_an_idle_partition_while_another_is_busy(world: World) -> None:
    """`effective` is the lowest progress of all partitions: one that is busy keeps no other's back."""
    world.group.assign(P0, P1)
    world.source.commit_if_due()
    world.group.answer()
    world.table.advance(world.table.offset + 1)
    for tick in range(1, 25):
        world.clock.now += 0.1
        world.done(P0, 100 * tick)
        world.source.commit_if_due()
        world.group.answer()
    assert world.source.partitions[P1].committed_table_offset == world.table.offset


# --- assignment -------------------------------------------------------------------------------------------------------


def test_a_partition_is_read_from_where_it_was_committed(world: World) -> None:
    world.group.stored[P0] = (40, None)
    world.group.bounds[P1] = (7, 9)
    world.group.assign(P0, P1)
    assert world.group.asked("assign") == [{P0: 40, P1: 7}]


def test_the_broker_is_asked_until_it_answers_and_nothing_is_read_before(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.stop, "wait", lambda _seconds: False)
    world.group.refusals.append(KafkaError(KafkaError._TIMED_OUT))
    world.reader.silent = 1
    world.group.assign(P0)
    assert [what for what, _ in world.group.log] == ["assign"]
    world.reader.silent = 1
    world.stop.ask()
    monkeypatch.undo()
    with pytest.raises(StoppedError):
        world.group.assign(P1)
    assert P1 not in world.source.partitions


def test_a_topic_that_was_re_created_is_read_from_its_first_record(world: World) -> None:
    note = CommitNote(table_topic_id=None, table_offset=0, source_topic_id="another")
    world.group.stored[P0] = (40, note.encode())
    world.group.bounds[P0] = (3, 100)
    world.group.assign(P0)
    assert world.group.asked("assign") == [{P0: 3}]


@pytest.mark.parametrize(("bounds", "start", "expired"), [((50, 90), 50, 10), ((0, 20), 20, 0)])
def test_what_is_gone_from_the_log_is_counted_and_reading_goes_on(
    world: World, bounds: tuple[int, int], start: int, expired: int
) -> None:
    world.group.stored[P0] = (40, None)
    world.group.bounds[P0] = bounds
    world.group.assign(P0)
    assert world.group.asked("assign") == [{P0: start}]
    assert world.source.expired == expired


def test_a_partition_that_comes_while_reading_is_stalled_is_paused(world: World) -> None:
    world.source.stalled = True
    world.group.script += [lambda: world.group.assign(P0), event(0)]  # type: ignore[list-item]
    world.source.keep_alive()
    world.source.keep_alive()
    assert world.group.paused == {P0}
    world.source.stalled = False
    assert world.offsets() == [0]


def test_nothing_is_read_while_the_group_is_served_and_reading_is_stalled(world: World) -> None:
    world.group.assign(P0)
    world.group.script.append(event(0))  # type: ignore[arg-type]
    world.source.stalled = True
    world.source.keep_alive()
    assert len(world.group.script) == 1


# --- reading ----------------------------------------------------------------------------------------------------------


def test_what_is_read_while_the_group_is_served_comes_first_afterwards(world: World) -> None:
    world.group.assign(P0)
    world.group.script += [event(0), event(1)]  # type: ignore[list-item]
    world.source.keep_alive()
    assert world.offsets() == [0]
    assert world.offsets() == [1]


def test_records_in_hand_of_a_partition_that_is_given_away_are_known_to_be_gone(world: World) -> None:
    world.group.assign(P0)
    world.group.script.append(event(0))  # type: ignore[arg-type]
    world.source.keep_alive()
    world.group.revoke(P0)
    world.group.assign(P0)  # and comes back, to be read from its commit
    assert world.offsets() == []
    world.group.script += [event(0), lambda: world.group.revoke(P0)]  # type: ignore[list-item]
    assert [part.gone for part, _ in world.source.take(0)] == [True]


def test_a_record_of_a_partition_that_is_not_owned_is_dropped(world: World) -> None:
    world.group.script.append(event(0))  # type: ignore[arg-type]
    assert world.source.take(0) == []


class Failed:
    """A record in whose place the client reports an error."""

    def __init__(self, code: int) -> None:
        self._error = KafkaError(code)

    def error(self) -> KafkaError:
        return self._error

    def topic(self) -> str:
        return TOPIC

    def partition(self) -> int:
        return 0


@pytest.mark.parametrize(
    ("code", "raised"),
    [
        (KafkaError._AUTO_OFFSET_RESET, ExpiredRecordsError),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaRefusedError),
        (KafkaError._MAX_POLL_EXCEEDED, None),
        (KafkaError._ALL_BROKERS_DOWN, None),
    ],
)
def test_what_an_error_in_place_of_a_record_means(
    world: World, monkeypatch: pytest.MonkeyPatch, code: int, raised: type[Exception] | None
) -> None:
    monkeypatch.setattr(world.group, "consume", lambda *_: [Failed(code)])
    if raised is None:
        assert world.source.take(0) == []
    else:
        with pytest.raises(raised):
            world.source.take(0)


# --- commits ----------------------------------------------------------------------------------------------------------


def test_a_commit_waits_for_the_answer_to_the_one_before(world: World) -> None:
    world.group.assign(P0)
    world.done(P0, 5)
    world.source.commit_if_due()
    world.done(P0, 9)
    world.clock.now += 60
    world.source.commit_if_due()
    assert world.group.asked("commit") == [{P0: 5}]
    world.group.answer()
    world.source.commit_if_due()
    assert world.group.asked("commit") == [{P0: 5}, {P0: 9}]


def test_a_commit_that_failed_is_sent_again_by_itself(world: World) -> None:
    world.group.assign(P0, P1)
    world.done(P0, 5)
    world.done(P1, 6)
    error = KafkaError(KafkaError.REBALANCE_IN_PROGRESS)
    world.group.refusals.append(error)  # not even sent
    for answer in (None, {"error": error}, {"failed": [P1], "with_error": error}, {}):
        world.source.commit_if_due()
        if answer is not None:
            world.group.answer(**answer)
        world.clock.now += 1.0
    world.source.commit_if_due()
    assert world.group.asked("commit") == [{P0: 5, P1: 6}, {P0: 5, P1: 6}, {P1: 6}]


def test_an_answer_to_a_commit_says_nothing_of_a_later_assignment(world: World) -> None:
    world.group.assign(P0)
    world.done(P0, 5)
    world.source.commit_if_due()
    world.group.lose(P0)
    world.group.assign(P0)
    world.group.answer()
    assert world.source.partitions[P0].committed_offset == -1


def test_what_is_under_way_is_finished_and_committed_before_a_partition_is_given_away(world: World) -> None:
    world.group.assign(P0, P1)
    part = world.source.partitions[P0]
    part.next_offset = 12  # read, and not acknowledged yet
    world.group.revoke(P0)
    assert world.drained == [0], "drained before anything was committed"
    assert world.group.asked("commit") == [{P0: 12}]
    assert part.gone
    assert list(world.source.partitions) == [P1]


def test_of_a_lost_partition_nothing_is_committed(world: World) -> None:
    world.group.assign(P0)
    part = world.source.partitions[P0]
    world.done(P0, 5)
    world.group.lose(P0)
    world.source.commit_if_due()
    assert world.source.commit_now([part])
    assert world.group.asked("commit") == []
    assert part.gone


def test_a_commit_at_the_end_that_fails_is_told_and_not_raised(world: World) -> None:
    world.group.assign(P0)
    world.done(P0, 5)
    world.group.refusals.append(KafkaError(KafkaError._TIMED_OUT))
    assert not world.source.commit_now(world.source.partitions.values())
