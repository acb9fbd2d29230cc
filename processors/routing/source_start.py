"""Where each partition of `events.*` begins: at its committed offset, or at the nearest one that exists."""

from __future__ import annotations

from collections.abc import Mapping

import structlog
from confluent_kafka import Consumer, TopicPartition

from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.offsets import committed_offsets, watermarks
from hookstream.processors.tables.subscription_reader import SubscriptionReader
from hookstream.processors.topics import topic_ids
from hookstream.schemas.sources.readers import TopicEvents

from .assignment import NEVER_COMMITTED, SourcePartition
from .commit_note import CommitNote

log = structlog.get_logger("hookstream.router")


class SourceStart:
    """Looks partitions up when they are assigned."""

    def __init__(self, kafka: KafkaConfig, events: Mapping[str, TopicEvents], reader: SubscriptionReader) -> None:
        """`events` are by topic; `reader` is that of the table."""
        self.expired = 0
        """Records that retention deleted before they were read."""
        self._kafka = kafka
        self._events = events
        self._reader = reader

    def look_up(self, consumer: Consumer, assigned: list[TopicPartition]) -> list[SourcePartition]:
        """Say where each partition begins, and how far the table has to be read before.

        Raises:
            KafkaUnavailableError: no answer.
            KafkaRefusedError: Kafka says no.
        """
        table_end = self._reader.end()  # (1)
        ids = topic_ids(self._kafka, {tp.topic for tp in assigned})
        found = committed_offsets(consumer, assigned, "cannot read the committed offsets")
        return [self._start(consumer, tp, ids[tp.topic], table_end) for tp in found]

    def _start(
        self, consumer: Consumer, committed: TopicPartition, topic_id: str | None, table_end: int
    ) -> SourcePartition:
        note = CommitNote.decode(committed.metadata)
        offset = committed.offset
        noted_id = topic_id if note is None or note.source_topic_id is None else note.source_topic_id
        if offset >= 0 and topic_id is not None and noted_id != topic_id:
            log.error("a topic was re-created; it is routed from its first record", topic=committed.topic)
            offset = NEVER_COMMITTED
        known = offset >= 0
        low, high = watermarks(consumer, committed.topic, committed.partition)
        offset = self._nearest(committed, low, high) if known else low
        source = SourcePartition(
            topic=committed.topic,
            partition=committed.partition,
            topic_id=topic_id,
            events=self._events[committed.topic],
            next_offset=offset,
            done_offset=offset,
            committed_offset=committed.offset if known else NEVER_COMMITTED,
            needs_table_offset=table_end,
        )
        source.inherit(note, self._reader.topic_id)
        if source.needs_resync_mark:
            log.error(
                "the subscriptions topic was re-created: nothing is routed until `hookstream subscriptions resync`",
                topic=committed.topic,
                partition=committed.partition,
            )
        return source

    def _nearest(self, committed: TopicPartition, low: int, high: int) -> int:
        """The committed offset, or the nearest one that exists; what is missing in between was lost, and is logged."""
        there = min(max(committed.offset, low), high)
        if there != committed.offset:
            missing = max(0, low - committed.offset)
            self.expired += missing
            log.error(
                "records were deleted before they were read" if missing else "the log is shorter than what was read",
                topic=committed.topic,
                partition=committed.partition,
                committed=committed.offset,
                continues_at=there,
            )
        return there
