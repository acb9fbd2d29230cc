"""What the tests of both relays need: a topic as a deployment makes it, its records, and writers that are killed."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.operations.acknowledged_writer import Acknowledged, AcknowledgedWriter, NewRecord
from hookstream.processors.topic_specs import TopicLimits, topic_specs
from hookstream.processors.topics import create_topics
from hookstream.schemas.catalogue import Catalogue
from tests.support.wait import WITHIN_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hookstream.processors.operations.relays.relay import TopicReader
    from hookstream.schemas.topics import TopicNames


def now_ms() -> int:
    """Wall time."""
    return time.time_ns() // 1_000_000


def make_topic(bootstrap_servers: str, names: TopicNames, name: str) -> KafkaConfig:
    """Make one topic as a deployment does."""
    kafka = KafkaConfig(bootstrap_servers=bootstrap_servers)
    specs = topic_specs(names, Catalogue.shipped(), TopicLimits())
    create_topics(kafka, [spec for spec in specs if spec.name == name], replication_factor=1)
    return kafka


def read_to_end(reader: TopicReader) -> None:
    """Read everything that is in a topic now."""
    reader.open()
    try:
        ends = time.monotonic() + WITHIN_S
        while not reader.loaded:
            assert time.monotonic() < ends, "the topic was not read to its end"
            reader.step(0.2)
    finally:
        reader.close()


class KilledBefore(AcknowledgedWriter):
    """kill -9 between the commit of a change and its publication."""

    def write(self, records: Sequence[NewRecord]) -> Sequence[Acknowledged]:
        """Die."""
        os.kill(os.getpid(), signal.SIGKILL)
        return super().write(records)


class KilledAfter(AcknowledgedWriter):
    """kill -9 between the acknowledgement of Kafka and the commit that remembers it."""

    def write(self, records: Sequence[NewRecord]) -> Sequence[Acknowledged]:
        """Publish and die."""
        super().write(records)
        os.kill(os.getpid(), signal.SIGKILL)
        return ()
