"""The relay of endpoint settings with real parts, in this process or, killed at a chosen moment, in one of its own.

As a program: `python -m tests.support.endpoint_settings_relay MODE BOOTSTRAP TOPIC DATABASE_URL`, where MODE is one of
`MODES`.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.operations.relays.endpoint_settings import EndpointSettingsStep
from hookstream.processors.operations.relays.endpoint_settings_writer import EndpointSettingsWriter
from hookstream.processors.operations.relays.relay import Relay
from hookstream.processors.tables.endpoint_settings import EndpointSettingsReader
from hookstream.schemas.catalogue import InternalSchema
from hookstream.schemas.codecs.endpoint_settings import endpoint_settings_decoder, endpoint_settings_encoder
from hookstream.schemas.control import EndpointSettings
from hookstream.subscriptions.database import Sessions, open_database, open_sessions
from tests.support.relay_topic import KilledAfter, KilledBefore, make_topic, now_ms, read_to_end

if TYPE_CHECKING:
    from collections.abc import Callable

    from hookstream.processors.tables.endpoint_settings import SettingsBatch
    from hookstream.schemas.topics import TopicNames

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
        return cls(make_topic(bootstrap_servers, names, names.control), names.control)

    def reader(self, deliver: Callable[[SettingsBatch], None]) -> EndpointSettingsReader:
        """Read it as the relay does."""
        return EndpointSettingsReader(self.kafka, self.name, decode=DECODE, deliver=deliver)

    def settings(self) -> list[EndpointSettings]:
        """Everything that is in it now."""
        found: list[EndpointSettings] = []
        read_to_end(
            self.reader(
                lambda batch: found.extend(each.row for each in batch.records if isinstance(each.row, EndpointSettings))
            )
        )
        return found

    def relay(self, sessions: Sessions, writer: type[EndpointSettingsWriter] = EndpointSettingsWriter) -> Relay:
        """Make a relay to it."""
        publisher = writer(self.kafka, self.name, encode=ENCODE)
        step = EndpointSettingsStep(sessions, publisher, self.reader, now_ms=now_ms)
        return Relay(step, poll_interval_s=0.01, retry_after_s=0.05)


class KilledBeforeWriter(KilledBefore, EndpointSettingsWriter):
    """Killed before it publishes."""


class KilledAfterWriter(KilledAfter, EndpointSettingsWriter):
    """Killed after it has published."""


MODES = {"dies-before": KilledBeforeWriter, "dies-after": KilledAfterWriter}


def main(mode: str, bootstrap_servers: str, topic_name: str, database_url: str) -> None:
    """Run one relay, hurt as `mode` says."""
    topic = ControlTopic(KafkaConfig(bootstrap_servers=bootstrap_servers), topic_name)
    topic.relay(open_sessions(open_database(database_url)), MODES[mode]).run(threading.Event())


if __name__ == "__main__":
    main(*sys.argv[1:])
