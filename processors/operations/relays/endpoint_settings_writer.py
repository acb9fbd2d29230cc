"""Writes endpoint settings to the `control` topic and says where they stand, once Kafka has acknowledged them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.operations.acknowledged_writer import AcknowledgedWriter, NewRecord
from hookstream.schemas.control import EndpointSettings
from hookstream.subscriptions.endpoint_settings_publication import PublishedSettings


class EndpointSettingsWriter(AcknowledgedWriter):
    """A `SettingsPublisher`. One thread at a time."""

    def __init__(self, kafka: KafkaConfig, topic: str, *, encode: Callable[[EndpointSettings], bytes]) -> None:
        """Prepare to write; nothing is sent yet."""
        super().__init__(kafka, topic)
        self._encode = encode

    def publish(self, settings: Sequence[EndpointSettings]) -> Sequence[PublishedSettings]:
        """Write settings and say where they stand.

        Raises:
            NotPublishedError: one or more were not acknowledged in time; some may be in the topic.
        """
        written = self.write([NewRecord(wanted.key, self._encode(wanted)) for wanted in settings])
        return [
            PublishedSettings(wanted=wanted, partition=row.partition, offset=row.offset)
            for wanted, row in zip(settings, written, strict=True)
        ]
