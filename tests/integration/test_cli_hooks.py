"""Hooks disabled and enabled from the command line and by a worker's notice, with the API in a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hookstream.processors.kafka import KafkaConfig, make_producer, producer_config
from hookstream.producers.registry import SchemaRegistry
from hookstream.schemas.catalogue import InternalSchema, subject
from hookstream.schemas.codecs.hooks import notice_encoder
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import HookId, HookNotice, NoticeKind, Revision
from tests.support.deployment import Caller, Command, Deployment
from tests.support.relay_topic import now_ms
from tests.support.wait import eventually

if TYPE_CHECKING:
    from hookstream.schemas.topics import TopicNames
    from tests.support.kafka_broker import Kafka
    from tests.support.processes import Processes


@pytest.fixture
def deployment(
    kafka: Kafka, registry_url: str, database_url: str, topics: TopicNames, processes: Processes
) -> Deployment:
    """Name the parts of a deployment on PostgreSQL; nothing is made yet."""
    return Deployment(kafka.bootstrap_servers, registry_url, database_url, topics, processes)


def test_hooks_are_disabled_and_enabled(deployment: Deployment) -> None:
    deployment.prepare()
    api = deployment.role("api").wait_ready()
    caller = Caller(api.url, deployment.token("integrator", 434))
    hook_id = caller.register("lead.new", "https://example.com/x")["id"]
    number, operator = str(hook_id), {"API_URL": api.url, "API_TOKEN": deployment.token("operator")}

    def is_disabled(reason: str) -> bool:
        hook = caller("GET", f"/hooks/{hook_id}").json()["hook"]
        return (hook["state"], hook["disabled_reason"]) == ("disabled", reason)

    disabled = deployment.run("hooks", "disable", number, also=operator)
    assert (disabled.code, disabled.err) == (0, "")
    assert "requested" in disabled.out
    assert is_disabled("requested")

    skipped = deployment.run("hooks", "enable", number, "--backlog", "skip", "--json", also=operator).json()
    assert skipped["state"] == "enabled"
    assert abs(skipped["not_before_ms"] - now_ms()) < 60_000
    _tell_that_it_is_gone(deployment, hook_id, revision=3)
    eventually(lambda: is_disabled("gone"))
    resumed = deployment.run("hooks", "enable", number, "--backlog", "resume", "--json", also=operator).json()
    assert (resumed["state"], resumed["not_before_ms"]) == ("enabled", skipped["not_before_ms"])

    wanted = ("--client", "9999", "--event", "lead.new", "--event", "user.new", "--target", "https://example.com/y")
    made = deployment.run("hooks", "create", *wanted, "--no-wait", "--json", also=operator).json()
    assert [(hook["event"], hook["client"]["id"]) for hook in made["hooks"]] == [("lead.new", 9999), ("user.new", 9999)]
    again = deployment.run("hooks", "create", *wanted, also=operator)
    first = made["hooks"][0]["id"]
    assert (again.code, f"lead.new (hook {first})" in again.err, made["secret"] in again.err) == (1, True, False)
    changed = deployment.run(
        "hooks", "change", str(first), "--target", "https://example.com/z", "--json", also=operator
    )
    assert changed.json()["target"] == "https://example.com/z"
    rotated = deployment.run("endpoints", "rotate-secret", "--hook", str(first), "--json", also=operator).json()
    assert [hook["id"] for hook in rotated["hooks"]] == [first]
    assert (
        deployment.run("endpoints", "settings", "--hook", str(first), "--json", also=operator).json()["revision"] == 0
    )
    assert deployment.run("hooks", "delete", str(first), "--yes", also=operator).code == 0
    left = deployment.run("hooks", "list", "--client", "9999", "--json", also=operator).json()
    assert [hook["event"] for hook in left] == ["user.new"]

    absent = deployment.run("hooks", "enable", "424242", "--backlog", "resume", also=operator)
    assert (absent.code, absent.err) == (1, "hookstream: the API answered 404: there is no hook 424242\n")


def test_what_becomes_of_the_backlog_has_to_be_said(command: Command) -> None:
    undecided = command("hooks", "enable", "5")
    assert undecided.code == 2
    assert "--backlog" in undecided.err


def _tell_that_it_is_gone(deployment: Deployment, hook_id: int, *, revision: int) -> None:
    """Write what a worker writes whose target answered 410."""
    topic = deployment.topics.hook_notices
    with SchemaRegistry(deployment.registry) as registry:
        schema_id = registry.id_for(subject(topic), InternalSchema.NOTICE.text)
    notice = HookNotice(
        hook_id=HookId(hook_id),
        client=ClientId("434"),
        event=EventName("lead.new"),
        revision=Revision(revision),
        kind=NoticeKind.GONE,
        observed_at_ms=now_ms(),
    )
    config = producer_config(KafkaConfig(bootstrap_servers=deployment.kafka), message_timeout_ms=60_000)
    producer = make_producer(config)
    producer.produce(topic, notice_encoder(schema_id)(notice), notice.key)
    assert producer.flush(90) == 0
