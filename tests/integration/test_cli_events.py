"""`hookstream events check` beside a registry and topics that another service made; records are mapped and not sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient

from hookstream.schemas.wire import record_writer
from tests.support.deployment import Deployment
from tests.support.kafka_broker import create_plain_topics

if TYPE_CHECKING:
    from pathlib import Path

    from hookstream.schemas.topics import TopicNames
    from tests.support.kafka_broker import Kafka
    from tests.support.processes import Processes

MONEY = {
    "type": "record", "name": "Money", "namespace": "com.shop", "fields": [
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
    ],
}  # fmt: skip
ORDER = {
    "type": "record", "name": "Order", "namespace": "com.shop", "fields": [
        {"name": "order_id", "type": "string"},
        {"name": "merchant", "type": ["null", "long"]},
        {"name": "total", "type": "com.shop.Money"},
    ],
}  # fmt: skip


@pytest.fixture
def deployment(
    kafka: Kafka, registry_url: str, sqlite_url: str, topics: TopicNames, processes: Processes
) -> Deployment:
    return Deployment(kafka.bootstrap_servers, registry_url, sqlite_url, topics, processes)


def write_sources(folder: Path, topic: str, **more: str) -> str:
    """A catalogue of one source, in a folder; its path."""
    keys = {"topic": topic, "event": "header:ce_type", "client": "field:merchant", "resource": "field:order_id"}
    lines = [f'{key} = "{value}"' for key, value in {**keys, "body": "data", **more}.items()]
    (folder / "sources.toml").write_text(
        "\n".join(["[order]", *lines, "[order.events]", '"com.shop.placed" = "placed"'])
    )
    return str(folder)


def test_real_records_are_shown_beside_the_events_that_they_are(
    deployment: Deployment, kafka: Kafka, registry_url: str, topics: TopicNames, tmp_path: Path
) -> None:
    topic = f"{topics.prefix}shop.orders"
    folder = write_sources(tmp_path, topic)
    missing = deployment.run("events", "check", folder)
    assert missing.code == 1
    assert missing.out.splitlines()[-1] == f"[order]: there is no topic {topic}; hookstream does not create it"

    schema_id = register_with_reference(registry_url, topic)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    admin.create_topics([NewTopic(topic, 2, 1)])[topic].result(30)
    checked = deployment.run("events", "check", folder)
    assert checked.code == 0
    assert '"total":{"amount":"12.50"}' in checked.out

    whole = {**ORDER, "fields": [*ORDER["fields"][:2], {"name": "total", "type": MONEY}]}
    write = record_writer(json.dumps(whole), schema_id)
    order = {"order_id": "o-1", "merchant": 434, "total": {"amount": b"\x04\xce"}}
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    headers: list[tuple[str, str | bytes | None]] = [("ce_type", b"com.shop.placed")]
    producer.produce(topic, write(order), b"o-1", partition=0, headers=headers, timestamp=1)
    producer.produce(topic, None, b"o-0", partition=1, headers=headers, timestamp=2)
    producer.produce(topic, write({**order, "merchant": None}), b"o-2", partition=1, headers=headers, timestamp=3)
    assert producer.flush(30) == 0

    told = deployment.run("events", "check", folder, "--sample", topic, "-n", "3", "--json")
    assert told.code == 1
    assert told.err == "hookstream: 1 of 3 records cannot be read: they would become dead letters\n"
    event, ignored, refused = told.json()
    assert json.loads(event["body"])["data"] == {"order_id": "o-1", "merchant": 434, "total": {"amount": "12.30"}}
    assert (event["position"], event["headers"]) == (f"{topic}:0:0", ["ce_type=com.shop.placed"])
    assert (ignored["result"], ignored["detail"]) == ("ignored", "tombstone")
    assert (refused["result"], refused["detail"]) == ("refused", "client = field:merchant: is null")

    shown = deployment.run("events", "check", folder, "--sample", topic, "-n", "3")
    assert f"{topic}:0:0  key o-1" in shown.out
    # Nothing but the topic of this test was made, and nothing was written to it.
    assert admin.list_topics(timeout=30).topics.keys() & {topics.deliveries, topics.events("order")} == set()
    unknown = deployment.run("events", "check", folder, "--sample", f"{topics.prefix}other")
    assert (unknown.code, unknown.err.count("\n")) == (1, 1)


def test_what_is_well_is_shown_beside_faults_elsewhere_and_json_needs_no_registry(
    deployment: Deployment, kafka: Kafka, topics: TopicNames, tmp_path: Path
) -> None:
    topic = f"{topics.prefix}ratings"
    create_plain_topics(kafka.bootstrap_servers, topic)
    table = {"topic": topic, "value": "json", "event": "constant:given", "client": "field:shop", "body": "record"}
    lines = ["[rating]", *(f'{key} = "{value}"' for key, value in table.items()), "[broken]", 'clint = "key"']
    (tmp_path / "sources.toml").write_text("\n".join(lines))
    (tmp_path / "bad.avsc").write_text("{")
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    producer.produce(topic, b'{"shop": "acme", "stars": 5}', b"B-12")
    assert producer.flush(30) == 0
    del deployment.env["HOOKSTREAM_SCHEMA_REGISTRY_URL"]
    shown = deployment.run("events", "check", str(tmp_path), "--sample", topic)
    assert shown.code == 1
    assert '  body    {"shop": "acme", "stars": 5}' in shown.out.splitlines()
    assert "bad.avsc: not an Avro schema" in shown.out
    as_json = deployment.run("events", "check", str(tmp_path), "--sample", topic, "--json")
    assert [record["result"] for record in as_json.json()] == ["event"]
    assert "did you mean client?" in as_json.err
    faulty = deployment.run("events", "check", str(tmp_path), "--sample", topics.events("broken"))
    assert f"nothing is read from {topics.events('broken')}; the topics are " in faulty.err


def test_a_schema_that_readers_could_not_use_is_a_fault_and_an_unreachable_registry_is_not(
    deployment: Deployment, tmp_path: Path
) -> None:
    folder = tmp_path / "own"
    assert deployment.run("events", "new", "parcel", "sent", "--dir", str(folder)).code == 0
    own = str(folder)
    assert deployment.run("topics", "create", SCHEMA_DIR=own).code == 0
    assert deployment.run("events", "check", SCHEMA_DIR=own).code == 0
    other = deployment.run("events", "check", SCHEMA_DIR=own, PARTITIONS="4")
    assert other.code == 1
    assert f"topic {deployment.topics.events('parcel')} has 3 partitions, needs 4" in other.out
    file = folder / "parcel.avsc"
    file.write_text(
        file.read_text().replace('"name": "client",\n      "type": "long"', '"name": "client",\n      "type": "string"')
    )
    changed = deployment.run("events", "check", SCHEMA_DIR=own)
    assert changed.code == 1
    assert "parcel.avsc: the registry would refuse it" in changed.out
    away = deployment.run("events", "check", SCHEMA_DIR=own, SCHEMA_REGISTRY_URL="http://127.0.0.1:9")
    assert away.code == 0
    assert "not compared with the registry" in away.err


def register_with_reference(registry_url: str, topic: str) -> int:
    """A schema of the topic that refers to another subject; its id."""
    with SchemaRegistryClient({"url": registry_url}) as client:
        client.register_schema(f"{topic}-money", Schema(json.dumps(MONEY), "AVRO"))
        reference = SchemaReference("com.shop.Money", f"{topic}-money", 1)
        return int(client.register_schema(f"{topic}-value", Schema(json.dumps(ORDER), "AVRO", [reference])))
