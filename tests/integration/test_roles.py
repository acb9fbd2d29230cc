"""Roles as processes: how they start, say how they are, and stop."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING

import httpx
import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from hookstream.producers.outbox import create_tables, enqueue
from tests.support.deployment import Command, Deployment, Role
from tests.support.event_log import event_ids
from tests.support.processes import free_port
from tests.support.values import an_event
from tests.support.wait import WITHIN_S, eventually

if TYPE_CHECKING:
    from hookstream.schemas.topics import TopicNames
    from tests.support.kafka_broker import Kafka
    from tests.support.processes import Processes

ROLES = ("api", "router", "deliver", "attempt-log", "replayer", "outbox-relay")
KEY = "A" * 43 + "="


@pytest.fixture
def deployment(
    kafka: Kafka, registry_url: str, sqlite_url: str, topics: TopicNames, processes: Processes
) -> Deployment:
    """A deployment on SQLite; nothing is made yet."""
    return Deployment(kafka.bootstrap_servers, registry_url, sqlite_url, topics, processes)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_without_settings_names_all_and_is_a_usage_error(command: Command, role: str) -> None:
    done = command(role)
    assert (done.code, done.out) == (2, "")
    both = "HOOKSTREAM_KAFKA_BOOTSTRAP_SERVERS is not set; HOOKSTREAM_SCHEMA_REGISTRY_URL is not set"
    assert done.err.startswith(f"hookstream: {both}")
    assert ("HOOKSTREAM_DATABASE_URL is not set" in done.err) == (role not in ("router", "deliver"))
    assert ("HOOKSTREAM_SECRET_KEY is not set" in done.err) == (role in ("api", "deliver"))


@pytest.mark.parametrize(
    ("role", "missing"),
    [
        ("api", "HOOKSTREAM_SCHEMA_REGISTRY_URL"),
        ("api", "HOOKSTREAM_SECRET_KEY"),
        ("api", "HOOKSTREAM_DATABASE_URL"),
        ("router", "HOOKSTREAM_SCHEMA_REGISTRY_URL"),
        ("deliver", "HOOKSTREAM_SECRET_KEY"),
        ("attempt-log", "HOOKSTREAM_DATABASE_URL"),
        ("replayer", "HOOKSTREAM_DATABASE_URL"),
        ("outbox-relay", "HOOKSTREAM_DATABASE_URL"),
    ],
)
def test_a_role_names_the_setting_that_it_misses(command: Command, role: str, missing: str) -> None:
    everything = {
        "HOOKSTREAM_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "HOOKSTREAM_SCHEMA_REGISTRY_URL": "http://127.0.0.1:1",
        "HOOKSTREAM_DATABASE_URL": "sqlite:///nowhere.sqlite3",
        "HOOKSTREAM_SECRET_KEY": KEY,
    }
    del everything[missing]
    done = command(role, env=everything)
    assert (done.code, done.err) == (2, f"hookstream: {missing} is not set\n")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("SECRET_KEY", "short", "needs base64 of 32 bytes"),
        ("EGRESS_PROXY", "ftp://user:hunter2@proxy", "egress proxy"),
        ("DATABASE_URL", "mysql+nothing://root:hunter2@db/x", "HOOKSTREAM_DATABASE_URL"),
        ("SCHEMA_DIR", "/nowhere/at/all", "cannot read the schema folder"),
        ("KAFKA_OPTIONS", "[]", "JSON object"),
    ],
)
def test_a_wrong_setting_is_a_usage_error_and_its_value_is_not_shown(
    command: Command, name: str, value: str, says: str
) -> None:
    everything = {
        "HOOKSTREAM_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "HOOKSTREAM_SCHEMA_REGISTRY_URL": "http://127.0.0.1:1",
        "HOOKSTREAM_DATABASE_URL": "sqlite:///nowhere.sqlite3",
        "HOOKSTREAM_SECRET_KEY": KEY,
        "HOOKSTREAM_METRICS_PORT": "0",
    }
    role = "api" if name in ("DATABASE_URL", "SCHEMA_DIR") else "deliver"
    done = command(role, env=everything | {f"HOOKSTREAM_{name}": value})
    assert done.code == 2
    assert says in done.err
    assert "hunter2" not in done.err
    assert len(done.err.splitlines()) == 1


def test_roles_serve_health_and_metrics_and_stop_when_asked(deployment: Deployment) -> None:
    deployment.prepare()
    engine = create_engine(deployment.database)
    create_tables(engine)
    engine.dispose()
    roles = {name: deployment.role(name, STOP_TIMEOUT_S="60") for name in ROLES}
    for role in roles.values():
        role.wait_ready()
        assert f'"url":"{role.url}"' in role.process.log_text(), "where it listens is not said"
        assert httpx.get(f"{role.url}/healthz", trust_env=False, timeout=WITHIN_S).status_code == 200
        metrics = httpx.get(f"{role.url}/metrics", trust_env=False, timeout=WITHIN_S)
        assert "hookstream_routed_total" in metrics.text
    for role in roles.values():
        role.process.signal(signal.SIGTERM)
    for name, role in roles.items():
        assert role.process.wait() == 0, role.process.log_tail()
        log = role.process.log_text()
        assert "Traceback" not in log
        assert '"event":"stopped"' in log, name


def test_a_role_that_waits_stops_when_asked_and_a_second_signal_forces(deployment: Deployment) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    roles = [deployment.role(name, KAFKA_BOOTSTRAP_SERVERS=nowhere) for name in ("router", "api", "router")]
    for role in roles:
        waits_for_kafka(role)
    *asked, stuck = roles
    stuck.process.pause()  # both signals are there when it goes on
    for role in roles:
        role.process.signal(signal.SIGTERM)
    stuck.process.signal(signal.SIGINT)
    stuck.process.resume()
    for role in asked:
        assert role.process.wait() == 0, role.process.log_tail()
    # Python looks at signals between two instructions: a call to Kafka that is under way ends first, within 10 s.
    assert stuck.process.wait() in (128 + signal.SIGTERM, 128 + signal.SIGINT)


def waits_for_kafka(role: Role) -> None:
    """Wait until a role says that it does."""
    eventually(lambda: "kafka" in role.unready_because())


def test_a_role_refuses_topics_that_are_not_what_it_needs(deployment: Deployment) -> None:
    deployment.prepare()
    for name in ("router", "deliver", "api"):
        role = deployment.role(name, PARTITIONS="5")
        assert role.process.wait() == 1
        last = role.process.log_text().splitlines()[-1]
        assert last.startswith("hookstream: topic ")
        assert "has 3 partitions, needs 5" in last


@pytest.mark.parametrize("name", ["api", "router"])
def test_a_port_that_is_taken_is_said_in_one_line(deployment: Deployment, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        setting = "API_PORT" if name == "api" else "METRICS_PORT"
        done = deployment.run(name, also={setting: str(port)})
    assert done.code == 1
    assert done.err.splitlines()[-1] == (
        f"hookstream: cannot listen on 127.0.0.1:{port}: Address already in use; "
        f"HOOKSTREAM_{setting} chooses another port, HOOKSTREAM_API_HOST another host"
    )


def test_the_outbox_of_a_service_is_relayed(deployment: Deployment) -> None:
    absent = deployment.run("outbox-relay", METRICS_PORT="0")
    assert absent.code == 1
    assert "the database has no table hookstream_outbox" in absent.err.splitlines()[-1]

    deployment.run("topics", "create")
    engine = create_engine(deployment.database)
    create_tables(engine)
    relay = deployment.role("outbox-relay").wait_ready()
    events = [an_event("lead.updated", concept=n % 2) for n in range(6)]
    with Session(engine) as session, session.begin():
        for event in events:
            enqueue(session, event)
    engine.dispose()

    def all_arrived() -> bool:
        arrived = event_ids(deployment.kafka, deployment.topics.events("lead"))
        assert sorted(arrived) == sorted(str(event.id) for event in events)
        return True

    eventually(all_arrived)
    assert relay.process.terminate() == 0, relay.process.log_tail()
