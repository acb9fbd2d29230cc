"""What a member of the group does when Kafka gives partitions and takes them."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from hookstream.processors.delivery.checkpoints.commit_metadata import decode_metadata, log_digest, table_digest
from hookstream.processors.delivery.checkpoints.partition_lookup import PartitionStarting, StreamStarting
from hookstream.processors.delivery.checkpoints.partition_start import LogIdentity, StartAt
from hookstream.processors.delivery.engine.partition_state import EMPTY_STATE
from hookstream.processors.delivery.group import group_commits, inbox
from hookstream.processors.delivery.group.group_member import GroupMember
from hookstream.processors.delivery.group.group_rebalance import PollConfig
from hookstream.processors.delivery.group.inbox import Inboxes
from hookstream.processors.delivery.group.poll_requests import PollRequests
from hookstream.processors.errors import KafkaRefusedError, KafkaUnavailableError
from hookstream.processors.kafka import GroupProtocol, KafkaConfig
from hookstream.processors.lifecycle import StopSignal

LIVE, REPLAY = "deliveries", "deliveries.replay"
IDENTITY = LogIdentity(log_digest("c", "t"), table_digest("s"))


class FakeConsumer:
    """Remembers what it is told, by partition: the offset that is assigned, and what is paused."""

    def __init__(self) -> None:
        self.assigned: dict[tuple[str, int], int] = {}
        self.paused: set[tuple[str, int]] = set()
        self.commits: list[TopicPartition] = []
        self.sent: list[list[TopicPartition]] = []
        """What was committed without waiting."""
        self.refusals: list[KafkaException] = []
        """What the next commits are answered."""
        self.messages: list[Any] = []
        self.done: list[str] = []

    def consume(self, count: int, _timeout_s: float) -> list[Any]:
        found, self.messages = self.messages[:count], self.messages[count:]
        return found

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        self.done.append("assign")
        for tp in partitions:
            assert (tp.topic, tp.partition) not in self.assigned
            self.assigned[tp.topic, tp.partition] = tp.offset

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        for tp in partitions:
            del self.assigned[tp.topic, tp.partition]

    def pause(self, partitions: list[TopicPartition]) -> None:
        self.paused |= {(tp.topic, tp.partition) for tp in partitions}

    def resume(self, partitions: list[TopicPartition]) -> None:
        self.paused -= {(tp.topic, tp.partition) for tp in partitions}

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition]:
        self.done.append("commit")
        if asynchronous:
            self.sent.append(offsets)
            return []
        if self.refusals:
            raise self.refusals.pop(0)
        self.commits += offsets
        return offsets


class FakeLoop:
    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.last: list[TopicPartition] = []

    def assigned(self, partitions: Any) -> None:
        self.calls.append(("assigned", [begin.starting.partition for begin in partitions]))

    def release(self, partitions: Any) -> list[TopicPartition]:
        self.calls.append(("release", set(partitions)))
        return self.last

    def lost(self, partitions: Any) -> None:
        self.calls.append(("lost", set(partitions)))

    def arrived(self) -> None:
        self.calls.append(("arrived", None))

    def failed(self, error: Exception) -> None:
        self.calls.append(("failed", error))


class Member:
    """A member of the group, and what its callbacks and its loop are called by."""

    def __init__(self, kafka: KafkaConfig, consumer: FakeConsumer | None = None) -> None:
        self.consumer: Any = consumer or FakeConsumer()
        self.loop: Any = FakeLoop()
        self.requests = PollRequests()
        config = PollConfig(
            kafka=kafka,
            group="g",
            topics=(LIVE, REPLAY),
            state_topic="delivery-state",
            identities=(IDENTITY, IDENTITY),
            table_offset=lambda: 5,
        )
        lookup: Any = SimpleNamespace(look_up=self._look_up, expired=0)
        self.member = GroupMember(
            config,
            self.loop,
            StopSignal(),
            requests=self.requests,
            lookup=lookup,
            inboxes=Inboxes(),
            open_consumer=lambda _: self.consumer,
        )
        self.rebalance = self.member._rebalance
        self.inboxes = self.rebalance.inboxes

    def _look_up(self, _consumer: Any, partition: int) -> PartitionStarting:
        streams = [StreamStarting(StartAt(40 + place, None), EMPTY_STATE) for place in (0, 1)]
        return PartitionStarting(partition, (streams[0], streams[1]))

    def assign(self, *names: tuple[str, int]) -> None:
        self.rebalance.on_assign(self.consumer, of(*names))

    def revoke(self, *names: tuple[str, int]) -> None:
        self.rebalance.on_revoke(self.consumer, of(*names))

    def lose(self, *names: tuple[str, int]) -> None:
        self.rebalance.on_lost(self.consumer, of(*names))

    def send_commit(self) -> None:
        self.member._commits.send_next(self.consumer, self.inboxes, time.monotonic())

    def on_commit(self, offsets: list[TopicPartition]) -> None:
        self.member._commits.on_commit(None, offsets)


KAFKA = KafkaConfig(bootstrap_servers="nowhere")


def a_member(kafka: KafkaConfig = KAFKA, consumer: FakeConsumer | None = None) -> tuple[Member, Any, Any]:
    member = Member(kafka, consumer)
    return member, member.consumer, member.loop


def of(*names: tuple[str, int]) -> list[TopicPartition]:
    return [TopicPartition(topic, partition) for topic, partition in names]


def test_a_partition_begins_at_its_offsets_with_a_commit_before_its_first_record() -> None:
    member, consumer, loop = a_member()
    member.assign((LIVE, 3), (REPLAY, 3))

    assert consumer.assigned == {(LIVE, 3): 40, (REPLAY, 3): 41}
    assert not consumer.paused
    assert [(tp.topic, tp.offset) for tp in consumer.commits] == [(LIVE, 40), (REPLAY, 41)]
    found = decode_metadata(consumer.commits[0].metadata)
    assert found is not None
    assert (found.log_digest, found.table_offset, found.pointer) == (IDENTITY.log_digest, 5, None)
    assert loop.calls == [("assigned", [3])]


def test_half_a_partition_waits_for_its_other_half() -> None:
    member, consumer, loop = a_member()
    member.assign((LIVE, 3))
    assert consumer.paused == {(LIVE, 3)}
    assert not loop.calls
    assert not consumer.commits
    member.assign((REPLAY, 3))

    assert consumer.assigned == {(LIVE, 3): 40, (REPLAY, 3): 41}
    assert not consumer.paused
    assert loop.calls == [("assigned", [3])]


def test_a_partition_that_is_taken_is_released_and_its_last_commits_made() -> None:
    member, consumer, loop = a_member()
    member.assign((LIVE, 3), (REPLAY, 3), (LIVE, 4), (REPLAY, 4))
    loop.last, consumer.commits = [TopicPartition(LIVE, 3, 99, "m")], []
    member.revoke((LIVE, 3), (REPLAY, 3))

    assert loop.calls[-1] == ("release", {3})
    assert [(tp.topic, tp.partition, tp.offset) for tp in consumer.commits] == [(LIVE, 3, 99)]
    assert set(member.inboxes) == {(LIVE, 4), (REPLAY, 4)}


def test_a_lost_partition_is_dropped_without_a_commit() -> None:
    member, consumer, loop = a_member()
    member.assign((LIVE, 3), (REPLAY, 3))
    consumer.commits = []
    member.lose((LIVE, 3), (REPLAY, 3))

    assert loop.calls[-1] == ("lost", {3})
    assert not consumer.commits
    assert not member.inboxes


def test_where_the_group_assigns_deliveries_alone_their_replays_come_along() -> None:
    member, consumer, loop = a_member(
        replace(
            KAFKA,
            group_protocol=GroupProtocol.CLASSIC,
            options={"partition.assignment.strategy": "cooperative-sticky"},
        )
    )
    member.assign((LIVE, 3), (LIVE, 4))
    assert set(consumer.assigned) == {(LIVE, 3), (REPLAY, 3), (LIVE, 4), (REPLAY, 4)}
    assert not consumer.paused
    assert loop.calls == [("assigned", [3, 4])]

    member.revoke((LIVE, 3))
    assert loop.calls[-1] == ("release", {3})
    assert set(consumer.assigned) == {(LIVE, 4), (REPLAY, 4)}
    member.lose((LIVE, 4))
    assert loop.calls[-1] == ("lost", {4})
    assert not consumer.assigned


def test_nothing_is_drained_while_the_group_is_left() -> None:
    member, _, loop = a_member()
    member.assign((LIVE, 3), (REPLAY, 3))
    member.rebalance.closing = True
    member.revoke((LIVE, 3), (REPLAY, 3))

    assert [name for name, _ in loop.calls] == ["assigned"]


def test_a_commit_that_covers_what_was_given_away_is_not_sent() -> None:
    member, consumer, _ = a_member()
    member.assign((LIVE, 3), (REPLAY, 3))
    member.lose((LIVE, 3), (REPLAY, 3))
    consumer.commits = []
    answers: list[str | None] = []
    member.requests.commit([TopicPartition(LIVE, 3, 50, "m")], answers.append)
    member.send_commit()

    assert not consumer.commits
    assert answers == ["it covers partitions that were given away"]


class Record:
    """A record that Kafka brought."""

    def __init__(self, topic: str, partition: int) -> None:
        self.place = (topic, partition)

    def error(self) -> None:
        return None

    def topic(self) -> str:
        return self.place[0]

    def partition(self) -> int:
        return self.place[1]

    def __len__(self) -> int:
        return 10


UNKNOWN_MEMBER = KafkaException(KafkaError(KafkaError.UNKNOWN_MEMBER_ID))


def owning(*partitions: int, consumer: FakeConsumer | None = None) -> tuple[Member, Any, Any]:
    """A member that owns partitions; what it did to get them is forgotten."""
    member, consumer, loop = a_member(consumer=consumer)
    member.assign(*((topic, p) for p in partitions for topic in (LIVE, REPLAY)))
    consumer.commits.clear()
    consumer.done.clear()
    loop.calls.clear()
    return member, consumer, loop


def test_where_the_first_commit_of_a_partition_fails_nothing_of_it_is_delivered() -> None:
    """A state could be written before there is any commit: it could not be told from one whose offsets were lost."""
    member, consumer, loop = a_member()
    consumer.refusals = [UNKNOWN_MEMBER] * group_commits._TRIES
    with pytest.raises(KafkaUnavailableError):
        member.assign((LIVE, 3), (REPLAY, 3))
    assert not loop.calls


def test_a_partition_is_handed_over_when_its_first_commit_is_made_and_not_before() -> None:
    member, consumer, loop = a_member()
    loop.assigned = lambda _: consumer.done.append("handed over")
    member.assign((LIVE, 3), (REPLAY, 3))
    assert consumer.done == ["assign", "commit", "handed over"]


def test_a_last_commit_is_tried_again_before_a_partition_is_let_go() -> None:
    member, consumer, loop = owning(3)
    loop.last = [TopicPartition(LIVE, 3, 99, "m")]
    consumer.refusals = [UNKNOWN_MEMBER]
    member.revoke((LIVE, 3), (REPLAY, 3))
    assert [tp.offset for tp in consumer.commits] == [99]


def test_a_worker_that_was_suspended_commits_nothing_before_kafka_could_say_that_its_partitions_are_anothers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It joins again at once, and the broker then takes its commits of any partition: what it says is old."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    member, consumer, _ = owning(3)
    member.member.step()
    member.requests.commit([TopicPartition(LIVE, 3, 50, "m")], lambda _: None)
    now[0] += group_commits.SUSPENDED_AFTER_S + 1
    for _ in range(3):
        member.member.step()
        assert not consumer.sent
        now[0] += group_commits.REJOINED_WITHIN_S / 4
    now[0] += group_commits.REJOINED_WITHIN_S
    member.member.step()
    assert [tp.offset for (tp,) in consumer.sent] == [50]


def test_partitions_that_were_lost_while_it_was_suspended_are_never_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    member, consumer, loop = owning(3)
    answers: list[str | None] = []
    member.member.step()
    member.requests.commit([TopicPartition(LIVE, 3, 50, "m")], answers.append)
    now[0] += 60
    member.member.step()
    member.lose((LIVE, 3), (REPLAY, 3))
    now[0] += group_commits.REJOINED_WITHIN_S
    member.member.step()
    assert not consumer.sent
    assert answers == ["it covers partitions that were given away"]
    assert ("lost", {3}) in loop.calls


def test_a_commit_under_way_when_its_partitions_are_lost_is_answered_then_and_not_again() -> None:
    """Kafka may keep its answer for as long as a session, and nothing else is committed meanwhile."""
    member, _, _ = owning(3, 4)
    answers: list[str | None] = []
    first, second = [TopicPartition(LIVE, 3, 50, "m")], [TopicPartition(LIVE, 4, 60, "m")]
    member.requests.commit(first, answers.append)
    member.send_commit()
    member.lose((LIVE, 3), (REPLAY, 3))
    assert answers == ["its partitions were lost"]
    member.requests.commit(second, answers.append)
    member.send_commit()
    member.on_commit(first)
    assert len(answers) == 1, "the answer is that of the first"
    member.on_commit(second)
    assert answers == ["its partitions were lost", None]


def test_a_commit_that_one_partition_refuses_has_failed() -> None:
    member, _, _ = owning(3)
    answers: list[str | None] = []
    member.requests.commit([TopicPartition(LIVE, 3, 50, "m")], answers.append)
    member.send_commit()
    refused = SimpleNamespace(topic=LIVE, partition=3, offset=50, error=KafkaError(KafkaError.UNKNOWN_MEMBER_ID))
    member.on_commit([refused])  # type: ignore[list-item]
    assert len(answers) == 1
    assert answers[0] is not None


def test_a_draining_worker_hands_nothing_over_and_pauses_what_it_has() -> None:
    member, consumer, loop = owning(3)
    member.requests.drain()
    consumer.messages = [Record(LIVE, 3)]
    member.member.step()
    assert consumer.paused == {(LIVE, 3), (REPLAY, 3)}
    assert not member.inboxes[LIVE, 3].messages
    assert not loop.calls


def test_what_was_fetched_of_a_partition_that_was_given_away_is_dropped() -> None:
    member, consumer, loop = owning(3, 4)
    consumer.messages = [Record(LIVE, 3), Record(LIVE, 4)]
    member.lose((LIVE, 3), (REPLAY, 3))
    member.member.step()
    assert (LIVE, 3) not in member.inboxes
    assert len(member.inboxes[LIVE, 4].messages) == 1
    assert loop.calls[-1] == ("arrived", None)


def test_a_partition_that_was_paused_by_chance_flows_again_while_another_stands_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The loop was about to take its records when it was paused; the other's may wait for hours."""
    monkeypatch.setattr(inbox, "MAX_WAITING_RECORDS", 100)
    monkeypatch.setattr(inbox, "PAUSE_AFTER_S", 0.0)
    member, consumer, _ = owning(3, 4)
    consumer.messages = [Record(LIVE, 3)] * 400 + [Record(LIVE, 4)] * 50
    member.member.step()
    member.member.step()
    assert consumer.paused == {(LIVE, 3), (LIVE, 4)}
    member.inboxes[LIVE, 4].taken = 50
    member.member.step()
    assert consumer.paused == {(LIVE, 3)}


def test_the_last_commits_of_a_worker_are_of_what_it_still_holds() -> None:
    member, consumer, _ = owning(3, 4)
    consumer.subscribe = lambda *_, **__: None
    member.requests.finish([TopicPartition(LIVE, 3, 50, "m"), TopicPartition(LIVE, 4, 60, "m")])
    member.lose((LIVE, 3), (REPLAY, 3))
    member.member.poll()
    assert [(tp.partition, tp.offset) for tp in consumer.commits] == [(4, 60)]


@pytest.mark.parametrize(
    ("code", "raised"),
    [
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaRefusedError),
        (KafkaError._ALL_BROKERS_DOWN, None),
        (KafkaError._MAX_POLL_EXCEEDED, None),
    ],
)
def test_what_an_error_in_place_of_a_record_means(code: int, raised: type[Exception] | None) -> None:
    member, _, _ = a_member()
    message = Message(topic=LIVE, partition=0, error=KafkaError(code))
    if raised is None:
        member.member._hand_over([message])
    else:
        with pytest.raises(raised):
            member.member._hand_over([message])
