"""Promise: a cluster of 0.1 goes over to this release as docs/operations.md says, and is never misread."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from sqlalchemy import text
from standardwebhooks import Webhook

from hookstream.processors.cli.deps import secret_box
from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.topic_specs import TopicLimits, topic_specs
from hookstream.processors.topics import create_topics
from hookstream.schemas.catalogue import Catalogue, subject
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.database import open_database
from hookstream.subscriptions.migrations import migrate
from hookstream.subscriptions.secrets import SigningSecret, hook_context
from tests.support.deployment import Caller, Deployment
from tests.support.receiver import Receiver
from tests.support.wait import eventually

if TYPE_CHECKING:
    from tests.support.kafka_broker import Kafka
    from tests.support.processes import Processes

VECTORS = Path(__file__).parents[1] / "vectors"
OLD_ROWS = (VECTORS / "rows_of_0_1.sql").read_text()
OLD_SCHEMAS = json.loads((VECTORS / "schemas_of_0_1.json").read_text())
LAST_REVISION = "0008"
CLIENT, HOOK = 434, 7  # of those rows
SECRET = SigningSecret(b"0123456789abcdef0123456789abcdef")
ROLES = ("api", "router", "deliver", "attempt-log", "replayer")
WITHIN_S = 60.0


@pytest.fixture
def old(kafka: Kafka, registry_url: str, database_url: str, topics: TopicNames, processes: Processes) -> Deployment:
    """Topics and schemas as 0.1 had them, drained; its database is filled where the test does it."""
    deployment = Deployment(kafka.bootstrap_servers, registry_url, database_url, topics, processes)
    specs = topic_specs(topics, Catalogue.shipped(), TopicLimits(partitions=3))
    create_topics(KafkaConfig(bootstrap_servers=kafka.bootstrap_servers), specs)
    with SchemaRegistryClient({"url": registry_url}) as registry:
        for topic, schema in OLD_SCHEMAS.items():
            name = subject(f"{topics.prefix}{topic}")
            registry.set_compatibility(name, "BACKWARD_TRANSITIVE")
            registry.register_schema(name, Schema(json.dumps(schema), "AVRO"))
    return deployment


def fill(deployment: Deployment, target: str) -> None:
    """Fill the database as 0.1 left it: the hook points to `target`, and its secret is sealed as it was then."""
    box = secret_box(base64.b64decode(deployment.env["HOOKSTREAM_SECRET_KEY"]))
    sealed = box.seal(SECRET.key, context=hook_context(str(CLIENT), "lead.new", HOOK))
    rows = OLD_ROWS.replace("https://e.example/", target, 1)
    rows = rows.replace('["AAEC"]', json.dumps([base64.b64encode(sealed).decode()]))
    migrate(deployment.database, LAST_REVISION)
    engine = open_database(deployment.database)
    with engine.begin() as connection:
        for statement in rows.split(";\n")[:-1]:
            connection.execute(text(statement))
    engine.dispose()


def test_no_role_reads_topics_of_0_1(old: Deployment) -> None:
    """On the topics of 0.1 every role, `topics create` and `topics check` end with one line that says what to do."""
    assert old.run("migrate").code == 0
    started = {name: old.role(name) for name in ROLES}
    said = {name: role.process for name, role in started.items()}
    for name, process in said.items():
        assert process.wait(WITHIN_S) == 1, name
        (line,) = [line for line in process.log_text().splitlines() if line.startswith("hookstream: ")]
        assert "hold records of an earlier release" in line, name
        assert "HOOKSTREAM_TOPIC_PREFIX" in line
    for command in ("create", "check"):
        done = old.run("topics", command)
        assert done.code == 1
        assert "hold records of an earlier release" in done.out + done.err


def test_a_filled_database_goes_over_with_its_hooks_secrets_and_settings(old: Deployment) -> None:
    """After migrate, a new prefix, topics create and a resync, a hook of 0.1 gets its event, signed as before."""
    with Receiver() as receiver:
        fill(old, receiver.url("lead"))
        new = replace(old, topics=TopicNames(f"{old.topics.prefix}new."))
        new.env = old.env | {"HOOKSTREAM_TOPIC_PREFIX": new.topics.prefix}
        for command in (("migrate",), ("topics", "create"), ("subscriptions", "resync"), ("topics", "check")):
            done = new.run(*command)
            assert done.code == 0, done.err
        roles = {name: new.role(name) for name in ROLES}
        for role in roles.values():
            role.wait_ready()
        url = roles["api"].url
        integrator, operator = (Caller(url, new.token(*whose)) for whose in (("integrator", CLIENT), ("operator",)))
        integrator.wait_effective(HOOK)
        (hook,) = integrator("GET", "/hooks").json()["hooks"]
        assert (hook["id"], hook["event"], hook["client"], hook["rate_limit_per_second"]) == (
            HOOK, "lead.new", {"id": CLIENT}, 2.5,
        )  # fmt: skip
        assert new.run("publish", "lead.new", "--client", str(CLIENT), "--id", "17").code == 0
        (arrived,) = eventually(receiver.accepted, WITHIN_S)
        Webhook(f"whsec_{base64.b64encode(SECRET.key).decode()}").verify(arrived.body, arrived.headers)
        assert json.loads(arrived.body) == {
            "event": "lead.new",
            "client": CLIENT,
            "concept": {"id": 17, "namespace": "lead", "sub_namespace": None},
        }

        def settings() -> tuple[bool, bool]:
            found = operator("GET", f"/endpoints/{CLIENT}-0011223344556677/settings").json()["settings"]
            return found["paused"], found["published"]

        eventually(lambda: settings() == (True, True), WITHIN_S, describe="they hold, and Kafka has them")
        attempts = f"/hooks/{HOOK}/attempts?outcome=delivered"
        eventually(lambda: integrator("GET", attempts).json()["attempts"], WITHIN_S, describe="the attempt is logged")
