"""Judges a delivery report of Kafka's client: what it calls a success is one only where it says at which offset."""

from __future__ import annotations

from confluent_kafka import KafkaError, Message


def failure_of(error: KafkaError | None, message: Message) -> KafkaError | None:
    """What failed, or None where the record is in the log.

    A record that the broker calls a duplicate is reported without an error and without an offset. It may be in the log,
    or never have been: the broker compares nothing but sequence numbers. So it counts as not acknowledged, and who
    writes it again repeats it at worst.
    """
    if error is None and message.offset() is None:
        return KafkaError(
            KafkaError.DUPLICATE_SEQUENCE_NUMBER, "taken for a duplicate: it may or may not have been written"
        )
    return error
