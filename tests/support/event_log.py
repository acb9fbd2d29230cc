"""What a topic of events holds."""

from __future__ import annotations

from confluent_kafka import Consumer, TopicPartition

from hookstream.processors.offsets import end_offset
from tests.support.wait import WITHIN_S

_ANSWER_S = WITHIN_S


def event_ids(bootstrap_servers: str, topic: str) -> list[str]:
    """Ids of all events in a topic, each partition in its order."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "reads-without-a-group"})
    try:
        ids = []
        for partition in consumer.list_topics(topic, timeout=_ANSWER_S).topics[topic].partitions:
            here = TopicPartition(topic, partition, 0)
            left = end_offset(consumer, topic, partition)
            consumer.assign([here])
            while left:
                for record in consumer.consume(left, 0.2):
                    assert record.error() is None
                    event_id = dict(record.headers() or [])["ce_id"]
                    assert isinstance(event_id, bytes)
                    ids.append(event_id.decode())
                    left -= 1
        return ids
    finally:
        consumer.close()
