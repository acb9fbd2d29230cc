"""A consumer's message, as a mapping of a topic's records to events reads it. Pure."""

from __future__ import annotations

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message

from hookstream.schemas.sources.record import SourceRecord


def source_record(message: Message, topic: str, partition: int) -> SourceRecord:
    """A consumer's message as a mapping reads it."""
    kind, timestamp_ms = message.timestamp()
    return SourceRecord(
        topic,
        partition,
        message.offset() or 0,
        message.key(),
        message.value(),
        message.headers(),
        timestamp_ms,
        kind == TIMESTAMP_LOG_APPEND_TIME,
    )
