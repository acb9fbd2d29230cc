"""What commands do directly to the database or to Kafka is in the audit, and `hookstream audit` shows it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from hookstream.subscriptions.database import open_database, open_sessions, reading
from hookstream.subscriptions.models import AuditRow
from tests.support.deployment import Caller, Deployment, Done

if TYPE_CHECKING:
    from hookstream.schemas.topics import TopicNames
    from tests.support.kafka_broker import Kafka
    from tests.support.processes import Processes


@pytest.fixture
def deployment(
    kafka: Kafka, registry_url: str, sqlite_url: str, topics: TopicNames, processes: Processes
) -> Deployment:
    return Deployment(kafka.bootstrap_servers, registry_url, sqlite_url, topics, processes)


def test_commands_that_work_directly_are_audited(deployment: Deployment, sqlite_url: str) -> None:
    done = [
        deployment.run("migrate"),
        deployment.run("topics", "create"),
        deployment.run("token", "create", "--role", "operator", "--name", "night"),
        deployment.run("token", "revoke", "1"),
        deployment.run("secrets", "rotate"),
        deployment.run("subscriptions", "resync"),
        deployment.run("recover", "--keep-owed", "--yes"),
    ]
    assert [command.code for command in done] == [0] * len(done), [command.err for command in done]
    engine = open_database(sqlite_url)
    with reading(open_sessions(engine)) as session:
        rows = session.scalars(select(AuditRow).order_by(AuditRow.id)).all()
    engine.dispose()
    assert [row.action for row in rows] == [
        "database.migrate",
        "topics.create",
        "token.create",
        "token.revoke",
        "secrets.rotate",
        "subscriptions.resync",
        "partitions.recover",
    ]
    assert all(row.actor.startswith("cli ") and "@" in row.actor for row in rows)
    assert rows[-1].detail == {"pending": "keep-owed", "partitions": []}


def test_a_repair_waits_for_no_database(deployment: Deployment) -> None:
    assert deployment.run("topics", "create").err == "", "which says nothing of a database that is not there yet"
    unset = deployment.run("recover", "--keep-owed", "--yes", DATABASE_URL="")
    assert (unset.code, unset.err) == (0, "not in the audit: HOOKSTREAM_DATABASE_URL is not set\n")
    away = deployment.run("recover", "--keep-owed", "--yes", DATABASE_URL="postgresql+psycopg://127.0.0.1:1/x")
    assert away.code == 0
    assert away.err.startswith("not in the audit: the database does not serve us")


def test_the_audit_is_shown_and_written_as_lines_of_json(deployment: Deployment) -> None:
    deployment.run("migrate")
    deployment.run("topics", "create")
    token = deployment.token("operator", None, "--name", "night")
    api = deployment.role("api", API_TOKEN_RATE="5").wait_ready()

    def audit(*args: str) -> Done:
        return deployment.run("audit", *args, API_URL=api.url, API_TOKEN=token)

    lines = audit("--json").out.splitlines()
    entries = [json.loads(line) for line in lines]
    assert [entry["action"] for entry in entries] == ["token.create", "topics.create", "database.migrate"]
    shown = audit("--action", "token.create", "--since", "1h")
    assert shown.out.splitlines()[0].split() == ["time", "actor", "action", "client", "hook", "detail"]
    assert "token.create" in shown.out
    assert token not in shown.out
    few = audit("--limit", "1")
    assert len(few.out.splitlines()) == 2
    assert few.err == "there are more: see --limit\n"
    assert audit("--since", "yesterday").code == 2
    answer = Caller(api.url, token)("GET", "/audit?limit=1")
    assert answer.headers["ratelimit-policy"] == '"token";q=10;w=2'
    assert api.process.terminate() == 0
    assert deployment.run("token", "list", "--json").json()[0]["last_used_at_ms"], "written when the role stops"
