"""Writes events to their topic again, byte by byte: of dead letters that can be decoded by now."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from hookstream.processors.errors import KafkaUnavailableError
from hookstream.processors.kafka import KafkaConfig, kafka_error, make_producer, producer_config
from hookstream.producers import cloud_events
from hookstream.producers.delivery_report import failure_of
from hookstream.schemas.event import Event

from .writer import ANSWER_WITHIN_S

_SOURCE = b"/hookstream/dead-letters"


class EventRecord(NamedTuple):
    """What is written: to the partition of the event's own key, whatever key the record had."""

    topic: str
    value: bytes
    event: Event


class EventWriter:
    """Any thread; batches come one after the other."""

    def __init__(self, kafka: KafkaConfig) -> None:
        """Prepare; nothing is connected yet."""
        self._config = producer_config(kafka, message_timeout_ms=round(ANSWER_WITHIN_S * 1000))
        self._lock = threading.Lock()
        self._producer: Producer | None = None

    def write(self, records: Sequence[EventRecord]) -> None:
        """Write records in their order, and return when Kafka has acknowledged every one.

        Raises:
            KafkaUnavailableError: no answer in time; some may be in the topics all the same.
            KafkaRefusedError: Kafka refuses one.
        """
        with self._lock:
            producer = self._producer = self._producer or make_producer(self._config)
            failures: list[KafkaError] = []

            def report(error: KafkaError | None, message: Message) -> None:
                failure = failure_of(error, message)
                if failure is not None:
                    failures.append(failure)

            for topic, value, event in records:
                headers = cloud_events.headers(event, _SOURCE)
                try:
                    producer.produce(topic, value, event.key, on_delivery=report, headers=headers)
                except KafkaException as exc:
                    failures.append(exc.args[0])
                    break
            if producer.flush(2 * ANSWER_WITHIN_S):
                self._abandon()
                message = "the events were not acknowledged in time"
                raise KafkaUnavailableError(message)
            if failures:
                self._abandon()
                raise kafka_error(failures[0], "the events were not acknowledged")

    def close(self) -> None:
        """Disconnect: every call has waited for its own reports."""
        with self._lock:
            self._abandon()

    def _abandon(self) -> None:
        if self._producer is not None:
            self._producer.purge(in_queue=True, in_flight=True, blocking=False)
            self._producer = None
