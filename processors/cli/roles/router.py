"""The router as it runs."""

from __future__ import annotations

from hookstream.processors.cli.parts import Parts
from hookstream.processors.lifecycle import until_available
from hookstream.processors.routing.router import Router, RouterConfig, run
from hookstream.processors.topics import check_topics

from .process import Running


def run_router(parts: Parts, running: Running) -> None:
    """Route until asked to stop.

    Raises:
        TopicMismatchError: a topic is not what this deployment needs.
        ProcessorError: why it failed; start it again.
        RegistryError: the registry says no.
    """
    config = RouterConfig(
        kafka=parts.kafka,
        topics=parts.topics,
        catalogue=parts.catalogue,
        max_event_bytes=parts.settings.max_event_bytes,
        drain_timeout_s=parts.settings.stop_timeout_s,
        tracing=parts.settings.tracing,
    )
    router = Router(config, parts.registry, stop=running.stop, health=running.health, metrics=running.metrics)
    until_available("kafka", lambda: check_topics(parts.kafka, parts.specs), stop=running.stop, health=running.health)
    run(router, running.stop)
