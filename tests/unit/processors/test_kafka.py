"""Client configurations, and how Kafka's errors are translated."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from hookstream.processors.errors import KafkaRefusedError, KafkaUnavailableError
from hookstream.processors.kafka import (
    GroupProtocol,
    KafkaConfig,
    group_consumer_config,
    is_away,
    producer_config,
    reader_config,
    translated,
)

KAFKA = KafkaConfig(bootstrap_servers="k:9092")
CLASSIC = KafkaConfig(bootstrap_servers="k:9092", group_protocol=GroupProtocol.CLASSIC)


def test_a_producer_keeps_order_loses_nothing_and_agrees_with_java() -> None:
    config = producer_config(KAFKA)
    assert config["enable.idempotence"] is True
    assert config["acks"] == "all"
    assert config["partitioner"] == "murmur2_random"
    assert config["message.timeout.ms"] == 0


@pytest.mark.parametrize("kafka", [KAFKA, CLASSIC])
def test_a_consumer_commits_nothing_by_itself_and_is_never_moved(kafka: KafkaConfig) -> None:
    for config in (group_consumer_config(kafka, group="g"), reader_config(kafka)):
        assert config["enable.auto.commit"] is False
        assert config["enable.auto.offset.store"] is False
        assert config["auto.offset.reset"] == "error"
        assert config["fetch.queue.backoff.ms"] <= 10


def test_co_partitioned_topics_share_an_owner() -> None:
    assert group_consumer_config(KAFKA, group="g", co_partitioned=True)["group.remote.assignor"] == "range"
    assert group_consumer_config(CLASSIC, group="g", co_partitioned=True)["partition.assignment.strategy"] == "range"
    assert "partition.assignment.strategy" not in group_consumer_config(KAFKA, group="g")


def test_a_deployment_s_options_win() -> None:
    kafka = KafkaConfig(bootstrap_servers="k:9092", options={"fetch.queue.backoff.ms": "7", "security.protocol": "SSL"})
    for config in (group_consumer_config(kafka, group="g"), reader_config(kafka), producer_config(kafka)):
        assert config["security.protocol"] == "SSL"
    assert reader_config(kafka)["fetch.queue.backoff.ms"] == "7"


def test_only_the_mock_is_asked_often() -> None:
    embedded = KafkaConfig(bootstrap_servers="k:9092", embedded=True)
    assert reader_config(embedded)["fetch.wait.max.ms"] <= 20
    assert "fetch.wait.max.ms" not in reader_config(KAFKA)


@pytest.mark.parametrize(
    ("code", "away"),
    [
        (KafkaError._TRANSPORT, True),
        (KafkaError._ALL_BROKERS_DOWN, True),
        (KafkaError._DESTROY_BROKER, True),
        (KafkaError.COORDINATOR_NOT_AVAILABLE, True),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, True),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, False),
        (KafkaError.MSG_SIZE_TOO_LARGE, False),
        (KafkaError._AUTHENTICATION, False),
    ],
)
def test_away_is_told_from_refused(code: int, away: bool) -> None:
    assert is_away(KafkaError(code)) is away
    with (
        pytest.raises(KafkaUnavailableError if away else KafkaRefusedError, match=r"^cannot look: "),
        translated("cannot look"),
    ):
        raise KafkaException(KafkaError(code))


def test_a_fatal_error_is_never_away() -> None:
    assert not is_away(KafkaError(KafkaError._TRANSPORT, fatal=True))
