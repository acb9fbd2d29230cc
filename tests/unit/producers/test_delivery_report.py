"""A record is acknowledged where the report says at which offset, and nowhere else."""

from __future__ import annotations

from confluent_kafka import KafkaError, Message

from hookstream.producers.delivery_report import failure_of


def test_a_report_with_an_offset_is_an_acknowledgement() -> None:
    assert failure_of(None, Message(offset=0)) is None


def test_a_success_without_an_offset_is_none() -> None:
    failure = failure_of(None, Message())
    assert failure is not None
    assert failure.code() == KafkaError.DUPLICATE_SEQUENCE_NUMBER
    assert not failure.fatal()


def test_an_error_is_told_as_it_is() -> None:
    error = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
    assert failure_of(error, Message(offset=4)) is error
    assert failure_of(error, Message()) is error
