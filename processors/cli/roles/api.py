"""The API as it runs: the web server, the relay of changes, the workers' notices, and what connects them with Kafka.

It answers from the first moment, and says in `/readyz` what it still waits for: hooks can be registered while Kafka is
unavailable, and their rows are published when it is back.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from functools import cache
from typing import TypeAlias, TypeVar

from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy import Engine

from hookstream.processors.cli.deps import Deps, event_producer
from hookstream.processors.errors import ProcessorError
from hookstream.processors.lifecycle import RETRIABLE, Health, StopSignal, spare_garbage_collection, until_available
from hookstream.processors.operations.group_reader import GroupReader
from hookstream.processors.operations.queries.backlog import KafkaBacklogs
from hookstream.processors.operations.queries.broker_clock import KafkaBrokerClock
from hookstream.processors.operations.queries.dead_letter_log import KafkaDeadLetters
from hookstream.processors.operations.queries.delivery_search import KafkaDeliveryLog
from hookstream.processors.operations.queries.sent_requests import SentRequests
from hookstream.processors.operations.queries.source_schemas import SourceSchemas
from hookstream.processors.operations.relays.endpoint_settings import EndpointSettingsStep
from hookstream.processors.operations.relays.endpoint_settings_writer import EndpointSettingsWriter
from hookstream.processors.operations.relays.hook_events import NoticeRelay, NoticeWriter
from hookstream.processors.operations.relays.notices import HookNotices
from hookstream.processors.operations.relays.relay import Relay
from hookstream.processors.operations.relays.subscription_writer import SubscriptionWriter
from hookstream.processors.operations.relays.subscriptions import SubscriptionsStep
from hookstream.processors.operations.replays.event_writer import EventWriter
from hookstream.processors.operations.replays.writer import ReplayWriter
from hookstream.processors.readiness import RepeatedCheck
from hookstream.processors.routing.progress import CommittedProgress
from hookstream.processors.serving.connections import ConnectionLimits
from hookstream.processors.serving.server import HttpServer
from hookstream.processors.source_topics import latest_schema
from hookstream.processors.tables.endpoint_settings import EndpointSettingsReader, SettingsBatch
from hookstream.processors.tables.subscription_reader import SubscriptionReader, TableBatch
from hookstream.producers.errors import DeliveryFailedError, NotRegisteredError, ProducerError
from hookstream.producers.event_producer import EventProducer
from hookstream.producers.receipt import Receipt as ProducedReceipt
from hookstream.schemas.catalogue import subject
from hookstream.schemas.codecs.dead_letters import dead_letter_decoder
from hookstream.schemas.codecs.deliveries import delivery_decoder, delivery_encoder
from hookstream.schemas.codecs.endpoint_settings import endpoint_settings_decoder, endpoint_settings_encoder
from hookstream.schemas.codecs.events import event_encoder
from hookstream.schemas.codecs.hooks import notice_decoder, subscription_decoder, subscription_encoder
from hookstream.schemas.delivery import Delivery
from hookstream.schemas.event import Event
from hookstream.schemas.event_schema import NOTICES
from hookstream.schemas.hook import Hook, ResyncMark
from hookstream.subscriptions.api import ApiDependencies, ApiLimits, MetricsPage, Rate, ReadinessCheck, create_app
from hookstream.subscriptions.changes import PendingReceipt, Receipt
from hookstream.subscriptions.database import Sessions, check_database, open_sessions
from hookstream.subscriptions.errors import DatabaseError, NotPublishedError
from hookstream.subscriptions.migrations import check_revision
from hookstream.subscriptions.portal import PortalConfig, install_portal
from hookstream.subscriptions.secrets import SecretBox
from hookstream.subscriptions.token_uses import TokenUses

from .process import Running, ThreadGroup
from .start_checks import check_start

_WARM_UP_S = 5.0
# A request for an event waits no longer than the API promises, and an event that was answered with a failure is not
# sent later.
_EVENT_TIMEOUT_S = 10.0
_STOP_S = 5
_LOOK_S = 0.2
_WRITE_USES_EVERY_S = 20.0
# Operators set few things, and this process wakes its own relay.
_SETTINGS_POLL_S = 0.2

_T = TypeVar("_T")
RowEncoder: TypeAlias = Callable[[Hook | ResyncMark], bytes]


def run_api(
    deps: Deps,
    engine: Engine,
    box: SecretBox,
    listener: socket.socket,
    running: Running,
    *,
    more_checks: Mapping[str, ReadinessCheck] | None = None,
) -> None:
    """Serve the API and relay its changes until asked to stop. `engine` and `listener` stay the caller's to close.

    Raises:
        KafkaRefusedError, TopicMismatchError: what waiting does not mend.
    """
    sessions = open_sessions(engine)
    relay_ends = threading.Event()
    threads = ThreadGroup(running.stop)
    with ExitStack() as stack:
        progress = CommittedProgress(deps.kafka, deps.topics, deps.catalogue)
        stack.callback(progress.close)
        clock = KafkaBrokerClock(deps.kafka, deps.topics.control, now_ms=now_ms)
        stack.callback(clock.close)
        backlogs = KafkaBacklogs(deps.kafka, deps.topics, decode=delivery_decoder(deps.registry.schema_text_by_id))
        stack.callback(backlogs.close)
        writer = stack.enter_context(
            SubscriptionWriter(deps.kafka, deps.topics.subscriptions, encode=row_encoder(deps))
        )
        relay = Relay(
            SubscriptionsStep(sessions, writer, table_readers(deps), now_ms=now_ms, audit_days=deps.settings.audit_days)
        )
        settings_writer = stack.enter_context(
            EndpointSettingsWriter(
                deps.kafka,
                deps.topics.control,
                encode=_encoder(deps, deps.topics.control, endpoint_settings_encoder),
            )
        )
        settings_step = EndpointSettingsStep(sessions, settings_writer, _settings_readers(deps), now_ms=now_ms)
        endpoint_settings_relay = Relay(settings_step, poll_interval_s=_SETTINGS_POLL_S)
        notice_writer = stack.enter_context(
            NoticeWriter(
                deps.kafka,
                deps.topics.events(NOTICES),
                encode=_encoder(
                    deps,
                    deps.topics.events(NOTICES),
                    lambda schema_id: event_encoder(deps.catalogue, NOTICES, schema_id),
                ),
                told=running.metrics.notice_told,
            )
        )
        notice_relay = NoticeRelay(sessions, notice_writer)

        def changed() -> None:
            relay.wake()
            notice_relay.wake()

        notices = HookNotices(
            sessions,
            deps.topics,
            decode=notice_decoder(deps.registry.schema_text_by_id),
            now_ms=now_ms,
            changed=changed,
        )
        database = RepeatedCheck(_database_check(engine))
        events = _Events(deps, running.health)
        stack.callback(events.close)
        resender = stack.enter_context(
            ReplayWriter(deps.kafka, deps.topics, encode=_encoder(deps, deps.topics.replays, delivery_encoder))
        )
        source_schemas = SourceSchemas(
            deps.catalogue.sources,
            lambda source: latest_schema(deps.registry, source, deps.topics),
        )
        event_writer = EventWriter(deps.kafka)
        stack.callback(event_writer.close)
        token_uses = TokenUses()
        app = _app(
            deps,
            ApiDependencies(
                sessions=sessions,
                secret_box=box,
                now_ms=now_ms,
                target_policy=deps.targets.policy(),
                catalogue=deps.catalogue,
                client_ids=deps.settings.client_ids,
                events=events,
                router_progress=progress,
                broker_clock=clock,
                dead_letters=KafkaDeadLetters(
                    deps.kafka,
                    deps.topics,
                    catalogue=deps.catalogue,
                    schemas=deps.registry.schema_text_by_id,
                    writer=resender,
                    events=event_writer,
                ),
                delivery_log=KafkaDeliveryLog(
                    deps.kafka,
                    deps.topics,
                    decode=delivery_decoder(deps.registry.schema_text_by_id),
                    decode_dead_letter=dead_letter_decoder(deps.registry.schema_text_by_id),
                ),
                delivery_publisher=_Sender(resender),
                sent_requests=SentRequests(box, deps.targets.policy()),
                backlogs=backlogs,
                readiness={
                    "database": database,
                    "kafka": lambda: running.health.reasons.get("kafka"),
                    "schema registry": lambda: running.health.reasons.get("schema registry"),
                    "subscriptions topic": relay.trouble,
                    "control topic": endpoint_settings_relay.trouble,
                    "notices": notice_relay.trouble,
                    **(more_checks or {}),
                },
                metrics=lambda: MetricsPage(content=running.metrics.render(), content_type=CONTENT_TYPE_LATEST),
                source_schemas=source_schemas,
                changed=changed,
                settings_changed=endpoint_settings_relay.wake,
                portal=deps.settings.portal == "on",
                limits=ApiLimits(
                    max_events_body_bytes=deps.settings.api_max_body_bytes,
                    token_rate=Rate.per_second(deps.settings.api_token_rate),
                    publish_rate=Rate.per_second(deps.settings.api_publish_rate),
                ),
                token_uses=token_uses,
            ),
        )
        limits = ConnectionLimits(most=deps.settings.api_max_connections)
        server = HttpServer(app, limits=limits, stop_timeout_s=_STOP_S)
        spare_garbage_collection()
        threads.start("api", lambda: server.run(listener))
        threads.start("database check", lambda: database.run(running.stop))
        threads.start("token uses", lambda: _write_token_uses(token_uses, sessions, running.stop))
        threads.start("source schemas", lambda: source_schemas.run(running.stop))
        threads.start("event producer", lambda: _connect(deps, events, running))
        threads.start("hook notices", lambda: GroupReader(deps.kafka, notices).run(running.stop))
        threads.start("change relay", lambda: relay.run(relay_ends))
        threads.start("settings relay", lambda: endpoint_settings_relay.run(relay_ends))
        threads.start("notice relay", lambda: notice_relay.run(relay_ends))
        while not running.stop.wait(_LOOK_S):
            pass
        server.stop()
        relay_ends.set()
        for each in (relay, endpoint_settings_relay, notice_relay):
            each.wake()
        threads.join(deps.settings.stop_timeout_s)


def _app(deps: Deps, of_the_api: ApiDependencies) -> FastAPI:
    """The API, with the portal where it is wanted."""
    app = create_app(of_the_api)
    if of_the_api.portal:
        install_portal(app, of_the_api, PortalConfig(embed=deps.settings.portal_embed))
    return app


def now_ms() -> int:
    """Wall time in Unix milliseconds."""
    return time.time_ns() // 1_000_000


def row_encoder(deps: Deps) -> RowEncoder:
    """Encode rows of the subscriptions topic; the registry is asked for the schema's id when the first one is."""
    return _encoder(deps, deps.topics.subscriptions, subscription_encoder)


