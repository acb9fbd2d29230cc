"""A record of the relays is written when its own report says so, and a producer that has failed is not used again."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.operations import acknowledged_writer
from hookstream.processors.operations.acknowledged_writer import AcknowledgedWriter, NewRecord
from hookstream.subscriptions.errors import NotPublishedError

if TYPE_CHECKING:
    from collections.abc import Callable

RECORDS = [NewRecord(b"a", b"1"), NewRecord(b"b", b"2"), NewRecord(b"c", None)]
TIMED_OUT = KafkaError(KafkaError._MSG_TIMED_OUT)


@dataclass
class Producer:
    """Reports in the order, and with the errors, that a test says; what is not named gets no report."""

    answers: dict[bytes, KafkaError | None]
    raises: Exception | None = None
    reports: dict[bytes, Callable[..., None]] = field(default_factory=dict)
    purged: bool = False

    def produce(self, _topic: str, _value: object, key: bytes, _partition: int, **more: Any) -> None:
        """Take a record."""
        if self.raises is not None:
            raise self.raises
        self.reports[key] = more["on_delivery"]

    def flush(self, _timeout_s: float) -> int:
        """Report."""
        for key, error in self.answers.items():
            place = SimpleNamespace(partition=lambda: 0, offset=lambda key=key: key[0], timestamp=lambda: (2, 5))
            self.reports[key](error, place)
        return 0

    def purge(self, **_: bool) -> None:
        """Note it."""
        self.purged = True


def writer_of(monkeypatch: pytest.MonkeyPatch, *producers: Producer) -> AcknowledgedWriter:
    """Make a writer that gets these producers, one after the other."""
    left = list(producers)
    monkeypatch.setattr(acknowledged_writer, "make_producer", lambda _config: left.pop(0))
    return AcknowledgedWriter(KafkaConfig(bootstrap_servers="k:9092"), "t")


def test_places_are_given_in_the_order_of_the_records_whatever_that_of_the_reports(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    writer = writer_of(monkeypatch, Producer({b"c": None, b"a": None, b"b": None}))
    assert [each.offset for each in writer.write(RECORDS)] == [*b"abc"]


@pytest.mark.parametrize("answers", [{b"a": None, b"b": TIMED_OUT, b"c": None}, {b"a": None, b"b": None}, {}])
def test_one_record_that_is_not_acknowledged_fails_them_all_and_the_next_are_written_by_another_producer(
    monkeypatch: pytest.MonkeyPatch, answers: dict[bytes, KafkaError | None]
) -> None:
    failed = Producer(answers)
    writer = writer_of(monkeypatch, failed, Producer(dict.fromkeys([b"a", b"b", b"c"])))
    with pytest.raises(NotPublishedError, match="not acknowledged"):
        writer.write(RECORDS)
    assert failed.purged, "what is unsent is not written later, behind what follows"
    assert len(writer.write(RECORDS)) == 3


@pytest.mark.parametrize("error", [BufferError(), KafkaException(KafkaError(KafkaError._FATAL))])
def test_a_record_that_is_not_taken_fails_them_all(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    writer = writer_of(monkeypatch, Producer({}, raises=error), Producer(dict.fromkeys([b"a", b"b", b"c"])))
    with pytest.raises(NotPublishedError, match="cannot write"):
        writer.write(RECORDS)
    assert len(writer.write(RECORDS)) == 3
