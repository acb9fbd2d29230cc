"""The relay of operators' wishes with real parts, in this process or, killed at a chosen moment, in one of its own.

As a program: `python wish_relay.py MODE BOOTSTRAP TOPIC DATABASE_URL`, where MODE is one of `MODES`.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.operations.relays.endpoint_settings import WishRelay, WishRelayConfig
from hookstream.processors.operations.relays.endpoint_settings_writer import WishWriter
from hookstream.processors.tables.endpoint_settings import ControlReader
from hookstream.processors.topic_specs import TopicLimits, topic_specs
from hookstream.processors.topics import create_topics
from hookstream.schemas.catalogue import Catalogue, InternalSchema
from hookstream.schemas.codec import wish_decoder, wish_encoder
from hookstream.subscriptions.database import Sessions, open_database, open_sessions
from tests.support.subscription_relay import now_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hookstream.processors.tables.endpoint_settings import WishBatch
    from hookstream.schemas.control import EndpointWish
    from hookstream.schemas.topics import TopicNames
    from hookstream.subscriptions.wish_publication import PublishedWish

ENCODE = wish_encoder(1)
DECODE = wish_decoder(lambda _: InternalSchema.CONTROL.text)


@dataclass
class ControlTopic:
    """The `control` topic of a test."""

    kafka: KafkaConfig
    name: str

    @classmethod
    def make(cls, bootstrap_servers: str, names: TopicNames) -> ControlTopic:
        """Make the topic as a deployment does."""
        kafka = KafkaConfig(bootstrap_servers=bootstrap_servers)
        specs = topic_specs(names, Catalogue.shipped(), TopicLimits())
        create_topics(kafka, [spec for spec in specs if spec.name == names.control], replication_factor=1)
        return cls(kafka, names.control)

    def reader(self, deliver: Callable[[WishBatch], None]) -> ControlReader:
        """Read it as the relay does."""
        return ControlReader(self.kafka, self.name, decode=DECODE, deliver=deliver)

    def wishes(self) -> list[EndpointWish]:
        """Everything that is in it now."""
        found: list[EndpointWish] = []
        reader = self.reader(lambda batch: found.extend(wish for _, _, wish in batch.wishes))
        reader.open()
        try:
            ends = time.monotonic() + 20
            while not reader.loaded:
                assert time.monotonic() < ends, "the topic was not read to its end"
                reader.step(0.2)
        finally:
            reader.close()
        return found

    def relay(self, sessions: Sessions, writer: type[WishWriter] = WishWriter) -> WishRelay:
        """Make a relay to it."""
        return WishRelay(
            sessions,
            writer(self.kafka, self.name, encode=ENCODE),
            self.reader,
            now_ms=now_ms,
            config=WishRelayConfig(poll_interval_s=0.01, retry_after_s=0.05),
        )


class DyingBeforeWriter(WishWriter):
    """kill -9 between the commit of a wish and its publication."""

    def publish(self, wishes: Sequence[EndpointWish]) -> Sequence[PublishedWish]:
        """Die."""
        os.kill(os.getpid(), signal.SIGKILL)
        return super().publish(wishes)


class DyingAfterWriter(WishWriter):
    """kill -9 between the acknowledgement of Kafka and the commit that remembers it."""

    def publish(self, wishes: Sequence[EndpointWish]) -> Sequence[PublishedWish]:
        """Publish and die."""
        super().publish(wishes)
        os.kill(os.getpid(), signal.SIGKILL)
        return ()


MODES = {"dies-before": DyingBeforeWriter, "dies-after": DyingAfterWriter}


def main(mode: str, bootstrap_servers: str, topic_name: str, database_url: str) -> None:
    """Run one relay, hurt as `mode` says."""
    topic = ControlTopic(KafkaConfig(bootstrap_servers=bootstrap_servers), topic_name)
    topic.relay(open_sessions(open_database(database_url)), MODES[mode]).run(threading.Event())


if __name__ == "__main__":
    main(*sys.argv[1:])
