"""Every role in one process, on the embedded Kafka and registry and an SQLite file: what `demo` and `up` run on."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_network

import httpx
from sqlalchemy import Engine

from hookstream.processors.cli.console import CommandError
from hookstream.processors.cli.database import engine_for
from hookstream.processors.cli.deps import Deps, secret_box
from hookstream.processors.cli.roles.api import run_api
from hookstream.processors.cli.roles.attempt_log import run_attempt_log
from hookstream.processors.cli.roles.deliver import run_deliver
from hookstream.processors.cli.roles.process import Running, ThreadGroup, url_of
from hookstream.processors.cli.roles.replayer import run_replayer
from hookstream.processors.cli.roles.router import run_router
from hookstream.processors.cli.roles.topic_codecs import row_encoder, table_readers
from hookstream.processors.deadline import Deadline
from hookstream.processors.delivery.http.target_rules import TargetRules
from hookstream.processors.errors import StoppedError
from hookstream.processors.lifecycle import Health, StopSignal
from hookstream.processors.metrics import Metrics
from hookstream.processors.operations.embedded import EmbeddedKafka, embedded_registry
from hookstream.processors.operations.relays.resync import resync
from hookstream.processors.operations.relays.subscription_writer import SubscriptionWriter
from hookstream.processors.serving.connections import ConnectionLimits
from hookstream.processors.serving.server import HttpServer
from hookstream.processors.settings import Settings
from hookstream.processors.topics import create_topics
from hookstream.processors.wall_clock import now_ms
from hookstream.producers.registry import mock_client
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.database import open_sessions
from hookstream.subscriptions.migrations import migrate

from .port_forward import forward
from .registry_app import registry_app

_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
# On a machine that does much else everything takes many times as long as alone.
_READY_WITHIN_S = 120.0
_LOOK_S = 0.02
_JOIN_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """What runs. `engine` is the database's; `api_url` is where the API listens.

    `bootstrap_servers` and `registry_url` are for other processes of this machine; no registry is served without a
    listener for it.
    """

    deps: Deps
    engine: Engine
    api_url: str
    bootstrap_servers: str
    registry_url: str | None
    stop: StopSignal

    def wait_ready(self) -> None:
        """Return when the API says that it and every other role is ready.

        Raises:
            StoppedError: a stop was asked for, or a role failed.
            CommandError: it takes too long; the message says what is missing.
        """
        deadline = Deadline.after(_READY_WITHIN_S)
        with httpx.Client(base_url=self.api_url, timeout=_READY_WITHIN_S, trust_env=False) as http:
            while (missing := _missing(http)) is not None:
                if self.stop.wait(_LOOK_S):
                    raise StoppedError("asked to stop before everything was ready")
                if deadline.over:
                    message = f"not ready within {_READY_WITHIN_S:.0f} s: {missing}"
                    raise CommandError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """Where the API listens, and where other processes find the registry and Kafka.

    Without one of its own the registry is for this process alone, and Kafka has the port that it chose itself.
    """

    api: socket.socket
    registry: socket.socket | None = None
    kafka: socket.socket | None = None


@contextmanager
def embedded_roles(
    settings: Settings, *, database_url: str, secret_key: bytes, listeners: Listeners, stop: StopSignal
) -> Iterator[Embedded]:
    """Start the parts and the roles, and stop them at the end.

    Loopback targets are allowed, and nothing else of a deployment's own is looked at but its catalogue and its limits.

    Raises:
        CommandError: the roles did not stop in time.
        Exception: at the end: what one of the roles failed with.
    """
    kafka = EmbeddedKafka()
    catalogue, topics = settings.catalogue(), TopicNames()
    deps = Deps(
        settings=settings.model_copy(update={"egress_proxy": None}),
        kafka=kafka.config,
        registry=embedded_registry(catalogue, topics),
        topics=topics,
        catalogue=catalogue,
        targets=TargetRules(allowed_networks=_LOOPBACK),
    )
    create_topics(deps.kafka, deps.specs)
    migrate(database_url)
    engine = engine_for(database_url)
    _fill_subscriptions(deps, engine)
    metrics = Metrics()
    router, deliver, attempt_log, replayer, api = (Running(stop=stop, metrics=metrics) for _ in range(5))
    box = secret_box(secret_key)
    checks = {
        "router": _check(router.health),
        "deliver": _check(deliver.health),
        "attempt-log": _check(attempt_log.health),
        "replayer": _check(replayer.health),
    }
    threads = ThreadGroup(stop)
    threads.start("router", lambda: run_router(deps, router))
    threads.start("deliver", lambda: run_deliver(deps, box, deliver))
    threads.start("attempt-log", lambda: run_attempt_log(deps, engine, attempt_log))
    threads.start("replayer", lambda: run_replayer(deps, engine, replayer))
    threads.start("api", lambda: run_api(deps, engine, box, listeners.api, api, more_checks=checks))
    try:
        yield Embedded(
            deps=deps,
            engine=engine,
            api_url=url_of(listeners.api),
            bootstrap_servers=_offer_kafka(kafka, listeners.kafka, threads, stop),
            registry_url=_serve_registry(deps.registry.url, listeners.registry, threads, stop),
            stop=stop,
        )
    finally:
        stop.ask()
        try:
            threads.join(deps.settings.stop_timeout_s + _JOIN_S)
        finally:
            engine.dispose()
            kafka.stop()


def _offer_kafka(kafka: EmbeddedKafka, listener: socket.socket | None, threads: ThreadGroup, stop: StopSignal) -> str:
    """Where other processes of this machine find it."""
    if listener is None:
        return kafka.bootstrap_servers
    host, _, port = kafka.bootstrap_servers.rpartition(":")
    threads.start("kafka port", lambda: forward(listener, host, int(port), stop))
    return "{}:{}".format(*listener.getsockname()[:2])


def _serve_registry(url: str, listener: socket.socket | None, threads: ThreadGroup, stop: StopSignal) -> str | None:
    """Its URL for other processes; None without a listener."""
    if listener is None:
        return None
    server = HttpServer(registry_app(mock_client(url)), limits=ConnectionLimits(), stop_timeout_s=1)
    threads.start("registry", lambda: server.run(listener))
    threads.start("registry's end", lambda: _stop_with(stop, server))
    return url_of(listener)


def _stop_with(stop: StopSignal, server: HttpServer) -> None:
    while not stop.wait(_LOOK_S):
        pass
    server.stop()


def _missing(http: httpx.Client) -> str | None:
    """What is not ready, as the API says; None: everything is."""
    try:
        answer = http.get("/readyz")
        if answer.is_success:
            return None
        checks = answer.json()["checks"].items()
    except (httpx.HTTPError, ValueError) as exc:  # it stops, or does not serve yet
        return f"no answer from the API ({type(exc).__name__})"
    return "; ".join(f"{part}: {reason}" for part, reason in checks if reason != "ok")


def _check(health: Health) -> Callable[[], str | None]:
    return lambda: "; ".join(f"{part}: {reason}" for part, reason in health.reasons.items()) or None


def _fill_subscriptions(deps: Deps, engine: Engine) -> None:
    """Write every hook of the database to the topic, which is empty: the embedded Kafka forgets, SQLite does not."""
    with SubscriptionWriter(deps.kafka, deps.topics.subscriptions, encode=row_encoder(deps)) as writer:
        resync(open_sessions(engine), writer, table_readers(deps), actor="embedded", now_ms=now_ms)
