"""Joins events with hooks: reads their topics, looks each event up in the table, writes deliveries to `deliveries`.

Safety depends on this order; the numbers are repeated where it happens.

1. The table is read to the end that the topic had at assignment, and at least to where the predecessor had read it,
   before the first record of a partition is routed: "no hook" has to mean that none wants it, not "not read yet".
2. Every delivery is produced in the order of its partition, by one idempotent producer without a time-out. Under a
   time-out a record behind a failed one succeeds, and order and deliveries are lost.
3. An offset is committed only when the reports of everything below it are in.
4. The first failed report ends the process. It starts again from the committed offset, and what it repeats carries
   the same delivery ids: duplicates stand behind their originals, so first deliveries stay in order.

A failed report may reject the record itself (its size, its form). Its offset goes into the commit's metadata before the
process ends, with a count: rejected once, it is produced again alone, since the broker refuses whole batches; twice, it
is dead-lettered; three times, so was the dead letter, and only its position is written.

One thread. Kafka's callbacks run inside the calls made here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog
from confluent_kafka import Message

from hookstream.processors.lifecycle import Health, StopSignal
from hookstream.processors.metrics import Metrics
from hookstream.processors.source_record import source_record
from hookstream.processors.tables.subscription_table import Route, SubscriptionTable
from hookstream.producers.errors import RegistryError
from hookstream.schemas.delivery import DeadLetterReason
from hookstream.schemas.errors import UnrenderableError
from hookstream.schemas.event import ClientId
from hookstream.schemas.event_schema import NOTICES
from hookstream.schemas.sources.readers import ReadEvent
from hookstream.schemas.sources.record import Ignored, Refused, SourceRecord
from hookstream.schemas.trace_context import find

from .assignment import SourcePartition
from .delivery_of import BodyTooLargeError, check_body, delivery_of
from .delivery_writer import DeliveryWriter, RecordTooLargeError
from .order_watch import OrderWatch
from .pipeline import Batch
from .source_reader import SourceReader, Taken
from .unroutable import client_of_event_key, dead_letter_of
from .waits import RouterWaits

# Reports awaited at most: with that many the broker, not this process, is what is slow.
_MAX_OUTSTANDING = 20_000
# How often a record was rejected: it may have been another of the request, or it was this one.
_AMONG_OTHERS, _ALONE = 1, 2

log = structlog.get_logger("hookstream.router")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingDeps:
    """What events are routed with. `operator_client`, `tracing`: see `RouterConfig`."""

    table: SubscriptionTable
    source: SourceReader
    writer: DeliveryWriter
    stop: StopSignal
    health: Health
    metrics: Metrics
    now_ms: Callable[[], int]
    monotonic_s: Callable[[], float]
    drain_timeout_s: float
    max_body_bytes: int
    operator_client: ClientId | None
    tracing: bool


class EventRouting:
    """Routes what its source gives, turn by turn."""

    def __init__(self, deps: RoutingDeps) -> None:
        """The source has joined its group, and the table is read to the end that it had before."""
        self._table = deps.table
        self._source = deps.source
        self._writer = deps.writer
        self._metrics = deps.metrics
        self._now_ms = deps.now_ms
        self._max_body_bytes = deps.max_body_bytes
        self._operator_client = deps.operator_client
        self._tracing = deps.tracing
        self._health = deps.health
        self._waits = RouterWaits(
            deps.source,
            deps.writer,
            stop=deps.stop,
            health=deps.health,
            monotonic_s=deps.monotonic_s,
            drain_timeout_s=deps.drain_timeout_s,
        )
        self._order = OrderWatch(deps.metrics)

    def run_once(self, timeout_s: float) -> int:
        """Do one turn, waiting at most `timeout_s` for something to do; give the number of records routed.

        Raises:
            ProduceFailedError: a report failed; the process has to start again.
            StoppedError: asked to stop in the middle of a wait; `finish` as usual.
            ProcessorError: what Kafka refuses for good.
        """
        self._waits.check_reports()
        self._waits.until_outstanding(_MAX_OUTSTANDING - 1)
        taken = self._source.take(timeout_s)
        if taken:
            self._route(taken)
        self._waits.check_reports()
        self._source.commit_if_due()  # (3)
        self._report_health()
        return len(taken)

    def finish(self) -> None:
        """Wait for reports and commit; the source may be closed then."""
        self._waits.finish()

    # --- routing ------------------------------------------------------------------------------------------------------

    def _route(self, taken: Taken) -> None:
        batch = self._writer.open_batch()
        for source, message in taken:
            if not source.gone:
                self._route_one(batch, source, message)
        batch.sealed = True

    def _route_one(self, batch: Batch, source: SourcePartition, message: Message) -> None:
        record = source_record(message, source.topic, source.partition)
        offset = record.offset
        rejections = source.rejections_of(offset) if source.rejected is not None or source.rejections else 0
        if rejections:
            self._route_rejected(batch, source, record, rejections)
        else:
            self._judge(batch, source, record)
        if not source.gone:
            source.next_offset = batch.positions[source] = offset + 1

    def _judge(self, batch: Batch, source: SourcePartition, record: SourceRecord) -> None:
        """Write the deliveries that hooks want of the event, or a dead letter, or nothing."""
        event = self._read(source, record)
        if isinstance(event, Refused):
            client = None if source.events.foreign else client_of_event_key(record.key)
            self._dead_letter(batch, record, client, DeadLetterReason.UNDECODABLE, event.detail)
            return
        if isinstance(event, Ignored):
            self._metrics.router.routed[event.reason] += 1
            return
        # The name is the record's own: a symbol newer than this process is wanted where a hook wants it.
        route = self._table.route(event.client_id, event.name)
        operators = self._operators_route(event) if event.namespace == NOTICES else None
        if route is None and operators is None:
            self._metrics.router.routed["unwanted"] += 1
            return
        try:
            if route is not None:
                self._deliver(batch, source, record, event, route)
            if operators is not None:
                self._deliver(batch, source, record, event, operators, client=self._operator_client)
        except UnrenderableError as exc:
            self._dead_letter(batch, record, event.client_id, DeadLetterReason.UNDECODABLE, str(exc))
        except (RecordTooLargeError, BodyTooLargeError) as exc:
            self._dead_letter(batch, record, event.client_id, DeadLetterReason.TOO_LARGE, str(exc))

    def _operators_route(self, event: ReadEvent) -> Route | None:
        """The operators' hook, which gets the notices about every client's endpoints; None where it is that client's.

        The event is one record whoever wants it, so both hooks get it once, under the order of its endpoint.
        """
        client = self._operator_client
        return None if client is None or client == event.client_id else self._table.route(client, event.name)

    def _deliver(
        self,
        batch: Batch,
        source: SourcePartition,
        record: SourceRecord,
        event: ReadEvent,
        route: Route,
        *,
        client: ClientId | None = None,
    ) -> None:
        # The producer's time is that of its own clock, and of a backfill long past: nothing may expire by it.
        arrived_ms = self._now_ms() if source.events.foreign and not record.by_broker else record.timestamp_ms
        delivery = delivery_of(event, route, record, arrived_ms=arrived_ms, client=client)
        check_body(delivery, self._max_body_bytes)
        traceparent = find(record.headers) if self._tracing else None
        self._waits.write(lambda: self._writer.write(batch, delivery, traceparent))  # (2)
        self._metrics.router.routed["routed"] += 1
        if source.events.foreign:
            self._order.see(record, event)

    def _route_rejected(self, batch: Batch, source: SourcePartition, record: SourceRecord, rejections: int) -> None:
        """Take a record that the broker rejected before: alone, so that nothing else can be rejected with it."""
        self._waits.until_outstanding(0)
        source.alone = record.offset
        if rejections <= _AMONG_OTHERS:
            self._judge(batch, source, record)
        else:
            detail = "the broker refuses its delivery"
            client = None if source.events.foreign else client_of_event_key(record.key)
            whole = rejections <= _ALONE
            self._dead_letter(batch, record, client, DeadLetterReason.TOO_LARGE, detail, whole=whole)
        self._waits.until_outstanding(0)
        source.alone = None

    def _dead_letter(  # the record, and why
        self,
        batch: Batch,
        record: SourceRecord,
        client: ClientId | None,
        reason: DeadLetterReason,
        detail: str,
        *,
        whole: bool = True,
    ) -> None:
        """Write a dead letter; where even that is too large, one with the position alone."""
        dead_letter = dead_letter_of(record, client=client, reason=reason, detail=detail, now_ms=self._now_ms())
        try:
            final = dead_letter if whole else dead_letter.without_payload()
            self._waits.write(lambda: self._writer.write_dead_letter(batch, final))
        except RecordTooLargeError:
            self._waits.write(lambda: self._writer.write_dead_letter(batch, dead_letter.without_payload()))
        self._metrics.router.routed["dead-lettered"] += 1
        self._metrics.dead_letters[reason] += 1
        log.error(
            "a record was dead-lettered",
            reason=reason.value,
            detail=detail,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
        )

    def _read(self, source: SourcePartition, record: SourceRecord) -> ReadEvent | Ignored | Refused:
        """Read a record as an event; a registry that does not answer refuses no record, so it is waited for."""
        try:
            return source.events.read(record)
        except RegistryError:
            return self._waits.until_registry_answers(lambda: source.events.read(record))

    def _report_health(self) -> None:
        self._metrics.expired_of["router"] = self._source.expired
        self._metrics.table_offset_of["router"] = self._table.offset
        if self._table.unreadable:
            self._health.down("table", "holds rows that cannot be read: run `hookstream subscriptions resync`")
        elif self._source.waiting:
            self._health.down("table", "not read far enough, or re-created without `hookstream subscriptions resync`")
        else:
            self._health.up("table")
