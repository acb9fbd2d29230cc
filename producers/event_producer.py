"""The event producer: an event is accepted when its receipt says so, not before."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.codecs.events import WrittenEvent
from hookstream.schemas.event import Event
from hookstream.schemas.trace_context import HEADER

from . import cloud_events
from .config import ProducerConfig
from .deadline import Deadline
from .delivery_report import failure_of
from .errors import (
    DeliveryFailedError,
    FlushTimeoutError,
    ProducerConfigError,
    QueueFullError,
)
from .event_values import EventValues
from .in_flight import InFlight
from .receipt import Receipt
from .registry import SchemaRegistry
from .tracing import current_traceparent

_POLL_S = 0.1  # how soon the poll thread sees that it should end; reports wake it at once
_FULL_QUEUE_WAIT_S = 0.01
_PURGE_S = 5.0
_RECORD_REFUSED = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_RECORD,
        KafkaError._BAD_MSG,  # noqa: SLF001 - how the client names its own codes
    }
)


class EventProducer:
    """Sends events to `events.<namespace>`: idempotent, acknowledged by all replicas, on Java's partitions.

    May be used from any thread. A thread of its own serves the reports, so futures resolve although no caller polls;
    their callbacks run there and must not block. Create it after a fork, not before.

    Events of one resource keep the order in which `produce` was called, unless one of them fails: then those behind it
    may be in the log already. Who cannot have that waits for each receipt, as the outbox relay does.
    """

    def __init__(
        self, config: ProducerConfig, *, catalogue: Catalogue | None = None, registry: SchemaRegistry | None = None
    ) -> None:
        """Start the client; nothing is asked of Kafka or the registry before the first event, or `warm_up`.

        Raises:
            ProducerConfigError: librdkafka does not take the settings.
        """
        self._config = config
        self._catalogue = catalogue or Catalogue.shipped()
        self._registry = registry or SchemaRegistry(config.schema_registry_url, config.registry_options)
        self._owns_registry = registry is None
        self._values = EventValues(config, self._catalogue, self._registry)
        self._source = config.source.encode()
        self._in_flight = InFlight()
        self._stopped = threading.Event()
        try:
            self._kafka = Producer(config.librdkafka())
        except (KafkaException, ValueError, TypeError) as exc:
            msg = f"the Kafka client does not take these settings: {exc}"
            raise ProducerConfigError(msg) from exc
        self._poller = threading.Thread(target=self._poll, name="hookstream-event-producer", daemon=True)
        self._poller.start()

    def warm_up(self, *namespaces: str) -> None:
        """Fetch the schema ids and connect, for these namespaces or all of them: else the first event waits for it.

        Kafka's client gets its producer id by itself, up to half a second after it has started; what is produced before
        then waits for it.

        Raises:
            RegistryError, UnknownEventError: as `produce` would.
            DeliveryFailedError: Kafka did not answer within `registry_deadline_s`.
        """
        for namespace in namespaces or self._catalogue.envelopes:
            topic, _ = self._values.encoder(namespace)
            try:
                self._kafka.list_topics(topic, timeout=self._config.registry_deadline_s)
            except KafkaException as exc:
                raise _failed(topic, exc.args[0]) from exc

    def produce(
        self, event: Event, *, traceparent: bytes | None = None, written: WrittenEvent | None = None
    ) -> Future[Receipt]:
        """Hand one event over; the future resolves with its `Receipt`, or raises `DeliveryFailedError`.

        Blocks while the queue is full, up to `queue_deadline_s`, and at a namespace's first event for its schema id.
        The event belongs to the trace of `traceparent`, by default to the one that the caller is in. With `written`,
        these bytes are sent, under the id of their schema, whatever the schema is now.

        Raises:
            UnknownEventError: not in the catalogue.
            InvalidValueError: a value that its schema does not allow.
            RegistryError: no schema id for the namespace; `retriable` says whether to try again.
            QueueFullError: no room in time; the event was not accepted.
            DeliveryFailedError: refused at once, such as for its size.
            ProducerClosedError: after `close`.
        """
        topic, value = self._values.of(event, written)
        headers = self._headers(event, traceparent)
        future: Future[Receipt] = Future()
        future.set_running_or_notify_cancel()  # it is on its way: `cancel` answers False

        def report(error: KafkaError | None, message: Message) -> None:
            self._settle(future, topic, error, message)

        self._in_flight.add()
        try:
            self._enqueue(topic, event.key, value, headers, report)
        except BaseException:
            self._in_flight.remove()
            raise
        return future

    def flush(self, deadline_s: float) -> None:
        """Return when every event accepted so far has its receipt or its error, and its callbacks have run.

        Raises:
            FlushTimeoutError: some had not, in time.
        """
        deadline = Deadline.after(deadline_s)
        self._kafka.flush(deadline_s)
        self._in_flight.wait(deadline, asked_s=deadline_s)

    def close(self, deadline_s: float | None = None) -> None:
        """Flush, give up on what is left (its futures raise), and end the poll thread. A second call does nothing.

        Raises:
            FlushTimeoutError: something was given up.
        """
        if not self._in_flight.close():
            return
        try:
            self.flush(self._config.close_deadline_s if deadline_s is None else deadline_s)
        except FlushTimeoutError:
            self._kafka.purge()
            self.flush(_PURGE_S)
            raise
        finally:
            self._stopped.set()
            self._poller.join()
            if self._owns_registry:
                self._registry.close()

    def __enter__(self) -> Self:
        """Use as a context: closed at its end."""
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """Close under `close_deadline_s`."""
        self.close()

    def _headers(self, event: Event, traceparent: bytes | None) -> cloud_events.Headers:
        headers = cloud_events.headers(event, self._source)
        traceparent = traceparent or current_traceparent()
        if traceparent is not None:
            headers.append((HEADER, traceparent))
        return headers

    def _enqueue(
        self,
        topic: str,
        key: bytes,
        value: bytes,
        headers: cloud_events.Headers,
        report: Callable[[KafkaError | None, Message], None],
    ) -> None:
        deadline = Deadline.after(self._config.queue_deadline_s)
        while True:
            try:
                self._kafka.produce(topic, value, key, on_delivery=report, headers=headers)
            except BufferError as exc:
                if deadline.over:
                    msg = f"the queue of {self._config.queue_messages} events stayed full"
                    raise QueueFullError(msg) from exc
                self._kafka.poll(_FULL_QUEUE_WAIT_S)
            except KafkaException as exc:
                raise _failed(topic, exc.args[0]) from exc
            else:
                return

    def _settle(self, future: Future[Receipt], topic: str, error: KafkaError | None, message: Message) -> None:
        try:
            failure = failure_of(error, message)
            if failure is not None:
                future.set_exception(_failed(topic, failure))
            else:
                future.set_result(Receipt(topic, message.partition() or 0, message.offset() or 0))
        finally:
            self._in_flight.remove()

    def _poll(self) -> None:
        while not self._stopped.is_set():
            self._kafka.poll(_POLL_S)


def _failed(topic: str, error: KafkaError) -> DeliveryFailedError:
    """Say what a refusal means. What timed out, was purged or may be tried again can be in the log nevertheless.

    After a fatal error the client refuses everything with a code of its own, and these errors do not call themselves
    fatal: this producer never sends again, whoever asks.
    """
    record_refused = error.code() in _RECORD_REFUSED
    fatal = error.fatal() or error.code() == KafkaError._FATAL
    retriable = not record_refused and not fatal
    what = f"{topic}: {error.name()}: {error.str()}"
    return DeliveryFailedError(what, retriable=retriable, record_refused=record_refused)
