"""Promise: a role needs no more than to read a topic of another service, and without that right it works on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, ResourcePatternType, ResourceType

from hookstream.processors.offsets import end_offset
from hookstream.schemas.topics import TopicNames
from tests.conftest import source_of
from tests.support.deployment import Caller, Deployment
from tests.support.foreign_topics import shipped_files
from tests.support.kafka_broker import admin, create_plain_topics
from tests.support.machine import Part, Source, give_up
from tests.support.receiver import Receiver
from tests.support.runbook import DOCUMENT, acls_of
from tests.support.secured_kafka import SecuredKafka, kafka_options
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.processes import Processes

TEXT = DOCUMENT.read_text()
USERS = ("api", "router", "deliver", "operator")
CLIENT = 434
WITHIN_S = 60.0
SOURCES = """
[booking]
topic = "hotel.bookings"
value = "json"
event = "constant:made"
client = "constant:434"
body = "record"
"""
TOPIC = "hotel.bookings"


@pytest.fixture
def secured(tmp_path: Path, logs: list[Path]) -> Iterator[SecuredKafka]:
    """A broker whose users have the rights of the documents for hookstream's own topics, and none for others."""
    source = source_of(Part.KAFKA, private=True)
    if source is not Source.JAVA:
        give_up("a broker with ACLs is made of jars: Java and Maven are needed")
    kafka = SecuredKafka(source, tmp_path / "secured", USERS)
    logs.append(kafka.log)
    try:
        kafka.start()
        allow(kafka, *(binding for user in USERS for each in acls_of(TEXT, user) for binding in named(each)))
        create_plain_topics(kafka.bootstrap_servers, TOPIC)
        yield kafka
    finally:
        kafka.close()


def named(binding: AclBinding) -> list[AclBinding]:
    """The same, with the names of hookstream's own topics where the table says all of the deployment."""
    if binding.name != "*":
        return [binding]
    names = [topic for topic in TopicNames().internal if topic] + ["events."]
    return [
        AclBinding(
            binding.restype, name, ResourcePatternType.PREFIXED, binding.principal, "*", binding.operation,
            AclPermissionType.ALLOW,
        )
        for name in names
    ]  # fmt: skip


def allow(kafka: SecuredKafka, *bindings: AclBinding) -> None:
    client = admin(kafka.bootstrap_servers)
    for allowed in client.create_acls(list(bindings)).values():
        allowed.result(20)


def right(user: str, operation: AclOperation) -> AclBinding:
    return AclBinding(
        ResourceType.TOPIC, TOPIC, ResourcePatternType.LITERAL, f"User:{user}", "*", operation, AclPermissionType.ALLOW
    )


def test_a_topic_that_a_role_may_not_read_holds_nothing_up_and_is_read_once_it_may(
    secured: SecuredKafka, registry_url: str, sqlite_url: str, processes: Processes, tmp_path: Path
) -> None:
    """Without rights on a topic of another service the router says which is missing, and routes everything else.

    `topics check` says it too. With Describe and Read, and nothing more, its records are delivered without a restart.
    """
    folder = tmp_path / "schemas"
    folder.mkdir()
    for name, content in {**shipped_files(), "sources.toml": SOURCES.encode()}.items():
        (folder / name).write_bytes(content)
    deployment = Deployment(secured.secured_servers, registry_url, sqlite_url, TopicNames(), processes)
    deployment.env |= {"HOOKSTREAM_SCHEMA_DIR": str(folder), "HOOKSTREAM_KAFKA_OPTIONS": kafka_options("operator")}
    deployment.prepare()
    allow(secured, right("api", AclOperation.DESCRIBE))
    unseen = deployment.run("topics", "check", KAFKA_OPTIONS=kafka_options("router"))
    assert unseen.code == 1
    assert f"[booking]: this user lacks the right Describe on the topic {TOPIC}" in unseen.out
    api, worker = (deployment.role(name, KAFKA_OPTIONS=kafka_options(name)) for name in ("api", "deliver"))
    for role in (api, worker):
        role.wait_ready()
    producer = Producer({"bootstrap.servers": secured.bootstrap_servers})
    with Receiver() as receiver:
        client = Caller(api.url, deployment.token("integrator", CLIENT))
        hooks = [client.register(event, receiver.url(event)) for event in ("lead.new", "booking.made")]
        eventually(lambda: end_of(secured, "subscriptions") == len(hooks), WITHIN_S)
        router = deployment.role("router", KAFKA_OPTIONS=kafka_options("router")).wait_ready().process
        for operation, missing in ((AclOperation.DESCRIBE, "Describe"), (AclOperation.READ, "Read")):
            got = len(receiver.by_path().get("/lead.new", ()))
            producer.produce(TOPIC, json.dumps({"room": missing}).encode(), b"r-1")
            assert producer.flush(30) == 0
            assert deployment.run("publish", "lead.new", "--client", str(CLIENT), "--id", "1").code == 0
            eventually(lambda got=got: len(receiver.by_path().get("/lead.new", ())) == got + 1, WITHIN_S)  # type: ignore[misc]
            eventually(lambda missing=missing: says(router.log_text(), missing), WITHIN_S)  # type: ignore[misc]
            allow(secured, right("router", operation), right("operator", operation))
        eventually(lambda: len(receiver.by_path().get("/booking.made", ())) == 2, WITHIN_S)
        assert [json.loads(request.body)["room"] for request in receiver.by_path()["/booking.made"]] == [
            "Describe",
            "Read",
        ]
    assert router.running
    assert deployment.run("topics", "check", KAFKA_OPTIONS=kafka_options("router")).code == 0


def end_of(kafka: SecuredKafka, topic: str) -> int:
    """How many records a topic of one partition has got."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": "looks-at-the-end"})
    try:
        return end_offset(consumer, topic, 0)
    finally:
        consumer.close()


def says(log: str, right: str) -> bool:
    """Whether the router has said that it lacks this right."""
    lines = map(json.loads, filter(lambda line: line.startswith("{"), log.splitlines()))
    return any((line.get("topic"), line.get("right")) == (TOPIC, right) for line in lines)
