"""The API as it runs: the web server, the relay of changes, the workers' notices, and what connects them with Kafka.

It answers from the first moment, and says in `/readyz` what it still waits for: hooks can be registered while Kafka is
unavailable, and their rows are published when it is back.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass

from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy import Engine

from hookstream.processors.cli.deps import Deps
from hookstream.processors.lifecycle import RETRIABLE, Health, StopSignal, spare_garbage_collection, until_available
from hookstream.processors.operations.queries.backlog import KafkaBacklogs
from hookstream.processors.operations.queries.broker_clock import KafkaBrokerClock
from hookstream.processors.operations.queries.dead_letter_log import KafkaDeadLetters
from hookstream.processors.operations.queries.delivery_search import KafkaDeliveryLog
from hookstream.processors.operations.queries.sent_requests import SentRequests
from hookstream.processors.operations.queries.source_schemas import SourceSchemas
from hookstream.processors.operations.replays.event_writer import EventWriter
from hookstream.processors.operations.replays.writer import ReplayWriter
from hookstream.processors.readiness import RepeatedCheck
from hookstream.processors.routing.progress import CommittedProgress
from hookstream.processors.serving.connections import ConnectionLimits
from hookstream.processors.serving.server import HttpServer
from hookstream.processors.source_topics import latest_schema
from hookstream.processors.wall_clock import now_ms
from hookstream.producers.errors import DeliveryFailedError, NotRegisteredError
from hookstream.schemas.codecs.dead_letters import dead_letter_decoder
from hookstream.schemas.codecs.deliveries import delivery_decoder, delivery_encoder
from hookstream.subscriptions.api import ApiDependencies, ApiLimits, MetricsPage, Rate, ReadinessCheck, create_app
from hookstream.subscriptions.database import Sessions, check_database, open_sessions
from hookstream.subscriptions.errors import DatabaseError
from hookstream.subscriptions.migrations import check_revision
from hookstream.subscriptions.portal import PortalConfig, install_portal
from hookstream.subscriptions.secrets import SecretBox
from hookstream.subscriptions.token_uses import TokenUses

from .api_publishers import EVENT_PRODUCER, KafkaDeliveries, KafkaEvents
from .api_relays import ApiRelays, open_relays
from .process import Running, ThreadGroup
from .start_checks import check_start
from .topic_codecs import value_encoder

_STOP_S = 5
_LOOK_S = 0.2
_WRITE_USES_EVERY_S = 20.0


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
    threads = ThreadGroup(running.stop)
    with ExitStack() as stack:
        relays = open_relays(deps, sessions, running, stack)
        database = RepeatedCheck(_database_check(engine))
        events = stack.enter_context(closing(KafkaEvents(deps, running.health)))
        schemas = SourceSchemas(
            deps.catalogue.sources, lambda source: latest_schema(deps.registry, source, deps.topics)
        )
        token_uses = TokenUses()
        asked = _dependencies(
            _Parts(sessions, box, running, relays, events, schemas, token_uses),
            deps,
            {"database": database, **(more_checks or {})},
            stack,
        )
        limits = ConnectionLimits(most=deps.settings.api_max_connections)
        server = HttpServer(_app(deps, asked), limits=limits, stop_timeout_s=_STOP_S)
        spare_garbage_collection()
        threads.start("api", lambda: server.run(listener))
        threads.start("database check", lambda: database.run(running.stop))
        threads.start("token uses", lambda: _write_token_uses(token_uses, sessions, running.stop))
        threads.start("source schemas", lambda: schemas.run(running.stop))
        threads.start("event producer", lambda: connect(deps, events, running))
        relays.start(threads, running)
        while not running.stop.wait(_LOOK_S):
            pass
        server.stop()
        relays.stop()
        threads.join(deps.settings.stop_timeout_s)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the role itself runs or starts, and the API asks."""

    sessions: Sessions
    box: SecretBox
    running: Running
    relays: ApiRelays
    events: KafkaEvents
    schemas: SourceSchemas
    token_uses: TokenUses


def _dependencies(parts: _Parts, deps: Deps, checks: Mapping[str, ReadinessCheck], stack: ExitStack) -> ApiDependencies:
    """What the API's routes ask; `stack` closes what is opened for it."""
    kafka, topics, settings, running = deps.kafka, deps.topics, deps.settings, parts.running
    schema_text = deps.registry.schema_text_by_id
    decode = delivery_decoder(schema_text)
    replayed = stack.enter_context(
        ReplayWriter(kafka, topics, encode=value_encoder(deps, topics.replays, delivery_encoder))
    )
    resent = stack.enter_context(closing(EventWriter(kafka)))
    return ApiDependencies(
        sessions=parts.sessions,
        secret_box=parts.box,
        now_ms=now_ms,
        target_policy=deps.targets.policy(),
        catalogue=deps.catalogue,
        client_ids=settings.client_ids,
        events=parts.events,
        router_progress=stack.enter_context(closing(CommittedProgress(kafka, topics, deps.catalogue))),
        broker_clock=stack.enter_context(closing(KafkaBrokerClock(kafka, topics.control, now_ms=now_ms))),
        dead_letters=KafkaDeadLetters(
            kafka, topics, catalogue=deps.catalogue, schemas=schema_text, writer=replayed, events=resent
        ),
        delivery_log=KafkaDeliveryLog(
            kafka, topics, decode=decode, decode_dead_letter=dead_letter_decoder(schema_text)
        ),
        delivery_publisher=KafkaDeliveries(replayed),
        sent_requests=SentRequests(parts.box, deps.targets.policy()),
        backlogs=stack.enter_context(closing(KafkaBacklogs(kafka, topics, decode=decode))),
        readiness={**readiness_checks(running.health), **parts.relays.checks, **checks},
        metrics=lambda: MetricsPage(content=running.metrics.render(), content_type=CONTENT_TYPE_LATEST),
        source_schemas=parts.schemas,
        changed=parts.relays.hooks_changed,
        settings_changed=parts.relays.settings.wake,
        portal=settings.portal == "on",
        limits=ApiLimits(
            max_events_body_bytes=settings.api_max_body_bytes,
            token_rate=Rate.per_second(settings.api_token_rate),
            publish_rate=Rate.per_second(settings.api_publish_rate),
        ),
        token_uses=parts.token_uses,
    )


def readiness_checks(health: Health) -> dict[str, ReadinessCheck]:
    """What the role waits for at its start, and what is silent later, by the name that `/readyz` gives it."""

    def check(part: str) -> ReadinessCheck:
        return lambda: health.reasons.get(part)

    return {part: check(part) for part in ("kafka", "schema registry", EVENT_PRODUCER)}


def _app(deps: Deps, of_the_api: ApiDependencies) -> FastAPI:
    """The API, with the portal where it is wanted."""
    app = create_app(of_the_api)
    if of_the_api.portal:
        install_portal(app, of_the_api, PortalConfig(embed=deps.settings.portal_embed))
    return app


def connect(deps: Deps, events: KafkaEvents, running: Running) -> None:
    """Check the topics and connect the producer, so that the first event waits for neither; ready only after both."""
    check_start(deps, running)
    until_available(
        EVENT_PRODUCER,
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
