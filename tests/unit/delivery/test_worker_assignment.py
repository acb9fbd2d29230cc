"""What the poll thread does when Kafka gives partitions and takes them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from confluent_kafka import TopicPartition

from hookstream.processors.delivery.checkpoints.commit_metadata import decode_metadata, log_digest, table_digest
from hookstream.processors.delivery.checkpoints.partition_lookup import PartitionStarting, StreamStarting
from hookstream.processors.delivery.checkpoints.partition_start import LogIdentity, StartAt
from hookstream.processors.delivery.engine.partition_state import EMPTY_STATE
from hookstream.processors.delivery.worker.poll_thread import PollConfig, PollThread
from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.lifecycle import StopSignal

LIVE, REPLAY = "deliveries", "deliveries.replay"
IDENTITY = LogIdentity(log_digest("c", "t"), table_digest("s"))


class FakeConsumer:
    """Remembers what it is told, by partition: the offset that is assigned, and what is paused."""

    def __init__(self) -> None:
        self.assigned: dict[tuple[str, int], int] = {}
        self.paused: set[tuple[str, int]] = set()
        self.commits: list[TopicPartition] = []

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
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
        assert not asynchronous
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


def a_thread() -> tuple[PollThread, Any, Any]:
    loop, consumer = FakeLoop(), FakeConsumer()
    config = PollConfig(
        kafka=KafkaConfig(bootstrap_servers="nowhere"),
        group="g",
        topics=(LIVE, REPLAY),
        state_topic="delivery-state",
        identities=(IDENTITY, IDENTITY),
        table_offset=lambda: 5,
    )
    thread = PollThread(config, loop, StopSignal())  # type: ignore[arg-type]
    thread._consumer, thread._eager = consumer, False  # type: ignore[assignment]

    def look_up(_consumer: Any, partition: int) -> PartitionStarting:
        streams = [StreamStarting(StartAt(40 + place, None), EMPTY_STATE) for place in (0, 1)]
        return PartitionStarting(partition, (streams[0], streams[1]))

    thread._lookup = SimpleNamespace(look_up=look_up, expired=0)  # type: ignore[assignment]
    return thread, consumer, loop


def sides(*names: tuple[str, int]) -> list[TopicPartition]:
    return [TopicPartition(topic, partition) for topic, partition in names]


def test_a_partition_begins_at_its_offsets_with_a_commit_before_its_first_record() -> None:
    thread, consumer, loop = a_thread()
    thread._on_assign(consumer, sides((LIVE, 3), (REPLAY, 3)))

    assert consumer.assigned == {(LIVE, 3): 40, (REPLAY, 3): 41}
    assert not consumer.paused
    assert [(tp.topic, tp.offset) for tp in consumer.commits] == [(LIVE, 40), (REPLAY, 41)]
    found = decode_metadata(consumer.commits[0].metadata)
    assert found is not None
    assert (found.log_digest, found.table_offset, found.pointer) == (IDENTITY.log_digest, 5, None)
    assert loop.calls == [("assigned", [3])]


def test_half_a_partition_waits_for_its_other_half() -> None:
    thread, consumer, loop = a_thread()
    thread._on_assign(consumer, sides((LIVE, 3)))
    assert consumer.paused == {(LIVE, 3)}
    assert not loop.calls
    assert not consumer.commits
    thread._on_assign(consumer, sides((REPLAY, 3)))

    assert consumer.assigned == {(LIVE, 3): 40, (REPLAY, 3): 41}
    assert not consumer.paused
    assert loop.calls == [("assigned", [3])]


def test_a_partition_that_is_taken_is_released_and_its_last_commits_made() -> None:
    thread, consumer, loop = a_thread()
    thread._on_assign(consumer, sides((LIVE, 3), (REPLAY, 3), (LIVE, 4), (REPLAY, 4)))
    loop.last, consumer.commits = [TopicPartition(LIVE, 3, 99, "m")], []
    thread._on_revoke(consumer, sides((LIVE, 3), (REPLAY, 3)))

    assert loop.calls[-1] == ("release", {3})
    assert [(tp.topic, tp.partition, tp.offset) for tp in consumer.commits] == [(LIVE, 3, 99)]
    assert set(thread._inboxes) == {(LIVE, 4), (REPLAY, 4)}


def test_a_lost_partition_is_dropped_without_a_commit() -> None:
    thread, consumer, loop = a_thread()
    thread._on_assign(consumer, sides((LIVE, 3), (REPLAY, 3)))
    consumer.commits = []
    thread._on_lost(consumer, sides((LIVE, 3), (REPLAY, 3)))

    assert loop.calls[-1] == ("lost", {3})
    assert not consumer.commits
    assert not thread._inboxes


def test_where_the_group_assigns_deliveries_alone_their_replays_come_along() -> None:
    thread, consumer, loop = a_thread()
    thread._leads = True
    thread._on_assign(consumer, sides((LIVE, 3), (LIVE, 4)))
    assert set(consumer.assigned) == {(LIVE, 3), (REPLAY, 3), (LIVE, 4), (REPLAY, 4)}
    assert not consumer.paused
    assert loop.calls == [("assigned", [3, 4])]

    thread._on_revoke(consumer, sides((LIVE, 3)))
    assert loop.calls[-1] == ("release", {3})
    assert set(consumer.assigned) == {(LIVE, 4), (REPLAY, 4)}
    thread._on_lost(consumer, sides((LIVE, 4)))
    assert loop.calls[-1] == ("lost", {4})
    assert not consumer.assigned


def test_nothing_is_drained_while_the_group_is_left() -> None:
    thread, consumer, loop = a_thread()
    thread._on_assign(consumer, sides((LIVE, 3), (REPLAY, 3)))
    thread._closing = True
    thread._on_revoke(consumer, sides((LIVE, 3), (REPLAY, 3)))

    assert [name for name, _ in loop.calls] == ["assigned"]


def test_a_commit_that_covers_what_was_given_away_is_not_sent() -> None:
    thread, consumer, _ = a_thread()
    thread._on_assign(consumer, sides((LIVE, 3), (REPLAY, 3)))
    thread._on_lost(consumer, sides((LIVE, 3), (REPLAY, 3)))
    consumer.commits = []
    answers: list[str | None] = []
    thread.commit([TopicPartition(LIVE, 3, 50, "m")], answers.append)
    thread._send_commit()

    assert not consumer.commits
    assert answers == ["it covers partitions that were given away"]
