"""What a worker knows of hooks and endpoints: two compacted topics, read whole, then followed in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.tables.endpoint_settings import EndpointSettingsReader, EndpointSettingsTable, SettingsBatch
from hookstream.processors.tables.subscription_reader import SubscriptionReader, TableBatch, apply_rows
from hookstream.processors.tables.subscription_table import SubscriptionTable
from hookstream.processors.tables.table_thread import TableThread
from hookstream.schemas.codecs.endpoint_settings import endpoint_settings_decoder
from hookstream.schemas.codecs.hooks import subscription_decoder
from hookstream.schemas.topics import TopicNames

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hookstream.processors.delivery.checkpoints.partition_lookup import PartitionStarting
    from hookstream.processors.delivery.checkpoints.partition_start import LogIdentity


class WorkerTables:
    """The tables belong to the loop's thread; their threads only bring batches."""

    def __init__(
        self,
        kafka: KafkaConfig,
        topics: TopicNames,
        schema_texts: Callable[[int], str],
        loop: asyncio.AbstractEventLoop,
        failed: Callable[[Exception], None],
    ) -> None:
        """Nothing is read; `failed` is called in the threads."""
        self._loop = loop
        self.rows = SubscriptionTable()
        self.settings = EndpointSettingsTable()
        self.rows_reader = SubscriptionReader(
            kafka,
            topics.subscriptions,
            decode=subscription_decoder(schema_texts),
            deliver=self._bring_rows,
        )
        self.settings_reader = EndpointSettingsReader(
            kafka,
            topics.control,
            decode=endpoint_settings_decoder(schema_texts),
            deliver=self._bring_settings,
        )
        self._threads = (
            TableThread(self.rows_reader, failed=failed),
            TableThread(self.settings_reader, failed=failed, name="control-table"),
        )
        self._rows_applied: list[Callable[[], None]] = []
        self._settings_changed: list[Callable[[str, bytes], None]] = []

    def listen(
        self,
        *,
        row_changed: Callable[[str, str], None],
        rows_applied: Callable[[], None],
        settings_changed: Callable[[str, bytes], None],
    ) -> None:
        """Call these for every change from now on, and after every batch of rows."""
        self.rows.listen(lambda _, row: row_changed(row.client, row.event))
        self._rows_applied.append(rows_applied)
        self._settings_changed.append(settings_changed)

    def start(self) -> None:
        """Read on in threads; the readers are open."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop reading, and wait for the threads."""
        for thread in self._threads:
            thread.stop()
        self.rows_reader.close()
        self.settings_reader.close()

    @property
    def rows_loaded(self) -> bool:
        """Whether the table holds everything that was there when its reader was opened."""
        return self.rows.offset >= self.rows_reader.target_offset

    @property
    def settings_loaded(self) -> bool:
        """Likewise for the settings."""
        return self.settings_reader.covered_by(self.settings.next_offsets)

    def know_enough_for(self, starting: PartitionStarting, identities: Iterable[LogIdentity]) -> bool:
        """Whether the table knows at least what that of the partition's last owner did."""
        if not self.rows_loaded:
            return False
        for stream, identity in zip(starting.streams, identities, strict=True):
            metadata = stream.start.metadata
            if metadata is None:
                continue
            if metadata.table_digest != identity.table_digest:
                if self.rows.resynced_topic_id != self.rows_reader.topic_id:
                    return False
            elif self.rows.offset < metadata.table_offset:
                return False
        return True

    def _bring_rows(self, batch: TableBatch) -> None:
        """Take rows over into the loop's thread; called in the table's."""
        self._loop.call_soon_threadsafe(self._apply_rows, batch)

    def _bring_settings(self, batch: SettingsBatch) -> None:
        """Take endpoint settings over into the loop's thread; called in their reader's."""
        self._loop.call_soon_threadsafe(self._apply_settings, batch)

    def _apply_rows(self, batch: TableBatch) -> None:
        apply_rows(batch, self.rows)
        for applied in self._rows_applied:
            applied()

    def _apply_settings(self, batch: SettingsBatch) -> None:
        for settings in self.settings.apply(batch):
            for changed in self._settings_changed:
                changed(settings.client, settings.target_digest)
