"""Client configurations, and how Kafka's errors are translated."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException

from hookstream.processors import kafka as kafka_module
from hookstream.processors.delivery.checkpoints import state_store
from hookstream.processors.delivery.checkpoints.state_store import StateReader
from hookstream.processors.errors import KafkaRefusedError, KafkaUnavailableError
from hookstream.processors.kafka import (
    ClientConfig,
    GroupProtocol,
    KafkaConfig,
    group_consumer_config,
    is_retriable,
    producer_config,
    reader_config,
    translated,
)
from hookstream.processors.operations import log_ranges
from hookstream.processors.operations.queries.delivery_search import KafkaDeliveryLog
from hookstream.schemas.delivery import DeliveryId
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.deliveries import WantedDelivery
from hookstream.subscriptions.errors import LogSearchError

if TYPE_CHECKING:
    from collections.abc import Callable

KAFKA = KafkaConfig(bootstrap_servers="k:9092")
CLASSIC = KafkaConfig(bootstrap_servers="k:9092", group_protocol=GroupProtocol.CLASSIC)

# Kafka's own clients try again after these (`RetriableException`), and they can come to a client of this kind.
TRIED_AGAIN = (
    KafkaError.REPLICA_NOT_AVAILABLE,
    KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    KafkaError.KAFKA_STORAGE_ERROR,
    KafkaError.LISTENER_NOT_FOUND,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.UNSTABLE_OFFSET_COMMIT,
    KafkaError.THROTTLING_QUOTA_EXCEEDED,
    KafkaError.UNKNOWN_TOPIC_ID,
    KafkaError.INCONSISTENT_TOPIC_ID,
)


def test_a_producer_keeps_order_loses_nothing_and_agrees_with_java() -> None:
    config = producer_config(KAFKA)
    assert config["enable.idempotence"] is True
    assert config["acks"] == "all"
    assert config["partitioner"] == "murmur2_random"
    assert config["max.in.flight.requests.per.connection"] == 1
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


def _state_reader(kafka: KafkaConfig) -> None:
    StateReader(kafka, "delivery-state")


def _search(kafka: KafkaConfig) -> None:
    unused = cast("Any", None)
    search = KafkaDeliveryLog(kafka, TopicNames(), decode=unused, decode_dead_letter=unused)
    search.find(WantedDelivery(id=DeliveryId("d"), client=None))


@pytest.mark.parametrize(("module", "use"), [(state_store, _state_reader), (log_ranges, _search)])
def test_a_deployment_s_options_win_over_what_one_client_wants_for_itself(
    monkeypatch: pytest.MonkeyPatch, module: object, use: Callable[[KafkaConfig], None]
) -> None:
    seen: list[ClientConfig] = []

    def make(config: ClientConfig) -> object:
        seen.append(config)
        raise KafkaUnavailableError("none")

    monkeypatch.setattr(module, "make_consumer", make)
    with pytest.raises((KafkaUnavailableError, LogSearchError)):
        use(KafkaConfig(bootstrap_servers="k:9092", options={"fetch.wait.max.ms": "77"}))
    assert [config["fetch.wait.max.ms"] for config in seen] == ["77"]


def test_only_the_module_of_the_configurations_mixes_a_deployment_s_options_in() -> None:
    """So that no client can get the order wrong; what it wants for itself goes in as `own`."""
    packages = Path(kafka_module.__file__).parent
    mixes = re.compile(r"\.options\b|\*\*(reader|producer|group_consumer)_config\(")
    found = {path.name for path in packages.rglob("*.py") if mixes.search(path.read_text())}
    assert found == {"kafka.py", "deps.py"}  # deps.py hands them to the producers' package, without those it refuses


def test_only_the_mock_is_asked_often() -> None:
    embedded = KafkaConfig(bootstrap_servers="k:9092", embedded=True)
    assert reader_config(embedded)["fetch.wait.max.ms"] <= 20
    assert "fetch.wait.max.ms" not in reader_config(KAFKA)


@pytest.mark.parametrize(
    ("code", "retriable"),
    [
        (KafkaError._TRANSPORT, True),
        (KafkaError._ALL_BROKERS_DOWN, True),
        (KafkaError._DESTROY_BROKER, True),
        (KafkaError.COORDINATOR_NOT_AVAILABLE, True),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, True),
        *((code, True) for code in TRIED_AGAIN),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, False),
        (KafkaError.MSG_SIZE_TOO_LARGE, False),
        (KafkaError._AUTHENTICATION, False),
    ],
)
def test_an_error_is_retriable_or_refused(code: int, retriable: bool) -> None:
    assert is_retriable(KafkaError(code)) is retriable
    with (
        pytest.raises(KafkaUnavailableError if retriable else KafkaRefusedError, match=r"^cannot look: "),
        translated("cannot look"),
    ):
        raise KafkaException(KafkaError(code))


def test_a_fatal_error_is_never_retriable() -> None:
    assert not is_retriable(KafkaError(KafkaError._TRANSPORT, fatal=True))
