"""What the API publishes through: its Protocols, on the producer of events and on the writer of replays."""

from __future__ import annotations

from concurrent.futures import Future

from hookstream.processors.cli.deps import Deps, event_producer
from hookstream.processors.errors import ProcessorError
from hookstream.processors.lifecycle import Health
from hookstream.processors.operations.replays.writer import ReplayWriter
from hookstream.producers.errors import DeliveryFailedError, ProducerError
from hookstream.producers.event_producer import EventProducer
from hookstream.producers.receipt import Receipt as ProducedReceipt
from hookstream.schemas.delivery import Delivery
from hookstream.schemas.event import Event
from hookstream.subscriptions.changes import PendingReceipt, Receipt
from hookstream.subscriptions.errors import NotPublishedError

EVENT_PRODUCER = "event producer"
"""The component of `/readyz` that is ready once events are taken."""
_WARM_UP_S = 5.0
# A request for an event waits no longer than the API promises, and an event that was answered with a failure is not
# sent later.
_EVENT_TIMEOUT_S = 10.0
_CLOSE_S = 5


class KafkaEvents:
    """An `EventPublisher` on an `EventProducer`; before `open` has succeeded it takes nothing, and is not ready."""

    def __init__(self, deps: Deps, health: Health) -> None:
        self._health = health
        health.down(EVENT_PRODUCER, "starting")
        self._producer: EventProducer = event_producer(
            deps, source="/hookstream/api", deadline_s=_WARM_UP_S, message_timeout_s=_EVENT_TIMEOUT_S
        )
        self._open = False

    def open(self) -> None:
        """Connect.

        Raises:
            RegistryError, DeliveryFailedError: call it again.
        """
        self._producer.warm_up()
        self._open = True

    def publish(self, event: Event, *, traceparent: bytes | None = None) -> PendingReceipt:
        """Hand the event over.

        Raises:
            NotPublishedError: it cannot be taken now.
        """
        if not self._open:
            reasons = self._health.reasons
            message = f"Kafka is not connected yet: {reasons.get('kafka') or reasons.get(EVENT_PRODUCER, 'starting')}"
            raise NotPublishedError(message)
        try:
            return _Pending(self._producer.produce(event, traceparent=traceparent))
        except ProducerError as exc:
            raise NotPublishedError(str(exc)) from exc

    def close(self) -> None:
        """Wait for what is on its way, and disconnect."""
        self._producer.close(_CLOSE_S)


class KafkaDeliveries:
    """A `DeliveryPublisher` on a `ReplayWriter`."""

    def __init__(self, writer: ReplayWriter) -> None:
        self._writer = writer

    def publish(self, delivery: Delivery, *, job: str) -> None:
        """Write it and wait for the acknowledgement.

        Raises:
            NotPublishedError: Kafka or the registry refused it, or did not answer in time.
        """
        try:
            self._writer.write([delivery], job=job)
        except (ProcessorError, ProducerError) as exc:
            raise NotPublishedError(str(exc)) from exc


class _Pending:
    """A `PendingReceipt` on a producer's future."""

    def __init__(self, future: Future[ProducedReceipt]) -> None:
        self._future = future

    def result(self, timeout: float | None = None) -> Receipt:
        """Wait for the delivery report.

        Raises:
            NotPublishedError: Kafka refused it, or did not answer in time.
        """
        try:
            receipt = self._future.result(timeout)
        except TimeoutError as exc:
            message = "no acknowledgement from Kafka in time"
            raise NotPublishedError(message) from exc
        except DeliveryFailedError as exc:
            raise NotPublishedError(str(exc)) from exc
        return Receipt(topic=receipt.topic, partition=receipt.partition, offset=receipt.offset)
