"""Writes a few records and returns once Kafka has acknowledged all: for relays, whose rows stay locked so long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import NamedTuple, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from hookstream.processors.errors import ProcessorError
from hookstream.processors.kafka import KafkaConfig, make_producer, producer_config
from hookstream.producers.cloud_events import Headers
from hookstream.producers.delivery_report import failure_of
from hookstream.subscriptions.errors import NotPublishedError

# A row stays locked meanwhile, and a request for it waits: below the database's lock time-out of 10 s.
_ACKNOWLEDGED_WITHIN_MS = 5000
# The report of a record that timed out comes a little after its time.
_REPORT_WITHIN_S = 6.0
_ANY_PARTITION = -1


class NewRecord(NamedTuple):
    """A record to write. `value` None is a tombstone; without a partition the key decides."""

    key: bytes
    value: bytes | None
    partition: int = _ANY_PARTITION
    headers: Headers | None = None


class Acknowledged(NamedTuple):
    """Where a record stands, and the kind and time (Unix ms) of its stamp."""

    partition: int
    offset: int
    stamp: tuple[int, int]


class AcknowledgedWriter:
    """A producer of one topic, opened when it is needed and made anew after a failure. One thread at a time.

    Use it as a context, or close it: every call waits for its own reports, so nothing is unsent then.
    """

    def __init__(self, kafka: KafkaConfig, topic: str, *, linger_ms: float = 0.0) -> None:
        """Prepare; nothing is connected yet."""
        self._config = producer_config(kafka, linger_ms=linger_ms, message_timeout_ms=_ACKNOWLEDGED_WITHIN_MS)
        self._topic = topic
        self._producer: Producer | None = None

    def __enter__(self) -> Self:
        """Connect nothing yet."""
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        """Close it."""
        self.close()

    def write(self, records: Sequence[NewRecord]) -> Sequence[Acknowledged]:
        """Write records in their order and say where they stand.

        Raises:
            NotPublishedError: one or more were not acknowledged in time; some may be in the topic.
        """
        found: dict[int, Acknowledged] = {}
        failures: list[KafkaError] = []
        try:
            producer = self._producer = self._producer or make_producer(self._config)
            for index, (key, value, partition, headers) in enumerate(records):
                report = _note(index, found, failures)
                producer.produce(self._topic, value, key, partition, on_delivery=report, headers=headers)
            producer.flush(_REPORT_WITHIN_S)
        except (KafkaException, BufferError, ProcessorError) as exc:
            self._abandon()
            msg = f"cannot write to {self._topic}: {exc}"
            raise NotPublishedError(msg) from exc
        if len(found) < len(records):
            self._abandon()
            why = failures[0].str() if failures else "no delivery report in time"
            msg = f"{len(records) - len(found)} of {len(records)} records of {self._topic} not acknowledged: {why}"
            raise NotPublishedError(msg)
        return [found[index] for index in range(len(records))]

    def close(self) -> None:
        """Forget the producer. Calling it twice is harmless."""
        self._producer = None

    def _abandon(self) -> None:
        """Drop what is unsent, and begin with a new producer next time: this one may have failed for good."""
        if self._producer is not None:
            self._producer.purge(in_queue=True, in_flight=True, blocking=False)
            self._producer = None


def _note(
    index: int, found: dict[int, Acknowledged], failures: list[KafkaError]
) -> Callable[[KafkaError | None, Message], None]:
    def report(error: KafkaError | None, message: Message) -> None:
        partition, offset = message.partition(), message.offset()
        failure = failure_of(error, message)
        if failure is not None:
            failures.append(failure)
        elif partition is not None and offset is not None:
            found[index] = Acknowledged(partition, offset, message.timestamp())

    return report