def _encoder(deps: Deps, topic: str, make: Callable[[int], Callable[[_T], bytes]]) -> Callable[[_T], bytes]:
    """Encode values of a topic; the registry is asked for the schema's id when the first one is."""

    @cache
    def encoder() -> Callable[[_T], bytes]:
        name = subject(topic)
        return make(deps.registry.id_for(name, deps.catalogue.subjects(deps.topics)[name]))

    def encode(value: _T) -> bytes:
        return encoder()(value)

    return encode


def table_readers(deps: Deps) -> Callable[[Callable[[TableBatch], None]], SubscriptionReader]:
    """Make readers of the subscriptions topic that hand over what they read."""

    def make(deliver: Callable[[TableBatch], None]) -> SubscriptionReader:
        decode = subscription_decoder(deps.registry.schema_text_by_id)
        return SubscriptionReader(deps.kafka, deps.topics.subscriptions, decode=decode, deliver=deliver)

    return make


def _settings_readers(deps: Deps) -> Callable[[Callable[[SettingsBatch], None]], EndpointSettingsReader]:
    """Make readers of the control topic that hand over what they read."""

    def make(deliver: Callable[[SettingsBatch], None]) -> EndpointSettingsReader:
        decode = endpoint_settings_decoder(deps.registry.schema_text_by_id)
        return EndpointSettingsReader(deps.kafka, deps.topics.control, decode=decode, deliver=deliver)

    return make


