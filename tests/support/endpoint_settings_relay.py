"""The relay of operators' settings with real parts, in this process or, killed at a chosen moment, in one of its own.

As a program: `python endpoint_settings_relay.py MODE BOOTSTRAP TOPIC DATABASE_URL`, where MODE is one of `MODES`.
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
from hookstream.processors.operations.relays.endpoint_settings import EndpointSettingsRelay, EndpointSettingsRelayConfig
from hookstream.processors.operations.relays.endpoint_settings_writer import EndpointSettingsWriter
from hookstream.processors.tables.endpoint_settings import EndpointSettingsReader
from hookstream.processors.topic_specs import TopicLimits, topic_specs
from hookstream.processors.topics import create_topics
from hookstream.schemas.catalogue import Catalogue, InternalSchema
from hookstream.schemas.codec import endpoint_settings_decoder, endpoint_settings_encoder
from hookstream.schemas.control import EndpointSettings
from hookstream.subscriptions.database import Sessions, open_database, open_sessions
from tests.support.subscription_relay import now_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hookstream.processors.tables.endpoint_settings import SettingsBatch
    from hookstream.schemas.topics import TopicNames
    from hookstream.subscriptions.endpoint_settings_publication import PublishedSettings

ENCODE = endpoint_settings_encoder(1)
DECODE = endpoint_settings_decoder(lambda _: InternalSchema.CONTROL.text)


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

    def reader(self, deliver: Callable[[SettingsBatch], None]) -> EndpointSettingsReader:
        """Read it as the relay does."""
        return EndpointSettingsReader(self.kafka, self.name, decode=DECODE, deliver=deliver)

    def settings(self) -> list[EndpointSettings]:
        """Everything that is in it now."""
        found: list[EndpointSettings] = []
        reader = self.reader(
            lambda batch: found.extend(each.row for each in batch.records if isinstance(each.row, EndpointSettings))
        )
        reader.open()
        try:
            ends = time.monotonic() + 20
            while not reader.loaded:
                assert time.monotonic() < ends, "the topic was not read to its end"
                reader.step(0.2)
        finally:
            reader.close()
        return found

    def relay(
        self, sessions: Sessions, writer: type[EndpointSettingsWriter] = EndpointSettingsWriter
    ) -> EndpointSettingsRelay:
        """Make a relay to it."""
        return EndpointSettingsRelay(
            sessions,
            writer(self.kafka, self.name, encode=ENCODE),
            self.reader,
            now_ms=now_ms,
            config=EndpointSettingsRelayConfig(poll_interval_s=0.01, retry_after_s=0.05),
        )


class DyingBeforeWriter(EndpointSettingsWriter):
    """kill -9 between the commit of settings and its publication."""

    def publish(self, settings: Sequence[EndpointSettings]) -> Sequence[PublishedSettings]:
        """Die."""
        os.kill(os.getpid(), signal.SIGKILL)
        return super().publish(settings)


class DyingAfterWriter(EndpointSettingsWriter):
    """kill -9 between the acknowledgement of Kafka and the commit that remembers it."""

    def publish(self, settings: Sequence[EndpointSettings]) -> Sequence[PublishedSettings]:
        """Publish and die."""
        super().publish(settings)
        os.kill(os.getpid(), signal.SIGKILL)
        return ()


MODES = {"dies-before": DyingBeforeWriter, "dies-after": DyingAfterWriter}


def main(mode: str, bootstrap_servers: str, topic_name: str, database_url: str) -> None:
    """Run one relay, hurt as `mode` says."""
    topic = ControlTopic(KafkaConfig(bootstrap_servers=bootstrap_servers), topic_name)
    topic.relay(open_sessions(open_database(database_url)), MODES[mode]).run(threading.Event())


if __name__ == "__main__":
    main(*sys.argv[1:])
