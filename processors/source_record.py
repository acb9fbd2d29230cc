"""A consumer's message, as a mapping of a topic's records to events reads it. Pure."""

from __future__ import annotations

from confluent_kafka import Message

from hookstream.schemas.sources.record import SourceRecord


def source_record(message: Message, topic: str, partition: int) -> SourceRecord:
    """A consumer's message as a mapping reads it."""
    return SourceRecord(
        topic=topic,
        partition=partition,
        offset=message.offset() or 0,
        key=message.key(),
        value=message.value(),
        headers=message.headers(),
        timestamp_ms=message.timestamp()[1],
    )
