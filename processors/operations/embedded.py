"""The embedded parts: Kafka and the schema registry inside this process, for `demo`, `up` and fast tests.

Kafka is librdkafka's mock cluster: topics appear on first use with four partitions, 5 MiB each, in memory; there is no
admin API, no compaction and no look-up by time. It lives as long as the `EmbeddedKafka` object.
"""

from __future__ import annotations

import uuid

from confluent_kafka import Producer

from hookstream.processors.kafka import REQUEST_TIMEOUT_S, KafkaConfig, translated
from hookstream.processors.topics import register_schemas
from hookstream.producers.registry import SchemaRegistry
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.topics import TopicNames


class EmbeddedKafka:
    """A mock cluster; any client in any process on this machine can use its `bootstrap_servers` while it lives."""

    def __init__(self, *, brokers: int = 1) -> None:
        """Start it; takes some 60 ms.

        Raises:
            KafkaUnavailableError: it does not answer.
        """
        with translated("the embedded Kafka does not start"):
            owner = Producer({"bootstrap.servers": "unused", "test.mock.num.brokers": brokers, "log_level": 0})
            found = owner.list_topics(timeout=REQUEST_TIMEOUT_S).brokers.values()
        self._owner: Producer | None = owner
        self.bootstrap_servers = ",".join(f"{broker.host}:{broker.port}" for broker in found)

    @property
    def config(self) -> KafkaConfig:
        """How to reach it."""
        return KafkaConfig(bootstrap_servers=self.bootstrap_servers, embedded=True)

    def stop(self) -> None:
        """End it, with everything that it holds. Close its clients first. Calling it twice is harmless."""
        self._owner = None


def embedded_registry(catalogue: Catalogue, topics: TopicNames) -> SchemaRegistry:
    """Make a registry inside this process that knows every schema of the deployment; its URL finds it again here."""
    registry = SchemaRegistry(f"mock://hookstream-{uuid.uuid4().hex}")
    register_schemas(registry, catalogue, topics)
    return registry
