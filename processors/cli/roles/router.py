"""The router as it runs."""

from __future__ import annotations

import structlog

from hookstream.processors.cli.deps import Deps
from hookstream.processors.lifecycle import until_available
from hookstream.processors.routing.router import Router, RouterConfig, run
from hookstream.processors.source_topics import missing_topics

from .process import Running
from .start_checks import check_start

log = structlog.get_logger("hookstream.router")


def run_router(deps: Deps, running: Running) -> None:
    """Route until asked to stop.

    Raises:
        TopicMismatchError: a topic is not what this deployment needs.
        ProcessorError: why it failed; start it again.
        RegistryError: the registry says no.
    """
    config = RouterConfig(
        kafka=deps.kafka,
        topics=deps.topics,
        catalogue=deps.catalogue,
        max_event_bytes=deps.settings.max_event_bytes,
        max_body_bytes=deps.settings.max_body_bytes,
        drain_timeout_s=deps.settings.stop_timeout_s,
        operator_client=deps.settings.operator_client,
        tracing=deps.settings.tracing,
    )
    router = Router(config, deps.registry, stop=running.stop, health=running.health, metrics=running.metrics)
    check_start(deps, running)
    for missing in until_available("kafka", lambda: _missing(deps), stop=running.stop, health=running.health):
        log.warning("a topic is not there: it is read from when another service has made it", detail=missing)
    run(router, running.stop)


def _missing(deps: Deps) -> list[str]:
    return missing_topics(deps.kafka, deps.catalogue.sources, deps.topics)
