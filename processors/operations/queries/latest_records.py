"""The latest records of a topic, read in no group and committing nothing: what a person wants to see of it."""

from __future__ import annotations

from contextlib import closing

from confluent_kafka import Message

from hookstream.processors.deadline import Deadline
from hookstream.processors.errors import KafkaRefusedError
from hookstream.processors.kafka import KafkaConfig, TopicPartitionKey
from hookstream.processors.source_record import source_record
from hookstream.schemas.sources.record import SourceRecord

from .scan import LogScanner, Stretch

_WITHIN_S = 20.0


def latest_records(kafka: KafkaConfig, topic: str, count: int) -> list[SourceRecord]:
    """The newest `count` records by their time, the newest last; fewer where the ends of the logs hold fewer.

    Raises:
        KafkaUnavailableError: no answer.
        KafkaRefusedError: no such topic, or no right to read it.
    """
    deadline = Deadline.after(_WITHIN_S)
    found: list[SourceRecord] = []

    def take(partition: TopicPartitionKey, message: Message) -> bool:
        found.append(source_record(message, *partition))
        return True

    with closing(LogScanner(kafka)) as scanner:
        partitions = scanner.partitions(topic, deadline)
        if not partitions:
            raise KafkaRefusedError(f"there is no topic {topic}")
        stretches: dict[TopicPartitionKey, Stretch] = {}
        for number in range(partitions):
            low, high = scanner.watermarks(topic, number, deadline)
            stretches[topic, number] = Stretch(max(low, high - count), high)
        scanner.scan(stretches, take, deadline=deadline)
    found.sort(key=lambda record: (record.timestamp_ms, record.partition, record.offset))
    return found[-count:]
