"""Promise: one command makes database and `subscriptions` topic agree again, and nothing is lost until then."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.deployment import Caller, Deployment
from tests.support.kafka_broker import delete_topic
from tests.support.receiver import Receiver
from tests.support.wait import eventually

if TYPE_CHECKING:
    from hookstream.schemas.topics import TopicNames
    from tests.support.kafka_broker import Kafka
    from tests.support.processes import Processes

CLIENT = 434


@pytest.fixture
def deployment(
    kafka: Kafka, registry_url: str, sqlite_url: str, topics: TopicNames, processes: Processes
) -> Deployment:
    """A deployment on SQLite, whose backup is a copy of a file."""
    made = Deployment(kafka.bootstrap_servers, registry_url, sqlite_url, topics, processes)
    made.prepare()
    return made


def publish(deployment: Deployment, event: str, concept: int) -> None:
    """Publish one event."""
    done = deployment.run("publish", event, "--client", str(CLIENT), "--id", str(concept))
    assert done.code == 0, done.err


def test_a_subscriptions_topic_that_was_made_anew(deployment: Deployment, kafka: Kafka) -> None:
    """Routers and workers route and send nothing by an empty table; after the resync everything arrives."""
    api, router, worker = (deployment.role(name) for name in ("api", "router", "deliver"))
    for role in (api, router, worker):
        role.wait_ready()
    caller = Caller(api.url, deployment.token("integrator", CLIENT))
    with Receiver() as receiver:
        hook = caller.register("lead.new", receiver.url("lead"))
        caller.wait_effective(hook["id"])
        publish(deployment, "lead.new", 1)
        eventually(lambda: len(receiver.accepted()) == 1)
        for role in (api, router, worker):
            assert role.process.terminate() == 0, role.process.log_tail()

        delete_topic(kafka.bootstrap_servers, deployment.topics.subscriptions)
        assert deployment.run("topics", "create").code == 0
        publish(deployment, "lead.new", 2)
        router, worker = (deployment.role(name) for name in ("router", "deliver"))
        for role in (router, worker):
            eventually(lambda role=role: "resync" in role.unready_because())  # type: ignore[misc]
        assert len(receiver.accepted()) == 1

        dry = deployment.run("subscriptions", "resync", "--dry-run", "--json").json()
        assert (dry["seen"], dry["taken_over"], dry["dry_run"]) == (0, 0, True)
        assert "resync" in router.unready_because()
        done = deployment.run("subscriptions", "resync")
        assert done.code == 0, done.err
        assert "published 1 rows, and the end mark at offset 1" in done.out
        for role in (router, worker):
            role.wait_ready()
        eventually(lambda: len(receiver.accepted()) == 2)


def test_a_database_that_was_restored_from_a_backup(deployment: Deployment, tmp_path: Path) -> None:
    """What was registered after the backup is taken over from the topic; until then the API says that it is behind."""
    file = Path(deployment.database.removeprefix("sqlite:///"))
    api, router, worker = (deployment.role(name) for name in ("api", "router", "deliver"))
    for role in (api, router, worker):
        role.wait_ready()
    token = deployment.token("integrator", CLIENT)
    caller = Caller(api.url, token)
    with Receiver() as receiver:
        first = caller.register("lead.new", receiver.url("first"))
        caller.wait_effective(first["id"])
        assert api.process.terminate() == 0
        shutil.copy(file, tmp_path / "backup")
        api = deployment.role("api").wait_ready()
        caller = Caller(api.url, token)
        second = caller.register("lead.status", receiver.url("second"))
        caller.wait_effective(second["id"])
        assert api.process.terminate() == 0

        for left in file.parent.glob(f"{file.name}-*"):
            left.unlink()
        shutil.copy(tmp_path / "backup", file)
        api = deployment.role("api")
        eventually(lambda: "hookstream subscriptions resync" in api.unready_because())
        caller = Caller(api.url, token)
        assert [hook["id"] for hook in caller("GET", "/hooks").json()["hooks"]] == [first["id"]]
        dry = deployment.run("subscriptions", "resync", "--dry-run", "--json").json()
        assert (dry["taken_over"], dry["closed"]) == (1, [])
        assert [hook["id"] for hook in caller("GET", "/hooks").json()["hooks"]] == [first["id"]]
        done = deployment.run("subscriptions", "resync", "--json")
        assert done.code == 0, done.err
        assert (done.json()["taken_over"], done.json()["published"]) == (1, 2)
        api.wait_ready()
        assert [hook["id"] for hook in caller("GET", "/hooks").json()["hooks"]] == [first["id"], second["id"]]
        third = caller.register("lead.updated", receiver.url("third"))
        assert third["id"] > second["id"]
        caller.wait_effective(third["id"])
        for number, event in enumerate(("lead.new", "lead.status", "lead.updated")):
            publish(deployment, event, number)
        eventually(lambda: {r.path for r in receiver.accepted()} == {"/first", "/second", "/third"})
