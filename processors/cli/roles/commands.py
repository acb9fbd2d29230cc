"""The roles: what runs for ever, each a process of its own, as many of each as you like."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from hookstream.processors.cli.deps import Deps

    from .process import Running


def api() -> None:
    """Serve the API on API_HOST:API_PORT and relay its changes to Kafka.

    Needs HOOKSTREAM_KAFKA_BOOTSTRAP_SERVERS, _SCHEMA_REGISTRY_URL, _DATABASE_URL and _SECRET_KEY (or _FILE). What is
    unavailable is waited for; /readyz says what. /healthz and /metrics are on the same port.
    """
    from hookstream.processors.cli.database import database_question, engine_for
    from hookstream.processors.cli.deps import needs_of, real_deps, secret_box
    from hookstream.processors.last_answers import Component
    from hookstream.processors.settings import Settings

    from .api import run_api
    from .process import listen, run_process

    settings = Settings.read("kafka_bootstrap_servers", "schema_registry_url", "database_url", "secret_key")
    deps, box = real_deps(settings), secret_box(*settings.keys())
    engine = engine_for(settings.database())
    try:
        with listen(settings.api_host, settings.api_port) as listener:
            needs = {**needs_of(deps), Component.DATABASE: database_question(engine)}
            run_process(
                "api",
                settings,
                lambda running: run_api(deps, engine, box, listener, running),
                needs=needs,
                listener=listener,
            )
    finally:
        engine.dispose()


def router() -> None:
    """Join events with hooks: read events.*, write a delivery for each hook to deliveries.

    Needs HOOKSTREAM_KAFKA_BOOTSTRAP_SERVERS and _SCHEMA_REGISTRY_URL. /healthz, /readyz and /metrics are on
    METRICS_PORT, 9400 by default.
    """
    from hookstream.processors.cli.deps import needs_of, real_deps
    from hookstream.processors.settings import Settings

    from .process import run_process
    from .router import run_router

    settings = Settings.read("kafka_bootstrap_servers", "schema_registry_url")
    deps = real_deps(settings)
    run_process("router", settings, lambda running: run_router(deps, running), needs=needs_of(deps))


def deliver() -> None:
    """Post deliveries to their targets, in order per resource, and commit what is done.

    Needs HOOKSTREAM_KAFKA_BOOTSTRAP_SERVERS, _SCHEMA_REGISTRY_URL and _SECRET_KEY (or _FILE). /healthz, /readyz and
    /metrics are on METRICS_PORT, 9401 by default.
    """
    from hookstream.processors.cli.deps import needs_of, real_deps, secret_box
    from hookstream.processors.settings import Settings

    from .deliver import http_config, run_deliver
    from .process import run_process

    settings = Settings.read("kafka_bootstrap_servers", "schema_registry_url", "secret_key")
    deps, box = real_deps(settings), secret_box(*settings.keys())
    http_config(settings)  # a proxy that is none is said before anything starts
    run_process("deliver", settings, lambda running: run_deliver(deps, box, running), needs=needs_of(deps))


def attempt_log() -> None:
    """Write the result of every request to the database, and delete it after ATTEMPT_LOG_DAYS.

    Needs HOOKSTREAM_KAFKA_BOOTSTRAP_SERVERS, _SCHEMA_REGISTRY_URL and _DATABASE_URL. Deliveries never wait for it.
    /healthz, /readyz and /metrics are on METRICS_PORT, 9402 by default.
    """
    from hookstream.processors.cli.database import engine_for

    from .attempt_log import run_attempt_log

    _run_with_database("attempt-log", run_attempt_log, engine_for)


def replayer() -> None:
    """Count and send the requested replays: read a window of the log again, write it to deliveries.replay.

    Needs HOOKSTREAM_KAFKA_BOOTSTRAP_SERVERS, _SCHEMA_REGISTRY_URL and _DATABASE_URL. One replayer works on a replay; if
    it is killed, another continues. /healthz, /readyz and /metrics are on METRICS_PORT, 9403 by default.
    """
    from hookstream.processors.cli.database import engine_for

    from .replayer import run_replayer

    _run_with_database("replayer", run_replayer, engine_for)


def outbox_relay() -> None:
    """Send what a producing service committed to its outbox; one relay works, the others wait.

    Needs HOOKSTREAM_KAFKA_BOOTSTRAP_SERVERS, _SCHEMA_REGISTRY_URL, and in _DATABASE_URL the service's own database,
    which holds the table hookstream_outbox. /healthz, /readyz and /metrics are on METRICS_PORT, 9404 by default.
    """
    from hookstream.processors.cli.database import service_engine

    from .outbox_relay import run_outbox_relay

    _run_with_database("outbox-relay", run_outbox_relay, service_engine)


def _run_with_database(
    name: str, role: Callable[[Deps, Engine, Running], None], open_engine: Callable[[str], Engine]
) -> None:
    from hookstream.processors.cli.database import database_question
    from hookstream.processors.cli.deps import needs_of, real_deps
    from hookstream.processors.last_answers import Component
    from hookstream.processors.settings import Settings

    from .process import run_process

    settings = Settings.read("kafka_bootstrap_servers", "schema_registry_url", "database_url")
    deps, engine = real_deps(settings), open_engine(settings.database())
    try:
        needs = {**needs_of(deps), Component.DATABASE: database_question(engine)}
        run_process(name, settings, lambda running: role(deps, engine, running), needs=needs)
    finally:
        engine.dispose()
