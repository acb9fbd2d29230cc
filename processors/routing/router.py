"""Joins events with hooks: reads `events.*`, looks each event up in the table, writes who is owed it to `deliveries`.

Safety depends on this order; the numbers are repeated where it happens.

1. The table is read to the end that the topic had at assignment, and at least to where the predecessor had read it,
   before the first record of a partition is routed: "no hook" has to mean nobody wants it, not "not read yet".
2. Every delivery is produced in the order of its partition, by one idempotent producer without a time-out. Under a
   time-out a record behind a failed one succeeds, and order and deliveries are lost.
3. An offset is committed only when the reports of everything below it are in.
4. The first failed report ends the process. It starts again from the committed offset, and what it repeats carries
   the same delivery ids: duplicates stand behind their originals, so first deliveries stay in order.

A failed report may blame the record itself (its size, its form). Its offset goes into the commit's metadata before the
process ends, with a count: blamed once, it is produced again alone, since the broker refuses whole batches; twice, it
is dead-lettered; three times, so was the dead letter, and only its position is written.

One thread. Kafka's callbacks run inside the calls made here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from confluent_kafka import Message

from hookstream.processors.errors import ProcessorError, ProduceFailedError, StoppedError
from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.lifecycle import RETRIABLE, Health, StopSignal, until_available
from hookstream.processors.metrics import Metrics
from hookstream.processors.tables.subscription_reader import SubscriptionReader, apply_rows
from hookstream.processors.tables.subscription_table import Route, SubscriptionTable
from hookstream.processors.topic_specs import DEAD_LETTER_EXTRA_BYTES
from hookstream.producers.errors import (
    NotRegisteredError,
    RegistryError,
    RegistryRefusedError,
    RegistryUnavailableError,
)
from hookstream.producers.registry import SchemaRegistry
from hookstream.schemas.catalogue import Catalogue, subject
from hookstream.schemas.codec import event_decoder, subscription_decoder
from hookstream.schemas.delivery import DeadLetterReason
from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.event import Event
from hookstream.schemas.topics import TopicNames
from hookstream.schemas.trace_context import find

from .assignment import SourcePartition
from .delivery_of import delivery_of
from .delivery_writer import DeliveryWriter, RecordTooLargeError
from .pipeline import Batch
from .source import Source, Taken
from .unroutable import dead_letter_of

# Reports awaited at most: with that many the broker, not this process, is what is slow.
_MAX_OUTSTANDING = 20_000
# The group is served without reading when something else has been waited for this long.
_SERVE_GROUP_AFTER_S = 1.0
_TURN_S = 0.05
_REPORT_WITHIN_S = 1.0
_SUSPECTED, _CONVICTED = 1, 2

log = structlog.get_logger("hookstream.router")


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterConfig:
    """What a router has to know. `drain_timeout_s` bounds how long it holds partitions that it has to give away."""

    kafka: KafkaConfig
    topics: TopicNames
    catalogue: Catalogue
    max_event_bytes: int = 1_048_576
    drain_timeout_s: float = 20.0
    tracing: bool = False
    """Whether a delivery belongs to the trace of its event; headers are not looked at otherwise."""


class Router:
    """One member of the routers' group. `open`, then `run_once` for ever, then `close`."""

    def __init__(
        self,
        config: RouterConfig,
        registry: SchemaRegistry,
        *,
        stop: StopSignal,
        health: Health,
        metrics: Metrics,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """Prepare; nothing is connected yet."""
        self.table = SubscriptionTable()
        self._config = config
        self._registry = registry
        self._stop = stop
        self.health = health
        self.metrics = metrics
        self._now_ms = now_ms
        self._tracing = config.tracing
        topics, texts = config.topics, registry.schema_text_by_id
        self._reader = SubscriptionReader(
            config.kafka,
            topics.subscriptions,
            decode=subscription_decoder(texts),
            deliver=lambda batch: apply_rows(batch, self.table),
        )
        self._source = Source(
            config.kafka,
            group=topics.router_group,
            decoders={
                topics.events(namespace): event_decoder(config.catalogue, namespace, texts)
                for namespace in config.catalogue.namespaces
            },
            table=self.table,
            reader=self._reader,
            drain=lambda: self._writer.drain(config.drain_timeout_s),
            stop=stop,
        )
        self._open_writer: DeliveryWriter | None = None
        self.health.down("table", "not read yet")

    def open(self) -> None:
        """Connect to everything, waiting for what is away.

        Raises:
            StoppedError: asked to stop while waiting.
            KafkaRefusedError: Kafka says no.
            RegistryError: the registry says no.
        """
        topics = self._config.topics
        subjects = self._config.catalogue.subjects(topics)

        def schema_id(topic: str) -> int:
            return self._registry.id_for(subject(topic), subjects[subject(topic)])

        delivery_id_, dead_letter_id = until_available(
            "schema registry",
            lambda: (schema_id(topics.deliveries), schema_id(topics.dead_letters)),
            stop=self._stop,
            health=self.health,
            retriable=(*RETRIABLE, NotRegisteredError),
        )
        self._open_writer = DeliveryWriter(
            self._config.kafka,
            topics,
            delivery_schema_id=delivery_id_,
            dead_letter_schema_id=dead_letter_id,
            max_bytes=self._config.max_event_bytes + DEAD_LETTER_EXTRA_BYTES,
        )
        until_available("kafka", self._writer.warm_up, stop=self._stop, health=self.health)
        until_available("kafka", self._reader.open, stop=self._stop, health=self.health)

    @property
    def ready(self) -> bool:
        """Whether it has joined its group, and everything that it owns can be routed."""
        return self._source.is_open and self.health.ready

    @property
    def outstanding(self) -> int:
        """Reports of deliveries that are awaited."""
        return 0 if self._open_writer is None else self._open_writer.outstanding

    def run_once(self, timeout_s: float = 0.1) -> int:
        """Do one turn, waiting at most `timeout_s` for something to do; give the number of records routed.

        Raises:
            ProduceFailedError: a report failed; the process has to start again.
            StoppedError: asked to stop in the middle of a wait; `close` as usual.
            ProcessorError: what Kafka refuses for good.
        """
        self._check_reports()
        if not self._source.is_open:
            self._reader.step(timeout_s)
            if self._reader.loaded:
                self._source.open()
            return 0
        self._reader.step(0)
        self._wait_until(lambda: self._writer.outstanding < _MAX_OUTSTANDING, "kafka", "does not acknowledge records")
        taken = self._source.take(timeout_s)
        if taken:
            self._route(taken)
        self._check_reports()
        self._source.commit_if_due()  # (3)
        self._report_health()
        return len(taken)

    def close(self) -> None:
        """Finish what is under way, commit it, leave the group. Calling it twice is harmless."""
        try:
            if self._source.is_open:
                self._finish()
        except ProcessorError as exc:  # what is not committed is routed again; the first error is the one to tell
            log.warning("the router did not end in good order", reason=str(exc))
        finally:
            self._source.close()
            self._reader.close()
            if self._open_writer is not None:
                self._open_writer.close()

    def _finish(self) -> None:
        """Wait for reports and commit. The group is not served inside its own `close`, so it is done before."""
        writer = self._writer
        self._source.stalled = True
        ends = time.monotonic() + self._config.drain_timeout_s
        while writer.outstanding and not writer.failed and time.monotonic() < ends:
            writer.poll(_TURN_S)
            self._source.keep_alive()
        self._source.commit_now(list(self._source.parts.values()))

    @property
    def _writer(self) -> DeliveryWriter:
        if self._open_writer is None:
            message = "the router is not open"
            raise RuntimeError(message)
        return self._open_writer

    # --- routing ------------------------------------------------------------------------------------------------------

    def _route(self, taken: Taken) -> None:
        batch = self._writer.open_batch()
        for part, message in taken:
            if not part.gone:
                self._route_one(batch, part, message)
        batch.sealed = True

    def _route_one(self, batch: Batch, part: SourcePartition, message: Message) -> None:
        offset = message.offset() or 0
        blamed = part.blamed(offset) if part.suspects is not None or part.convicts else 0
        if blamed:
            self._route_suspect(batch, part, message, blamed)
        else:
            self._judge(batch, part, message)
        if not part.gone:
            part.next_offset = batch.positions[part] = offset + 1

    def _judge(self, batch: Batch, part: SourcePartition, message: Message) -> None:
        """Write the delivery that the event is owed, or a dead letter, or nothing."""
        try:
            event = self._decode(part, message)
        except UndecodableError as exc:
            self._bury(batch, part, message, DeadLetterReason.UNDECODABLE, str(exc))
            return
        # The name is the record's own: a symbol newer than this process is wanted where a hook wants it.
        route = self.table.route(event.client, event.name)
        if route is None:
            self.metrics.routed["unwanted"] += 1
            return
        try:
            self._deliver(batch, part, message, event, route)
        except RecordTooLargeError as exc:
            self._bury(batch, part, message, DeadLetterReason.TOO_LARGE, str(exc))

    def _deliver(self, batch: Batch, part: SourcePartition, message: Message, event: Event, route: Route) -> None:
        delivery = delivery_of(
            event,
            route,
            topic=part.topic,
            partition=part.partition,
            offset=message.offset() or 0,
            arrived_ms=message.timestamp()[1],
        )
        traceparent = find(message.headers()) if self._tracing else None
        self._write(lambda: self._writer.write(batch, delivery, traceparent))  # (2)
        self.metrics.routed["routed"] += 1

    def _route_suspect(self, batch: Batch, part: SourcePartition, message: Message, blamed: int) -> None:
        """Take a record that the broker blamed before: alone, so that nothing else can be blamed with it."""
        self._await_reports()
        if blamed <= _SUSPECTED:
            self._judge(batch, part, message)
        else:
            detail = "the broker refuses its delivery"
            whole = blamed <= _CONVICTED
            self._bury(batch, part, message, DeadLetterReason.TOO_LARGE, detail, whole=whole)
        self._await_reports()

    def _bury(  # the record, and why
        self,
        batch: Batch,
        part: SourcePartition,
        message: Message,
        reason: DeadLetterReason,
        detail: str,
        *,
        whole: bool = True,
    ) -> None:
        """Write a dead letter; where even that is too large, one with the position alone."""
        dead_letter = dead_letter_of(part, message, reason=reason, detail=detail, now_ms=self._now_ms())
        try:
            final = dead_letter if whole else dead_letter.without_payload()
            self._write(lambda: self._writer.write_dead_letter(batch, final))
        except RecordTooLargeError:
            self._write(lambda: self._writer.write_dead_letter(batch, dead_letter.without_payload()))
        self.metrics.routed["dead-lettered"] += 1
        self.metrics.dead_letters[reason] += 1
        log.error(
            "a record was dead-lettered",
            reason=reason.value,
            detail=detail,
            topic=part.topic,
            partition=part.partition,
            offset=dead_letter.offset,
        )

    def _decode(self, part: SourcePartition, message: Message) -> Event:
        """Decode an event; a registry that is away makes no record undecodable, so it is waited for."""
        try:
            return part.decode(message.value())
        except UndecodableError:  # an unknown schema id is one, and a RegistryError too
            raise
        except RegistryError:
            try:
                return until_available(
                    "schema registry",
                    lambda: part.decode(message.value()),
                    stop=self._stop,
                    health=self.health,
                    retriable=(RegistryUnavailableError, RegistryRefusedError),
                    sleep=self._serve_group,
                )
            finally:
                self._source.stalled = False

    # --- waiting ------------------------------------------------------------------------------------------------------

    def _write(self, write: Callable[[], bool]) -> None:
        """Write, waiting while the producer's queue is full."""
        try:
            while not write():
                # Its queue is bounded in bytes too: with large records it is full long before so many are outstanding.
                before = max(1, self._writer.outstanding)
                self._wait_until(lambda: self._writer.outstanding < before, "kafka", "takes no more records")  # noqa: B023 - called at once
        except ProduceFailedError:
            self._writer.poll(_REPORT_WITHIN_S)  # the report that says why
            self._check_reports()
            raise

    def _await_reports(self) -> None:
        self._wait_until(lambda: self._writer.outstanding == 0, "kafka", "does not acknowledge records")

    def _wait_until(self, condition: Callable[[], bool], part: str, reason: str) -> None:
        """Wait for reports; what takes long is told to `/readyz`, and the group is served meanwhile."""
        if condition():
            return
        serve_at = time.monotonic() + _SERVE_GROUP_AFTER_S
        while not condition():
            if time.monotonic() < serve_at:
                self._writer.poll(_TURN_S)
                self._check_reports()
                self._check_stop()
            else:
                self.health.down(part, reason)
                self._serve_group(_TURN_S)
        if self._source.stalled:
            self._source.stalled = False
            self.health.up(part)

    def _serve_group(self, seconds: float) -> None:
        """Keep the membership and take reports, for so long, without reading."""
        self._source.stalled = True
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            self._check_stop()
            self._writer.poll(min(left, _TURN_S))
            self._check_reports()
            self._source.keep_alive()
            self._source.commit_if_due()

    def _check_stop(self) -> None:
        if self._stop.asked:
            message = "asked to stop in the middle of a batch"
            raise StoppedError(message)

    def _check_reports(self) -> None:
        """Take reports; the first failed one ends the process (4), after the records it blames were noted."""
        self._writer.poll(0)
        if not self._writer.failed:
            return
        reason, blamed = self._writer.failures()
        parts = [self._source.parts[place] for place in blamed if place in self._source.parts]
        for part in parts:
            part.blame(blamed[part.topic, part.partition])
        noted = self._source.commit_now(parts)
        count = sum(map(len, blamed.values()))
        log.error("a record was not acknowledged", reason=reason, blamed=count, noted=noted)
        message = f"a record was not acknowledged: {reason}; the router has to start again from its committed offsets"
        raise ProduceFailedError(message)

    def _report_health(self) -> None:
        self.metrics.expired_of["router"] = self._source.expired
        self.metrics.table_offset_of["router"] = self.table.offset
        if self.table.unreadable:
            self.health.down("table", "holds rows that cannot be read: run `hookstream subscriptions resync`")
        elif self._source.waiting:
            self.health.down("table", "not read far enough, or re-created without `hookstream subscriptions resync`")
        else:
            self.health.up("table")


def run(router: Router, stop: StopSignal) -> None:
    """Run a router until somebody asks to stop, or it fails.

    Raises:
        ProcessorError: why it failed; start the process again.
    """
    try:
        router.open()
        while not stop.asked:
            router.run_once()
    except StoppedError:
        log.info("stopped while waiting")
    finally:
        router.close()
