"""The router's role: it waits for what it needs, reads the table, joins its group, routes. See `event_routing`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from hookstream.processors import wall_clock
from hookstream.processors.errors import ProcessorError, StoppedError
from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.lifecycle import RETRIABLE, Health, StopSignal, until_available
from hookstream.processors.metrics import Metrics
from hookstream.processors.source_topics import missing_rights
from hookstream.processors.tables.subscription_reader import SubscriptionReader, apply_rows
from hookstream.processors.tables.subscription_table import SubscriptionTable
from hookstream.processors.topic_specs import DEAD_LETTER_EXTRA_BYTES
from hookstream.producers.errors import NotRegisteredError
from hookstream.producers.registry import SchemaRegistry
from hookstream.schemas.body import MAX_BODY_BYTES
from hookstream.schemas.catalogue import Catalogue, subject
from hookstream.schemas.codecs.hooks import subscription_decoder
from hookstream.schemas.event import ClientId
from hookstream.schemas.sources.readers import topic_events
from hookstream.schemas.topics import TopicNames

from .delivery_writer import DeliveryWriter
from .event_routing import EventRouting, RoutingDeps
from .source_reader import SourceReader
from .source_rights import SourceRights
from .undelivered_fields import UndeliveredFields

log = structlog.get_logger("hookstream.router")


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterConfig:
    """What a router has to know. `drain_timeout_s` bounds how long it holds partitions that it has to give away.

    `operator_client`: the client whose hooks get the notices about every client's endpoints; None where there is none.
    """

    kafka: KafkaConfig
    topics: TopicNames
    catalogue: Catalogue
    max_event_bytes: int = 1_048_576
    max_body_bytes: int = MAX_BODY_BYTES
    drain_timeout_s: float = 20.0
    operator_client: ClientId | None = None
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
        now_ms: Callable[[], int] = wall_clock.now_ms,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; nothing is connected yet."""
        self.table = SubscriptionTable()
        self._config = config
        self._registry = registry
        self._stop = stop
        self.health = health
        self.metrics = metrics
        self._now_ms = now_ms
        self._monotonic_s = monotonic_s
        self._reader = SubscriptionReader(
            config.kafka,
            config.topics.subscriptions,
            decode=subscription_decoder(registry.schema_text_by_id),
            deliver=lambda batch: apply_rows(batch, self.table),
        )
        self._writer: DeliveryWriter | None = None
        self._routing: EventRouting | None = None
        self._source: SourceReader | None = None
        foreign = [source.topic_in(config.topics) for source in config.catalogue.sources]
        self._rights = SourceRights(lambda: missing_rights(config.kafka, foreign))
        self.health.down("table", "not read yet")

    def open(self) -> None:
        """Connect to everything, waiting for what is unavailable.

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
        writer = self._writer = DeliveryWriter(
            self._config.kafka,
            topics,
            delivery_schema_id=delivery_id_,
            dead_letter_schema_id=dead_letter_id,
            max_bytes=self._config.max_event_bytes + DEAD_LETTER_EXTRA_BYTES,
        )
        until_available("kafka", writer.warm_up, stop=self._stop, health=self.health)
        until_available("kafka", self._reader.open, stop=self._stop, health=self.health)
        until_available("kafka", self._rights.look, stop=self._stop, health=self.health)
        self._rights.watch()

    @property
    def ready(self) -> bool:
        """Whether it has joined its group, and everything that it owns can be routed."""
        return self._routing is not None and self.health.ready

    @property
    def outstanding(self) -> int:
        """Reports of deliveries that are awaited."""
        return 0 if self._writer is None else self._writer.outstanding

    def run_once(self, timeout_s: float = 0.1) -> int:
        """Do one turn, waiting at most `timeout_s` for something to do; give the number of records routed.

        Raises:
            ProduceFailedError: a report failed; the process has to start again.
            StoppedError: asked to stop in the middle of a wait; `close` as usual.
            ProcessorError: what Kafka refuses for good.
        """
        routing = self._routing
        if routing is None:
            self._reader.step(timeout_s)
            if self._reader.loaded:
                self._routing = self._join()
            return 0
        self._reader.step(0)
        return routing.run_once(timeout_s)

    def close(self) -> None:
        """Finish what is under way, commit it, leave the group. Calling it twice is harmless."""
        self._rights.close()
        try:
            if self._routing is not None:
                self._routing.finish()
        except ProcessorError as exc:  # what is not committed is routed again; the first error is the one to raise
            log.warning("the router did not end in good order", reason=str(exc))
        finally:
            if self._source is not None:
                self._source.close()
            self._routing = self._source = None
            self._reader.close()
            if self._writer is not None:
                self._writer.close()

    def _join(self) -> EventRouting:
        """Join the group, now that the table is read."""
        config, topics, writer = self._config, self._config.topics, self._writer
        if writer is None:
            message = "the router is not open"
            raise RuntimeError(message)
        self._source = SourceReader(
            config.kafka,
            group=topics.router_group,
            events=topic_events(
                config.catalogue, topics, self._registry.schema_text_by_id, undelivered=UndeliveredFields()
            ),
            table=self.table,
            reader=self._reader,
            drain=lambda: writer.drain(config.drain_timeout_s),
            stop=self._stop,
            may_read=self._rights.may_read,
            monotonic_s=self._monotonic_s,
        )
        return EventRouting(
            RoutingDeps(
                table=self.table,
                source=self._source,
                writer=writer,
                stop=self._stop,
                health=self.health,
                metrics=self.metrics,
                now_ms=self._now_ms,
                monotonic_s=self._monotonic_s,
                drain_timeout_s=config.drain_timeout_s,
                max_body_bytes=config.max_body_bytes,
                operator_client=config.operator_client,
                tracing=config.tracing,
            )
        )


def run(router: Router, stop: StopSignal) -> None:
    """Run a router until the process is asked to stop, or it fails.

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
