"""The commands that run to their end, on real parts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.deployment import Caller, Command, Deployment

if TYPE_CHECKING:
    from pathlib import Path

    from hookstream.schemas.topics import TopicNames
    from tests.support.kafka_broker import Kafka
    from tests.support.processes import Processes


@pytest.fixture
def deployment(
    kafka: Kafka, registry_url: str, sqlite_url: str, topics: TopicNames, processes: Processes
) -> Deployment:
    """A deployment on SQLite; nothing is made yet."""
    return Deployment(kafka.bootstrap_servers, registry_url, sqlite_url, topics, processes)


def test_topics_are_created_once_checked_and_refused_where_they_differ(deployment: Deployment) -> None:
    missing = deployment.run("topics", "check")
    assert missing.code == 1
    assert "does not exist: run `hookstream topics create`" in missing.out
    assert f"{deployment.topics.events('lead')}-value: this schema is not registered" in missing.out
    assert len(missing.err.splitlines()) == 1

    first = deployment.run("topics", "create", "--json").json()
    assert first["created"] == first["topics"] or set(first["created"]) == set(first["topics"])
    assert deployment.topics.events("lead") in first["topics"]
    assert f"{deployment.topics.subscriptions}-value" in first["subjects"]
    again = deployment.run("topics", "create")
    assert again.code == 0
    assert "created" not in again.out

    assert deployment.run("topics", "check").code == 0
    for command in ("check", "create"):
        other = deployment.run("topics", command, PARTITIONS="4")
        assert other.code == 1
        assert "has 3 partitions, needs 4" in (other.out if command == "check" else other.err)


def test_a_database_is_migrated_and_tokens_need_it(deployment: Deployment) -> None:
    early = deployment.run("token", "list")
    assert early.code == 1
    assert "hookstream migrate" in early.err
    for _ in range(2):
        done = deployment.run("migrate")
        assert done.code == 0
        assert "schema revision" in done.out


def test_tokens_are_shown_once_listed_without_themselves_and_revoked(deployment: Deployment) -> None:
    deployment.run("migrate")
    token = deployment.token("integrator", 434, "--name", "acme", "--expires-in-days", "7")
    assert token.startswith("hks_")
    endless = deployment.run("token", "create", "--role", "operator", "--expires-in-days", "0", "--json")
    assert endless.json()["expires_at_ms"] is None
    assert "warning: no expiry was set: it never expires" in endless.err
    by_default = deployment.run("token", "create", "--role", "platform")
    assert "warning: no expiry was set: it expires 2" in by_default.err
    assert by_default.out.startswith("hks_")

    listed = deployment.run("token", "list")
    assert token not in listed.out
    assert "acme" in listed.out
    assert "created     last used  expires" in listed.out
    ours = deployment.run("token", "list", "--json").json()[0]
    assert (ours["role"], ours["client"], ours["revoked_at_ms"]) == ("integrator", {"id": 434}, None)
    assert ours["expires_at_ms"] - ours["created_at_ms"] == 7 * 24 * 3600 * 1000

    assert deployment.run("token", "revoke", str(ours["id"])).code == 0
    assert deployment.run("token", "list", "--json").json()[0]["revoked_at_ms"]
    assert "revoked" in deployment.run("token", "list").out
    unknown = deployment.run("token", "revoke", "99")
    assert (unknown.code, unknown.err) == (1, "hookstream: there is no token 99\n")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--role", "integrator"), "needs a client"),
        (("--role", "platform", "--client", "3"), "no other role's has one"),
        (("--role", "boss"), "boss"),
        (("--role", "integrator", "--client", "434", "--name", "a\nb"), "printable"),
    ],
)
def test_a_token_that_makes_no_sense_is_a_usage_error(deployment: Deployment, args: tuple[str, ...], says: str) -> None:
    done = deployment.run("token", "create", *args)
    assert done.code == 2
    assert says in done.err
    assert len(done.err.splitlines()) == 1
    assert done.out == ""


def test_an_event_is_published_and_acknowledged(deployment: Deployment) -> None:
    unregistered = deployment.run("publish", "lead.new", "--client", "434", "--id", "17")
    assert unregistered.code == 1
    assert "hookstream topics create" in unregistered.err
    deployment.run("topics", "create")

    first = deployment.run("publish", "lead.new", "--client", "434", "--id", "17", "--json").json()
    second = deployment.run("publish", "lead.status", "--client", "434", "--id", "17", "--sub-namespace", "x", "--json")
    assert first["topic"] == deployment.topics.events("lead")
    assert second.json()["partition"] == first["partition"]
    assert second.json()["offset"] == first["offset"] + 1


LINES = [
    '{"event": "lead.new", "client": 434, "concept": {"id": 1}}',
    "",
    '{"event": "lead.nwe", "client": 434, "concept": {"id": 1}}',
    "{not json",
    '{"event": "property.updated", "client": 434, "concept": {"id": 2, "sub_namespace": "villa"}}',
    '{"event": "property.updated", "client": -1, "concept": {"id": 2}}',
    '{"event": "property.updated", "client": 434, "concept": {"id": 2}, "colour": "red"}',
    '{"event": "user.new", "client": 434, "concept": {"id": 3, "namespace": "lead"}}',
    '{"event": "user.new", "client": 434, "concept": {"id": 3}, "id": "0190b7a2-7c1e-7d4f-9d6e-5f3f1f2e4a5b"}',
]
BAD_LINES = {3: "did you mean lead.new", 4: "not JSON", 6: "client", 7: "'colour'", 8: "has another namespace"}


@pytest.mark.parametrize("from_stdin", [False, True])
def test_a_file_is_published_and_wrong_lines_are_named(
    deployment: Deployment, tmp_path: Path, *, from_stdin: bool
) -> None:
    deployment.run("topics", "create")
    text = "\n".join(LINES).encode()
    file = tmp_path / "events.jsonl"
    file.write_bytes(text)
    where = ("-",) if from_stdin else (str(file),)

    done = deployment.run("publish", "--file", *where, given=text)
    assert done.code == 1
    assert done.out == "accepted 3, failed 5\n"
    complaints = done.err.splitlines()
    assert len(complaints) == len(BAD_LINES)
    for (number, says), complaint in zip(BAD_LINES.items(), complaints, strict=True):
        assert complaint.startswith(f"line {number}: ")
        assert says in complaint

    good = "\n".join(line for n, line in enumerate(LINES, 1) if n not in BAD_LINES).encode()
    fine = deployment.run("publish", "--file", "-", "--rate", "1000", "--json", given=good)
    assert fine.code == 0
    assert fine.json() == {"accepted": 3, "failed": 0, "failures": [], "dry_run": False}


def test_a_dry_run_needs_no_kafka_and_sends_nothing(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join(LINES))
    done = command("publish", "--file", str(file), "--dry-run", "--json")
    assert done.code == 1
    assert [failure["line"] for failure in done.json()["failures"]] == list(BAD_LINES)
    assert command("publish", "lead.new", "--client", "1", "--id", "2", "--dry-run").code == 0


def test_what_kafka_refuses_is_a_failed_line(deployment: Deployment) -> None:
    deployment.run("topics", "create")
    huge = json.dumps({"event": "lead.new", "client": 1, "concept": {"id": 1, "sub_namespace": "x" * 2_000_000}})
    done = deployment.run("publish", "--file", "-", given=f"{LINES[0]}\n{huge}\n".encode())
    assert (done.code, done.out) == (1, "accepted 1, failed 1\n")
    assert done.err.startswith("line 2: ")


def test_hooks_are_listed_and_shown_through_the_api(deployment: Deployment) -> None:
    deployment.prepare()
    api = deployment.role("api").wait_ready()
    caller = Caller(api.url, deployment.token("integrator", 434))
    made = [caller.register(event, "https://example.com/x") for event in ("lead.new", "user.new")]
    operator = {"API_URL": api.url, "API_TOKEN": deployment.token("operator")}

    listed = deployment.run("hooks", "list", "--json", also=operator).json()
    assert [hook["id"] for hook in listed] == [hook["id"] for hook in made]
    assert "lead.new" in deployment.run("hooks", "list", "--client", "434", also=operator).out
    assert (
        deployment.run("hooks", "list", "--event", "user.new", "--json", also=operator).json()[0]["event"] == "user.new"
    )
    shown = deployment.run("hooks", "show", str(made[0]["id"]), also=operator)
    assert "effective" in shown.out
    assert "https://example.com/x" in shown.out
    assert "secret" not in shown.out

    absent = deployment.run("hooks", "show", "424242", also=operator)
    assert (absent.code, absent.err) == (1, "hookstream: the API answered 404: there is no hook 424242\n")
    refused = deployment.run("hooks", "list", API_URL=api.url, API_TOKEN="hookstream_nonsense")
    assert refused.code == 1
    assert "401" in refused.err
