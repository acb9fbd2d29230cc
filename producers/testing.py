"""For tests of a producing service: an event producer without Kafka, which fails on request."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.codecs.events import WrittenEvent, event_encoder
from hookstream.schemas.event import Event
from hookstream.schemas.topics import TopicNames

from .errors import FlushTimeoutError, ProducerClosedError, ProducerError
from .murmur2 import partition_of
from .receipt import Receipt
from .tracing import current_traceparent

_PARTITIONS = 12


@dataclass(frozen=True, slots=True)
class Produced:
    """One event that the fake took, with the receipt that it gave."""

    event: Event
    receipt: Receipt
    traceparent: bytes | None = None


class FakeEventProducer:
    """Behaves as `EventProducer` towards its caller, and remembers: `produced` has every acknowledged event, in order.

    Events are checked and encoded as the real one does, and get the partition that the real one would give them.
    """

    def __init__(
        self, *, catalogue: Catalogue | None = None, topics: TopicNames | None = None, partitions: int = _PARTITIONS
    ) -> None:
        """Make a fake of these topics, each with as many partitions."""
        self.produced: list[Produced] = []
        self._catalogue = catalogue or Catalogue.shipped()
        self._encode = {name: event_encoder(self._catalogue, name, 0) for name in self._catalogue.envelopes}
        self._topics = topics or TopicNames()
        self._partitions = partitions
        self._next_offset: dict[tuple[str, int], int] = {}
        self._failures: list[ProducerError] = []
        self._held: list[tuple[Event, bytes | None, Future[Receipt]]] | None = None
        self._closed = False
        self._lock = threading.RLock()

    @property
    def events(self) -> list[Event]:
        """Every acknowledged event, in order."""
        return [entry.event for entry in self.produced]

    def fail_next(self, *errors: ProducerError) -> None:
        """Let the futures of the next events raise these, one each."""
        with self._lock:
            self._failures.extend(errors)

    def hold(self) -> None:
        """Acknowledge nothing until `release`, as a broker that hangs."""
        with self._lock:
            self._held = self._held or []

    def release(self) -> None:
        """Acknowledge what was held, and go on as before."""
        with self._lock:
            held, self._held = self._held or [], None
            for event, traceparent, future in held:
                self._settle(event, traceparent, future)

    def warm_up(self, *namespaces: str) -> None:
        """Check the namespaces; there is nothing to connect to."""
        for namespace in namespaces:
            self._catalogue.schema_text(namespace)

    def produce(
        self, event: Event, *, traceparent: bytes | None = None, written: WrittenEvent | None = None
    ) -> Future[Receipt]:
        """Take one event; see `EventProducer.produce`."""
        traceparent = traceparent or current_traceparent()
        self._catalogue.require_written(event.name)
        if written is None:
            self._encode[event.name.partition(".")[0]](event)
        future: Future[Receipt] = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            if self._closed:
                msg = "the producer is closed"
                raise ProducerClosedError(msg)
            if self._held is None:
                self._settle(event, traceparent, future)
            else:
                self._held.append((event, traceparent, future))
        return future

    def flush(self, deadline_s: float) -> None:
        """Raise at once where events are held: time does not pass in a fake."""
        if self._held:
            msg = f"{len(self._held)} events unacknowledged after {deadline_s:g} s"
            raise FlushTimeoutError(msg)

    def close(self, deadline_s: float | None = None) -> None:
        """Take no more events."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self.flush(deadline_s or 0)

    def __enter__(self) -> Self:
        """Use as a context: closed at its end."""
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """Close."""
        self.close()

    def _settle(self, event: Event, traceparent: bytes | None, future: Future[Receipt]) -> None:
        if self._failures:
            future.set_exception(self._failures.pop(0))
            return
        topic = self._topics.events(event.name.partition(".")[0])
        partition = partition_of(event.key, self._partitions)
        offset = self._next_offset.get((topic, partition), 0)
        self._next_offset[topic, partition] = offset + 1
        receipt = Receipt(topic, partition, offset)
        self.produced.append(Produced(event, receipt, traceparent))
        future.set_result(receipt)