def _connect(deps: Deps, events: _Events, running: Running) -> None:
    """Check the topics and connect the producer, so that the first event waits for neither."""
    check_start(deps, running)
    until_available(
        "kafka",
        events.open,
        stop=running.stop,
        health=running.health,
        retriable=(*RETRIABLE, NotRegisteredError, DeliveryFailedError),
    )


def _write_token_uses(uses: TokenUses, sessions: Sessions, stop: StopSignal) -> None:
    """Write when tokens were used last, until asked to stop, and once more then."""
    stopping = False
    while not stopping:
        stopping = stop.wait(_WRITE_USES_EVERY_S)
        with suppress(DatabaseError):  # which `/readyz` says, too
            uses.write(sessions)


def _database_check(engine: Engine) -> ReadinessCheck:
    """Whether the database answers; its schema is looked at until it is right."""
    right: list[bool] = []

    def check() -> str | None:
        try:
            if right:
                check_database(engine)
            else:
                check_revision(engine)
                right.append(True)
        except DatabaseError as exc:
            return str(exc)
        return None

    return check


class _Events:
    """An `EventPublisher` on an `EventProducer`; before `open` has succeeded it takes nothing."""

    def __init__(self, deps: Deps, health: Health) -> None:
        self._health = health
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
            message = f"Kafka is not connected yet: {self._health.reasons.get('kafka', 'starting')}"
            raise NotPublishedError(message)
        try:
            return _Pending(self._producer.produce(event, traceparent=traceparent))
        except ProducerError as exc:
            raise NotPublishedError(str(exc)) from exc

    def close(self) -> None:
        """Wait for what is on its way, and disconnect."""
        self._producer.close(_STOP_S)


class _Sender:
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
