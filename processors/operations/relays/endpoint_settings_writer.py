"""Writes operators' wishes to the `control` topic and says where they stand, once Kafka has acknowledged them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from hookstream.processors.errors import ProcessorError
from hookstream.processors.kafka import KafkaConfig, make_producer, producer_config
from hookstream.schemas.control import EndpointWish
from hookstream.subscriptions.errors import NotPublishedError
from hookstream.subscriptions.wish_publication import PublishedWish

# The rows stay locked meanwhile, and a request for one waits: below the database's lock time-out of 10 s.
_ACKNOWLEDGED_WITHIN_MS = 5000
# The report of a record that timed out comes a little after its time.
_REPORT_WITHIN_S = 6.0


class WishWriter:
    """A `WishPublisher`. One thread at a time."""

    def __init__(self, kafka: KafkaConfig, topic: str, *, encode: Callable[[EndpointWish], bytes]) -> None:
        """Prepare to write; nothing is sent yet."""
        self._config = producer_config(kafka, message_timeout_ms=_ACKNOWLEDGED_WITHIN_MS)
        self._topic = topic
        self._encode = encode
        self._producer: Producer | None = None

    def __enter__(self) -> Self:
        """Nothing to do: the producer is opened when it is needed."""
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Forget the producer. Nothing waits in it: every call waits for its own reports."""
        self._producer = None

    def publish(self, wishes: Sequence[EndpointWish]) -> Sequence[PublishedWish]:
        """Write wishes and say where they stand.

        Raises:
            NotPublishedError: one or more were not acknowledged in time; some may be in the topic.
        """
        published: dict[int, PublishedWish] = {}
        failures: list[KafkaError] = []
        try:
            producer = self._producer = self._producer or make_producer(self._config)
            for index, wish in enumerate(wishes):
                producer.produce(
                    self._topic, self._encode(wish), wish.key, on_delivery=_note(index, wish, published, failures)
                )
            producer.flush(_REPORT_WITHIN_S)
        except (KafkaException, BufferError, ProcessorError) as exc:
            self._abandon()
            msg = f"cannot write to {self._topic}: {exc}"
            raise NotPublishedError(msg) from exc
        if len(published) < len(wishes):
            self._abandon()
            why = failures[0].str() if failures else "no delivery report in time"
            msg = f"{len(wishes) - len(published)} of {len(wishes)} records of {self._topic} not acknowledged: {why}"
            raise NotPublishedError(msg)
        return [published[index] for index in range(len(wishes))]

    def _abandon(self) -> None:
        """Drop what is unsent, and begin with a new producer next time: this one may have failed for good."""
        if self._producer is not None:
            self._producer.purge(in_queue=True, in_flight=True, blocking=False)
            self._producer = None


def _note(
    index: int, wish: EndpointWish, published: dict[int, PublishedWish], failures: list[KafkaError]
) -> Callable[[KafkaError | None, Message], None]:
    def report(error: KafkaError | None, message: Message) -> None:
        partition, offset = message.partition(), message.offset()
        if error is not None:
            failures.append(error)
        elif partition is not None and offset is not None:
            published[index] = PublishedWish(wish=wish, partition=partition, offset=offset)

    return report
