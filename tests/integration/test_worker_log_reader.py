"""Stretches of a log for cursors, from a real broker."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from hookstream.processors.delivery.partitions.log_reader import CHUNK_RECORDS, Chunk, LogReader
from hookstream.processors.kafka import KafkaConfig, make_producer, producer_config
from tests.support.kafka_broker import create_plain_topics
from tests.support.wait import WITHIN_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hookstream.schemas.topics import TopicNames
    from tests.support.kafka_broker import Kafka

RECORDS = 6_000


class Reading:
    """A reader, and what it delivers."""

    def __init__(self, servers: str, topic: str) -> None:
        self.topic, self.failures = topic, []  # type: ignore[var-annotated]
        self.chunks: queue.SimpleQueue[Chunk] = queue.SimpleQueue()
        self.reader = LogReader(
            KafkaConfig(bootstrap_servers=servers), name="test", deliver=self.chunks.put, failed=self.failures.append
        )
        self.reader.start()

    def read(self, start: int, partition: int = 0) -> Chunk:
        self.reader.read((self.topic, partition), start)
        return self.next()

    def next(self) -> Chunk:
        try:
            return self.chunks.get(timeout=WITHIN_S)
        except queue.Empty:
            raise AssertionError(f"no chunk; failures: {self.failures}") from None


@pytest.fixture
def reading(kafka: Kafka, topics: TopicNames) -> Iterator[Reading]:
    topic = f"{topics.prefix}log"
    create_plain_topics(kafka.bootstrap_servers, topic, partitions=2)
    producer = make_producer(producer_config(KafkaConfig(bootstrap_servers=kafka.bootstrap_servers), linger_ms=5))
    for number in range(RECORDS):
        producer.produce(topic, b"%d" % number, b"key", 0)
        producer.produce(topic, b"other %d" % number, b"key", 1)
    assert not producer.flush(WITHIN_S)
    made = Reading(kafka.bootstrap_servers, topic)
    yield made
    made.reader.close()
    assert not made.failures


def offsets(chunk: Chunk) -> list[int]:
    return [record.offset for record in chunk.records]


def test_chunks_go_on_where_the_last_one_ended_without_a_gap(reading: Reading) -> None:
    start, seen = 0, []
    while start < RECORDS:
        chunk = reading.read(start)
        assert chunk.key == (reading.topic, 0)
        assert chunk.start == start
        assert 0 < len(chunk.records) <= CHUNK_RECORDS
        assert chunk.end == chunk.records[-1].offset + 1
        assert all(record.value == b"%d" % record.offset and record.key == b"key" for record in chunk.records)
        seen += offsets(chunk)
        start = chunk.end
    assert seen == list(range(RECORDS))


def test_a_position_may_move_back_and_forth(reading: Reading) -> None:
    for start in (3_000, 0, 5_900, 17, 18, 2_999, 2_000):
        chunk = reading.read(start)
        assert (chunk.start, offsets(chunk)[0]) == (start, start)


def test_what_is_ahead_is_used_from_where_it_is_wanted(reading: Reading) -> None:
    first = reading.read(0)
    chunk = reading.read(first.end + 7)
    assert offsets(chunk)[0] == chunk.start == first.end + 7


def test_two_partitions_are_read_beside_each_other(reading: Reading) -> None:
    positions = {0: 0, 1: 4_000}
    for partition, start in positions.items():
        reading.reader.read((reading.topic, partition), start)
    for _ in range(10):
        chunk = reading.next()
        partition = chunk.key[1]
        assert offsets(chunk)[0] == chunk.start == positions[partition]
        assert chunk.records[0].value == (b"other %d" if partition else b"%d") % chunk.start
        positions[partition] = chunk.end
        reading.reader.read(chunk.key, chunk.end)


def test_a_position_that_was_left_while_it_was_paused_is_read_again(reading: Reading) -> None:
    """With a thousand records ahead a place is paused; librdkafka would keep the pause over the next assignment."""
    for start in (0, 2_500, 100, 4_000):
        reading.read(start, partition=0)
        for _ in range(3):  # while this one is read, the other fills up
            chunk = reading.read(0, partition=1)
            reading.read(chunk.end, partition=1)
        reading.reader.leave((reading.topic, 0))


def test_below_the_log_the_low_watermark_is_told(reading: Reading, kafka: Kafka) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    for done in admin.delete_records([TopicPartition(reading.topic, 0, 700)]).values():
        done.result(WITHIN_S)
    chunk = reading.read(100)
    assert (chunk.start, chunk.low, list(chunk.records)) == (100, 700, [])
    chunk = reading.read(700)
    assert chunk.low is None
    assert offsets(chunk)[0] == 700


def test_records_that_cannot_be_decoded_yet_are_held_back(reading: Reading) -> None:
    asked = []

    def prepare(records: object) -> bool:
        asked.append(records)
        return len(asked) > 3

    reading.reader._prepare = prepare
    assert offsets(reading.read(0))[0] == 0
    assert len(asked) == 4
