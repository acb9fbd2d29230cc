"""The clock of the broker: what `skip` sets is the time at which events arrive, whatever this machine's clock says."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message, TopicPartition

from hookstream.processors.kafka import KafkaConfig, make_consumer, make_producer, producer_config, reader_config
from hookstream.processors.operations import acknowledged_writer
from hookstream.processors.operations.embedded import EmbeddedKafka
from hookstream.processors.operations.queries.broker_clock import KafkaBrokerClock
from hookstream.processors.topic_specs import TopicLimits, topic_specs
from hookstream.processors.topics import create_topics
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.topics import CLOCK_KEY, TopicNames
from hookstream.subscriptions.errors import BrokerClockError
from tests.support.kafka_broker import HurtableKafka, Kafka, create_plain_topics
from tests.support.subscriptions_api import Api
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

LIMITS = TopicLimits(partitions=2)
WRONG_MS = 12_345
"""What a machine says whose clock was never set."""


def make_topics(bootstrap_servers: str, topics: TopicNames) -> KafkaConfig:
    """Make the topics of events and of settings as a deployment does."""
    kafka = KafkaConfig(bootstrap_servers=bootstrap_servers)
    wanted = {topics.control, topics.events("lead")}
    specs = [spec for spec in topic_specs(topics, Catalogue.shipped(), LIMITS) if spec.name in wanted]
    create_topics(kafka, specs, replication_factor=1)
    return kafka


def clock_of(kafka: KafkaConfig, topics: TopicNames) -> KafkaBrokerClock:
    """Make the clock on a machine whose own clock is wrong."""
    return KafkaBrokerClock(kafka, topics.control, now_ms=lambda: WRONG_MS)


def append(kafka: KafkaConfig, topic: str) -> int:
    """Write a record, and give the time at which it arrived."""
    stamps: list[tuple[int, int]] = []

    def report(error: object, message: Message) -> None:
        assert error is None
        stamps.append(message.timestamp())

    producer = make_producer(producer_config(kafka, message_timeout_ms=60_000))
    producer.produce(topic, b"v", b"k", timestamp=WRONG_MS, on_delivery=report)
    producer.flush(90)
    ((kind, ms),) = stamps
    assert kind == TIMESTAMP_LOG_APPEND_TIME
    return ms


def test_skip_lies_between_what_arrived_before_and_after(kafka: Kafka, topics: TopicNames, database_url: str) -> None:
    config = make_topics(kafka.bootstrap_servers, topics)
    clock = clock_of(config, topics)
    api = Api(database_url, broker_clock=clock)
    caller = api.integrator(434)
    hook_id = caller.create().json()["hook"]["id"]
    clock.now_ms()  # connected: what follows is quick enough to meet in one millisecond
    for _ in range(5):
        before = append(config, topics.events("lead"))
        eventually(lambda before=before: time.time_ns() // 1_000_000 > before)  # type: ignore[misc]  # bound per turn
        answer = caller("POST", f"/hooks/{hook_id}/enable", {"backlog": "skip"})
        after = append(config, topics.events("lead"))
        assert before < answer.json()["hook"]["not_before_ms"] <= after
    clock.close()
    api.close()


def test_what_is_written_says_nothing_and_is_left_nowhere(kafka: Kafka, topics: TopicNames) -> None:
    config = make_topics(kafka.bootstrap_servers, topics)
    clock = clock_of(config, topics)
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda _: clock.now_ms(), range(32)))
    assert abs(told[0] - time.time_ns() // 1_000_000) < 60_000
    clock.close()
    reader = make_consumer(reader_config(config))
    reader.assign([TopicPartition(topics.control, partition, 0) for partition in range(LIMITS.partitions)])
    found: list[Message] = []

    def read_all() -> bool:
        found.extend(message for message in reader.consume(100, 0.2) if message.error() is None)
        return len(found) >= len(told)

    eventually(read_all)
    assert {(message.key(), message.value()) for message in found} == {(CLOCK_KEY, None)}
    assert sorted(message.timestamp()[1] for message in found) == sorted(told)
    reader.close()


def test_a_topic_that_takes_the_writers_clock_is_refused(kafka: Kafka, topics: TopicNames) -> None:
    create_plain_topics(kafka.bootstrap_servers, topics.control, partitions=1)
    clock = clock_of(KafkaConfig(bootstrap_servers=kafka.bootstrap_servers), topics)
    with pytest.raises(BrokerClockError, match=r"needs message\.timestamp\.type=LogAppendTime"):
        clock.now_ms()
    clock.close()


def test_a_broker_that_is_unavailable_tells_no_time_until_it_is_back(
    private_kafka: Callable[..., HurtableKafka], monkeypatch: pytest.MonkeyPatch
) -> None:
    broker, topics = private_kafka(), TopicNames()
    config = make_topics(broker.bootstrap_servers, topics)
    monkeypatch.setattr(acknowledged_writer, "_ACKNOWLEDGED_WITHIN_MS", 2000)  # a new producer takes half a second
    hasty = clock_of(config, topics)
    monkeypatch.setattr(acknowledged_writer, "_REPORT_WITHIN_S", 3.0)
    broker.pause()
    for _ in range(2):
        with pytest.raises(BrokerClockError, match="cannot be read"):
            hasty.now_ms()
    monkeypatch.undo()
    broker.resume()

    def told() -> int:
        try:
            return hasty.now_ms()
        except BrokerClockError as exc:
            raise AssertionError from exc

    assert eventually(told) > WRONG_MS
    hasty.close()


def test_the_embedded_kafka_has_this_machines_clock() -> None:
    kafka = EmbeddedKafka()
    clock = clock_of(kafka.config, TopicNames())
    assert clock.now_ms() == WRONG_MS
    topic = TopicNames().events("lead")
    writer = make_producer(producer_config(kafka.config, message_timeout_ms=10_000))
    writer.produce(topic, b"v", b"k", partition=0, timestamp=WRONG_MS)
    assert writer.flush(10) == 0
    reader = make_consumer(reader_config(kafka.config))
    reader.assign([TopicPartition(topic, 0, 0)])
    message = eventually(lambda: reader.poll(0.2))
    assert message is not None
    assert message.timestamp()[1] == WRONG_MS, "events on the embedded Kafka carry another clock's time"
    reader.close()
    clock.close()
    kafka.stop()
