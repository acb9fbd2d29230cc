"""The worker's copy of the `control` topic: every endpoint's present settings, read whole before the group is joined.

Every partition is read, whichever the worker owns: settings are few, and partitions come and go.
"""

from __future__ import annotations

from typing import TypeAlias

from hookstream.schemas.control import EndpointSettings

from .compacted_topic_reader import CompactedTopicReader, TopicBatch

SettingsBatch: TypeAlias = TopicBatch[EndpointSettings | None]
"""None: a tombstone, which means nothing but that the broker may forget a record."""


class EndpointSettingsReader(CompactedTopicReader[EndpointSettings | None]):
    """Where a record cannot be read, the settings before it stay in force."""


class EndpointSettingsTable:
    """The newest settings of every endpoint. One thread applies and reads."""

    def __init__(self) -> None:
        """Nothing was read."""
        self.next_offsets: dict[int, int] = {}
        """By partition: the next offset to read, where anything was read."""
        self._settings: dict[tuple[str, bytes], EndpointSettings] = {}

    def get(self, client: str, target_digest: bytes) -> EndpointSettings | None:
        """Return the present settings for an endpoint."""
        return self._settings.get((client, target_digest))

    def apply(self, batch: SettingsBatch) -> list[EndpointSettings]:
        """Take what was read; give what changed. A lower revision is one that was written late: it is ignored."""
        changed: dict[tuple[str, bytes], EndpointSettings] = {}
        for record in batch.records:
            settings = record.row
            if not isinstance(settings, EndpointSettings):
                continue
            key = (settings.client, settings.target_digest)
            known = self._settings.get(key)
            if known is None or settings.revision > known.revision:
                self._settings[key] = changed[key] = settings
        self.next_offsets.update(batch.next_offsets)
        return list(changed.values())
