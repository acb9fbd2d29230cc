"""How far every router has read the subscriptions topic, as committed to their group: what `effective` means."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

import structlog
from confluent_kafka import Consumer, TopicPartition

from hookstream.processors.errors import ProcessorError
from hookstream.processors.kafka import (
    KafkaConfig,
    group_consumer_config,
    make_consumer,
    partition_count,
)
from hookstream.processors.offsets import committed_offsets
from hookstream.processors.topics import topic_ids
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.topics import TopicNames

from .commit_note import CommitNote

# Clients poll for `effective`; the routers commit it once a second.
_FRESH_FOR_S = 0.25
# For the question of another thread to Kafka, whose answer is this one's too.
_WAIT_S = 1.0

log = structlog.get_logger("hookstream.router")


class CommittedProgress:
    """Asks the routers' group, without joining it. May be used from any thread."""

    def __init__(self, kafka: KafkaConfig, topics: TopicNames, catalogue: Catalogue) -> None:
        """Prepare; nothing is connected yet."""
        self._kafka = kafka
        self._topics = topics
        self._sources = [catalogue.topic(namespace, topics) for namespace in catalogue.namespaces]
        self._consumer: Consumer | None = None
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._answer: int | None = None

    def committed_table_offset(self) -> int | None:
        """The lowest offset of `subscriptions` that a router partition has yet to read; events routed later know more.

        None where a partition has committed none or belongs to an earlier `subscriptions` topic, or where Kafka does
        not answer. At most a quarter of a second old.
        """
        if not self._lock.acquire(timeout=_WAIT_S):
            return None  # a caller holds no thread for as long as Kafka is silent, but for one
        try:
            if time.monotonic() - self._asked_at >= _FRESH_FOR_S:
                try:
                    self._answer = self._ask()
                except ProcessorError as exc:
                    log.warning("the routers' progress cannot be read", reason=str(exc))
                    self._answer = None
                self._asked_at = time.monotonic()
            return self._answer
        finally:
            self._lock.release()

    def close(self) -> None:
        """Disconnect. Calling it twice is harmless."""
        with self._lock:
            if self._consumer is not None:
                self._consumer.close()
                self._consumer = None

    def _ask(self) -> int | None:
        if self._consumer is None:
            self._consumer = make_consumer(group_consumer_config(self._kafka, group=self._topics.router_group))
        table = self._topics.subscriptions
        table_id = topic_ids(self._kafka, [table])[table]
        partitions = [
            TopicPartition(topic, number)
            for topic in self._sources
            for number in range(partition_count(self._consumer, topic))
        ]
        committed = committed_offsets(self._consumer, partitions, "cannot read the routers' offsets")
        return _lowest(committed, table_id)


def _lowest(committed: Iterable[TopicPartition], table_id: str | None) -> int | None:
    lowest: int | None = None
    for tp in committed:
        note = CommitNote.decode(tp.metadata) if tp.offset >= 0 else None
        if note is None or note.table_topic_id != table_id:
            return None
        lowest = note.table_offset if lowest is None else min(lowest, note.table_offset)
    return lowest
