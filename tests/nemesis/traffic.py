"""Events at a steady rate: by a service's producer, and by another service's outbox."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError

from hookstream.producers.config import ProducerConfig
from hookstream.producers.errors import ProducerError
from hookstream.producers.event_producer import EventProducer
from hookstream.producers.outbox import create_tables, enqueue
from hookstream.schemas.delivery import delivery_id
from hookstream.schemas.event import Concept, Event, EventName
from tests.nemesis.history import Acknowledged, Asked, HookMade, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from hookstream.producers.receipt import Receipt
    from tests.nemesis.book import Book
    from tests.nemesis.history import HistoryFile
    from tests.nemesis.parts import Parts

RESOURCES = 8
_MESSAGE_TIMEOUT_S = 60.0


@dataclass
class _Resource:
    """One resource of one hook: the next event waits for the acknowledgement of the last."""

    hook: HookMade
    concept: int
    number: int = 0
    free: threading.Event = field(default_factory=threading.Event)


class Traffic:
    """Two threads that publish until they are stopped."""

    def __init__(self, parts: Parts, history: HistoryFile, book: Book, seed: int) -> None:
        """Make the outbox's table."""
        self._parts, self._history, self._book, self._seed = parts, history, book, seed
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._outbox = create_engine(parts.outbox_url, pool_pre_ping=True)
        create_tables(self._outbox)
        config = ProducerConfig(
            bootstrap_servers=parts.cluster.bootstrap_servers,
            schema_registry_url=parts.registry.url,
            topics=parts.deployment.topics,
            kafka_options={"log_level": 2},  # brokers go on purpose
            message_timeout_s=_MESSAGE_TIMEOUT_S,
        )
        self._producer = EventProducer(config)
        self._producer.warm_up()

    def start(self, by_producer: Sequence[HookMade], by_outbox: Sequence[HookMade], rate: float) -> None:
        """Publish for these hooks, so many events a second in all."""
        every = len(by_producer) + len(by_outbox)
        for name, hooks, send in (
            ("producer", by_producer, self._produce),
            ("outbox", by_outbox, self._enqueue),
        ):
            share = rate * len(hooks) / every
            thread = threading.Thread(target=self._publish, args=(name, hooks, send, share), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Publish no more, and wait for what is on its way."""
        self._stop.set()
        for thread in self._threads:
            thread.join(_MESSAGE_TIMEOUT_S)
        self._producer.close(_MESSAGE_TIMEOUT_S * 2)
        self._outbox.dispose()

    def _publish(
        self,
        name: str,
        hooks: Sequence[HookMade],
        send: Callable[[Event, Asked, _Resource], None],
        rate: float,
    ) -> None:
        random = Random(f"{name} {self._seed}")  # noqa: S311 - no secret
        resources = [_Resource(hook, hook.hook * 100 + at) for hook in hooks for at in range(RESOURCES)]
        for resource in resources:
            resource.free.set()
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due = max(due + 1 / rate, time.monotonic() - 1.0)
            resource = random.choice(resources)
            if resource.free.is_set():
                self._send_one(name, resource, send)

    def _send_one(self, name: str, resource: _Resource, send: Callable[[Event, Asked, _Resource], None]) -> None:
        hook = resource.hook
        namespace = hook.event.partition(".")[0]
        event = Event(
            name=EventName(hook.event),
            client=hook.client,
            concept=Concept(id=resource.concept, namespace=namespace, sub_namespace=None),
            occurred_at_ms=time.time_ns() // 1_000_000,
        )
        resource.number += 1
        resource.free.clear()
        delivery = delivery_id(event.id, hook.hook)
        asked = Asked(self._history.now, delivery, hook.hook, resource.concept, resource.number, name)
        self._book.asked(delivery, hook.hook)
        self._history.add(asked)
        send(event, asked, resource)

    def _produce(self, event: Event, asked: Asked, resource: _Resource) -> None:
        def done(future: Future[Receipt]) -> None:
            error = future.exception()
            if error is None:
                receipt = future.result()
                self._acknowledge(asked, receipt.topic, receipt.partition, receipt.offset)
            else:
                self._history.add(Unknown(self._history.now, asked.delivery, type(error).__name__))
            resource.free.set()

        try:
            self._producer.produce(event).add_done_callback(done)
        except ProducerError as error:
            self._history.add(Unknown(self._history.now, asked.delivery, type(error).__name__))
            resource.free.set()

    def _enqueue(self, event: Event, asked: Asked, resource: _Resource) -> None:
        try:
            with self._outbox.begin() as connection:
                enqueue(connection, event)
        except SQLAlchemyError as error:
            self._history.add(Unknown(self._history.now, asked.delivery, type(error).__name__))
        else:
            self._acknowledge(asked, "", -1, -1)
        resource.free.set()

    def _acknowledge(self, asked: Asked, topic: str, partition: int, offset: int) -> None:
        self._history.add(Acknowledged(self._history.now, asked.delivery, topic, partition, offset))
        self._book.acknowledged(asked.delivery)
