"""What every role depends on: Kafka, the registry, and the settings of the deployment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hookstream.processors.delivery.http.target_rules import TargetRules
from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.last_answers import Component, kafka_question
from hookstream.processors.settings import Settings
from hookstream.processors.topic_specs import TopicSpec, topic_specs
from hookstream.producers.config import SAFETY, ProducerConfig
from hookstream.producers.event_producer import EventProducer
from hookstream.producers.registry import SchemaRegistry
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.secrets import MasterKey, SecretBox


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """What every role of one deployment shares."""

    settings: Settings
    kafka: KafkaConfig
    registry: SchemaRegistry
    topics: TopicNames
    catalogue: Catalogue
    targets: TargetRules

    @property
    def specs(self) -> tuple[TopicSpec, ...]:
        """Every topic of the deployment."""
        return topic_specs(self.topics, self.catalogue, self.settings.topic_limits())


def real_deps(settings: Settings) -> Deps:
    """Where the settings say that Kafka and the registry are; nothing is connected yet.

    Raises:
        SettingsError: they do not say it.
    """
    return Deps(
        settings=settings,
        kafka=settings.kafka(),
        registry=SchemaRegistry(settings.registry_url()),
        topics=settings.topics(),
        catalogue=settings.catalogue(),
        targets=settings.target_rules(),
    )


def needs_of(deps: Deps) -> dict[Component, Callable[[], object]]:
    """What every role needs, each with a question that shows whether it answers; nothing is asked yet."""
    return {
        Component.KAFKA: kafka_question(deps.kafka, deps.topics.control),
        Component.REGISTRY: deps.registry.require_answer,
    }


def secret_box(*keys: bytes) -> SecretBox:
    """What hooks' secrets are sealed with (the first key), and opened with (any of them)."""
    return SecretBox(tuple(map(MasterKey, keys)))


def event_producer(
    deps: Deps, *, source: str, deadline_s: float = 30.0, message_timeout_s: float = 120.0
) -> EventProducer:
    """A producer of events; nothing is sent yet. `deadline_s`: how long a call waits for the registry, or for room.

    Raises:
        ProducerConfigError: the Kafka options do not fit.
    """
    # The promises' own keys are fixed; that a deployment repeats them for other clients is no contradiction.
    options = {key: value for key, value in deps.kafka.options.items() if key not in SAFETY}
    config = ProducerConfig(
        bootstrap_servers=deps.kafka.bootstrap_servers,
        schema_registry_url=deps.registry.url,
        # What matters of its own log lines comes as an error of the call.
        kafka_options={"message.max.bytes": deps.settings.max_event_bytes, "log_level": 0, **options},
        topics=deps.topics,
        source=source,
        message_timeout_s=message_timeout_s,
        queue_deadline_s=deadline_s,
        registry_deadline_s=deadline_s,
    )
    return EventProducer(config, catalogue=deps.catalogue, registry=deps.registry)
