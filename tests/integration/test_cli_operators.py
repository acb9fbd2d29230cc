"""Operators' actions and dead letters from the command line, through API, control topic and worker, to the endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from hookstream.schemas.delivery import delivery_id
from tests.support.deployment import Caller, Command, Deployment
from tests.support.targets import OK, Reply, Targets
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hookstream.schemas.topics import TopicNames
    from tests.support.kafka_broker import Kafka
    from tests.support.processes import Processes

CLIENT = 434
WHY = ("--reason", "ticket 17")


@pytest.fixture
def targets() -> Iterator[Targets]:
    with Targets() as listening:
        yield listening


@pytest.fixture
def deployment(
    kafka: Kafka, registry_url: str, database_url: str, topics: TopicNames, processes: Processes
) -> Deployment:
    """Name the parts of a deployment on PostgreSQL; nothing is made yet."""
    return Deployment(kafka.bootstrap_servers, registry_url, database_url, topics, processes)


def test_an_endpoint_is_paused_drained_resumed_and_its_dead_letters_resent(
    deployment: Deployment, targets: Targets
) -> None:
    deployment.prepare()
    roles = [deployment.role("api"), deployment.role("router"), deployment.role("deliver")]
    api = roles[0].wait_ready()
    operator = {"API_URL": api.url, "API_TOKEN": deployment.token("operator")}
    caller = Caller(api.url, deployment.token("integrator", CLIENT))
    hook_id = caller.register("lead.new", targets.url("leads"))["id"]
    for role in roles[1:]:
        role.wait_ready()
    caller.wait_effective(hook_id)

    def run(*args: str) -> Any:  # whatever JSON holds
        done = deployment.run(*args, "--json", also=operator)
        assert done.code == 0, done.err
        return done.json()

    def publish(*concepts: int) -> None:
        lines = [f'{{"event": "lead.new", "client": {CLIENT}, "concept": {{"id": {n}}}}}' for n in concepts]
        done = deployment.run("publish", "--file", "-", given="\n".join(lines).encode())
        assert done.code == 0, done.err

    publish(1)
    eventually(lambda: len(targets.accepted) == 1)
    wanted = run("pause", "--hook", str(hook_id), *WHY)
    assert (wanted["paused"], wanted["published"], wanted["reason"]) == (True, True, "ticket 17")
    targets.answer = lambda _seen: Reply(500)  # should the worker not have read it yet
    publish(2, 3, 4)
    eventually(lambda: run("drain", wanted["endpoint"], *WHY, "--dry-run")["behind"] == 3, every_s=0.5)

    def dead_letters() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = run("dead-letters", "list", "--client", str(CLIENT), "--since", "1h")
        return found

    published = deployment.run("publish", "lead.new", "--client", str(CLIENT), "--id", "5", "--json").json()
    skipped = delivery_id(UUID(published["id"]), hook_id)
    looked_up = eventually(lambda: run("skip", skipped, *WHY), every_s=0.5, describe="its endpoint is looked up")
    assert (looked_up["endpoint"], [skip["delivery"] for skip in looked_up["skipped"]]) == (
        wanted["endpoint"],
        [skipped],
    )
    drained = run("drain", wanted["endpoint"], "--yes", *WHY)
    assert drained["skip_before_ms"] > 0
    found = eventually(lambda: four if len(four := dead_letters()) == 4 else None, every_s=0.5)
    assert found is not None
    assert {dead_letter["reason"] for dead_letter in found} == {"skipped"}
    assert all(dead_letter["detail"].endswith("ticket 17") for dead_letter in found)
    plan = run("dead-letters", "resend", "--hook", str(hook_id), "--dry-run")
    assert plan == {
        "resendable": 4,
        "unfit": 0,
        "hooks": [{"client": {"id": CLIENT}, "hook_id": hook_id, "dead_letters": 4}],
    }
    assert len(targets.accepted) == 1

    targets.answer = lambda _seen: OK
    assert not run("resume", "--hook", str(hook_id), *WHY)["paused"]
    run("retry-now", "--hook", str(hook_id), *WHY)
    assert run("dead-letters", "resend", "--reason", "skipped", "--rate", "100") == {"resent": 4, "unfit": 0, "left": 0}
    eventually(lambda: len(targets.accepted) == 5, describe="what was resent is delivered, and not drained again")
    assert {seen.id for seen in targets.accepted[1:]} == {dead_letter["delivery_id"] for dead_letter in found}
    assert {seen.headers["hookstream-replay"].partition("-")[0] for seen in targets.accepted[1:]} == {"resend"}
    shown = deployment.run("dead-letters", "show", found[0]["id"], also=operator)
    assert found[0]["delivery_id"] in shown.out

    integrator = {"API_URL": api.url, "API_TOKEN": caller.token or ""}
    refused = deployment.run("pause", "--hook", str(hook_id), *WHY, also=integrator)
    assert refused.code == 1
    assert "operator" in refused.err


@pytest.mark.parametrize(
    "args",
    [
        ("pause", *WHY),
        ("pause", "434-0123456789abcdef", "--hook", "3", *WHY),
        ("drain", "nonsense", *WHY),
        ("retry-now", "--hook", "3"),
        ("dead-letters", "resend"),
        ("dead-letters", "resend", "0-1", "--all"),
        ("dead-letters", "list", "--since", "yesterday"),
    ],
)
def test_what_is_not_said_whole_is_refused(command: Command, args: tuple[str, ...]) -> None:
    done = command(*args)
    assert done.code == 2
    assert done.err.count("\n") == 1
