"""What the harness watches by itself: committed offsets, its own stalls, and at the end the topic of dead letters."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, KafkaException, TopicPartition

from hookstream.processors.kafka import KafkaConfig, group_consumer_config, make_consumer, reader_config
from hookstream.schemas.codecs.dead_letters import dead_letter_decoder
from tests.nemesis.history import Commit, Stalled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hookstream.producers.registry import SchemaRegistry
    from tests.nemesis.history import HistoryFile
    from tests.nemesis.parts import Parts

NAMESPACES = ("lead", "property")
_COMMITS_EVERY_S = 3.0
_TICK_S = 0.1
_STALL_S = 0.5
_ASK_S = 5.0


class Watcher:
    """Two threads."""

    def __init__(self, parts: Parts, history: HistoryFile) -> None:
        """Watch from now on."""
        topics = parts.deployment.topics
        self._history = history
        self._groups = {
            topics.router_group: [topics.events(name) for name in NAMESPACES],
            topics.deliver_group: [topics.deliveries, topics.replays],
        }
        self._partitions = int(parts.deployment.env["HOOKSTREAM_PARTITIONS"])
        self._kafka = KafkaConfig(bootstrap_servers=parts.cluster.bootstrap_servers)
        self._known: dict[tuple[str, str, int], int] = {}
        self._doubted: set[tuple[str, str, int]] = set()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._watch_commits, self._watch_self)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._stop.set()
        for thread in self._threads:
            thread.join(_ASK_S * 4)

    def _watch_self(self) -> None:
        last = time.monotonic()
        while not self._stop.wait(_TICK_S):
            now = time.monotonic()
            if now - last > _STALL_S:
                self._history.add(Stalled(self._history.now, round(now - last, 3)))
            last = now

    def _watch_commits(self) -> None:
        while not self._stop.wait(_COMMITS_EVERY_S):
            for group, topics in self._groups.items():
                self._look(group, topics)

    def _look(self, group: str, topics: Sequence[str]) -> None:
        # A consumer that never joins, and not the admin client: that ends the process where a coordinator has moved
        # (librdkafka's issue 5040).
        consumer = Consumer(group_consumer_config(self._kafka, group=group))
        try:
            asked = [TopicPartition(topic, partition) for topic in topics for partition in range(self._partitions)]
            found = consumer.committed(asked, timeout=_ASK_S)
        except KafkaException:
            return
        finally:
            consumer.close()
        for tp in found:
            key, before = (group, tp.topic, tp.partition), self._known.get((group, tp.topic, tp.partition), -1)
            if tp.error is not None or tp.offset < 0 or tp.offset == before:
                self._doubted.discard(key)
                continue
            # A coordinator that was suspended may answer by what it knew: a lower offset has to be seen twice.
            if tp.offset < before and key not in self._doubted:
                self._doubted.add(key)
                continue
            self._doubted.discard(key)
            self._known[key] = tp.offset
            self._history.add(Commit(self._history.now, *key, tp.offset))


def dead_letters(parts: Parts, registry: SchemaRegistry) -> list[tuple[str, str]]:
    """Read the topic of dead letters whole: delivery ids (empty where a record has none) and reasons.

    Raises:
        KafkaException: Kafka does not answer.
    """
    decode = dead_letter_decoder(registry.schema_text_by_id)
    topic = parts.deployment.topics.dead_letters
    consumer = make_consumer(reader_config(KafkaConfig(bootstrap_servers=parts.cluster.bootstrap_servers)))
    found = []
    try:
        for partition in consumer.list_topics(topic, timeout=30).topics[topic].partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
            consumer.assign([TopicPartition(topic, partition, low)])
            position = low
            while position < high:
                for message in consumer.consume(500, 0.5):
                    if message.error() is None:
                        position = (message.offset() or 0) + 1
                        dead = decode(message.value())
                        found.append((dead.delivery_id or "", dead.reason.value))
    finally:
        consumer.close()
    return found
