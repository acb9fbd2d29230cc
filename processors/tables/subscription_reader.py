"""Reads the `subscriptions` topic, whose records are the rows of a `SubscriptionTable`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from hookstream.processors.kafka import KafkaConfig
from hookstream.schemas.hook import Hook, ResyncMark

from .compacted_topic_reader import CompactedTopicReader, TopicBatch, Unreadable
from .subscription_table import SubscriptionTable

Row: TypeAlias = Hook | ResyncMark | None
TableBatch: TypeAlias = TopicBatch[Row]

# The topic has one partition. The embedded mock gives every topic four: there too, writers and readers use this one.
PARTITION = 0


class SubscriptionReader(CompactedTopicReader[Row]):
    """A row that cannot be read makes its subscription key unknown until `hookstream subscriptions resync`."""

    def __init__(
        self,
        kafka: KafkaConfig,
        topic: str,
        *,
        decode: Callable[[bytes | None], Row],
        deliver: Callable[[TableBatch], None],
    ) -> None:
        """Prepare to read; `deliver` is called in the stepping thread."""
        super().__init__(kafka, topic, decode=decode, deliver=deliver, partitions=(PARTITION,))

    @property
    def target_offset(self) -> int:
        """The end of the topic when `open` was called: until a table has it, absence says nothing."""
        return self.bounds[PARTITION][1]


def apply_rows(batch: TableBatch, table: SubscriptionTable) -> None:
    """Bring a table up to date; call it in the thread that uses the table."""
    apply = table.apply
    for _, offset, key, row in batch.records:
        if isinstance(row, Unreadable):
            table.apply_unreadable(offset, key)
        else:
            apply(offset, key, row)
    next_offset = batch.next_offsets.get(PARTITION)
    if next_offset is not None:
        table.advance(next_offset)
