"""The latest records of a topic, read in no group and committing nothing: what a person wants to see of it."""

from __future__ import annotations

from contextlib import closing

from confluent_kafka import Message

from hookstream.processors.deadline import Deadline
from hookstream.processors.kafka import KafkaConfig, TopicPartitionKey
from hookstream.processors.operations.log_ranges import LogScanner, OffsetRange
from hookstream.processors.source_record import source_record
from hookstream.schemas.sources.record import SourceRecord

_WITHIN_S = 20.0


def latest_records(kafka: KafkaConfig, topic: str, count: int) -> list[SourceRecord]:
    """The newest `count` records by their time, the newest last; fewer where the ends of the logs hold fewer.

    Raises:
        KafkaUnavailableError: no answer, or there is no such topic.
        KafkaRefusedError: no right to read it.
    """
    deadline = Deadline.after(_WITHIN_S)
    found: list[SourceRecord] = []

    def take(partition: TopicPartitionKey, message: Message) -> bool:
        found.append(source_record(message, *partition))
        return True

    with closing(LogScanner(kafka)) as scanner:
        wanted: dict[TopicPartitionKey, OffsetRange] = {}
        for number in scanner.partitions(topic, deadline):
            low, high = scanner.watermarks(topic, number, deadline)
            wanted[topic, number] = OffsetRange(max(low, high - count), high)
        scanner.scan(wanted, take, deadline=deadline)
    found.sort(key=lambda record: (record.timestamp_ms, record.partition, record.offset))
    return found[-count:]
