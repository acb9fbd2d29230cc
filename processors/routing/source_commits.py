"""What a router commits, and when: what is done, with the note of how far the table was read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from hookstream.processors.kafka import TopicPartitionKey
from hookstream.processors.tables.subscription_reader import SubscriptionReader
from hookstream.processors.tables.subscription_table import SubscriptionTable

from .assignment import SourcePartition

# A commit costs the broker 1 to 7 ms, whatever it holds; a kill -9 repeats what was routed since the last.
_COMMIT_EVERY_S = 0.1
# Without any event, the commit still says how far the table was read: the API's `effective` waits for it.
_COMMIT_TABLE_EVERY_S = 1.0

log = structlog.get_logger("hookstream.router")


class SourceCommits:
    """One request is under way at a time. `partitions` is a live view of those that are owned."""

    def __init__(
        self,
        partitions: Mapping[TopicPartitionKey, SourcePartition],
        table: SubscriptionTable,
        reader: SubscriptionReader,
        *,
        monotonic_s: Callable[[], float],
    ) -> None:
        """Nothing is under way."""
        self._partitions = partitions
        self._table = table
        self._reader = reader
        self._monotonic_s = monotonic_s
        self._sent: dict[SourcePartition, tuple[int, int]] = {}
        self._due_at = 0.0
        self._table_due_at = 0.0

    def may_route(self, source: SourcePartition) -> bool:
        """Whether the table is good enough for this partition."""
        return source.may_route(self._table, self._reader.topic_id)

    def commit_if_due(self, consumer: Consumer) -> None:
        """Commit progress, at most every 100 ms, and a table that moved, at most every second; returns at once."""
        now = self._monotonic_s()
        if self._sent or now < self._due_at:
            return
        owned = self._partitions.values()
        moved = [source for source in owned if source.done_offset != source.committed_offset]
        if now >= self._table_due_at:
            # Whatever moved: `effective` is the lowest progress of all partitions, and one may be busy for hours.
            idle = [source for source in owned if source.done_offset == source.committed_offset]
            behind = [source for source in idle if source.committed_table_offset != self._table.offset]
            if behind:
                self._table_due_at = now + _COMMIT_TABLE_EVERY_S
            moved += behind
        moved = [source for source in moved if self.may_route(source)]
        if not moved:
            return
        self._due_at = now + _COMMIT_EVERY_S
        self._sent = {source: (source.done_offset, self._table.offset) for source in moved}
        try:
            consumer.commit(offsets=self._offsets(moved), asynchronous=True)
        except KafkaException as exc:
            self._sent = {}
            log.warning("a commit was not sent; it is tried again", reason=str(exc))

    def commit_now(self, consumer: Consumer, sources: Iterable[SourcePartition]) -> bool:
        """Commit what is done and wait for the answer. A failure costs duplicates only, so it is not raised."""
        mine = [source for source in sources if not source.gone and self.may_route(source)]
        if not mine:
            return True
        try:
            answers = consumer.commit(offsets=self._offsets(mine), asynchronous=False)
        except KafkaException as exc:
            log.warning("a commit failed; what it covered will be routed again", reason=str(exc))
            return False
        failed = [answer for answer in answers or () if answer.error is not None]
        for answer in failed:
            log.warning(
                "a commit failed; what it covered will be routed again",
                topic=answer.topic,
                partition=answer.partition,
                reason=str(answer.error),
            )
        return not failed

    def on_commit(self, error: KafkaError | None, offsets: list[TopicPartition]) -> None:
        """Take Kafka's answer; what failed is not committed still, and is committed again."""
        sent, self._sent = self._sent, {}
        failed = {(tp.topic, tp.partition) for tp in offsets if tp.error is not None}
        if error is not None and error.code() != KafkaError._NO_OFFSET:
            log.warning("a commit failed; it is tried again", reason=error.str())
            return
        for source, (offset, table_offset) in sent.items():
            if source.key not in failed:
                source.committed_offset, source.committed_table_offset = offset, table_offset

    def _offsets(self, sources: Iterable[SourcePartition]) -> list[TopicPartition]:
        table_id = self._reader.topic_id
        return [
            TopicPartition(*source.key, source.done_offset, source.note(self._table, table_id).encode())
            for source in sources
        ]
