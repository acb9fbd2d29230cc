"""What every role looks at before it reads or writes: its topics, and whether this release can read what they hold."""

from __future__ import annotations

from hookstream.processors.cli.deps import Deps
from hookstream.processors.lifecycle import until_available
from hookstream.processors.topics import check_readable, check_topics

from .process import Running


def check_start(deps: Deps, running: Running) -> None:
    """Wait for Kafka and the registry, and check the deployment's topics.

    Raises:
        TopicMismatchError: a topic is not what this deployment needs, or holds what this release cannot read.
        KafkaRefusedError, RegistryRefusedError: no right to look.
    """
    stop, health = running.stop, running.health
    until_available("kafka", lambda: check_topics(deps.kafka, deps.specs), stop=stop, health=health)
    if not deps.registry.is_mock:  # which begins empty with every process
        until_available("schema registry", lambda: check_readable(deps.registry, deps.topics), stop=stop, health=health)
