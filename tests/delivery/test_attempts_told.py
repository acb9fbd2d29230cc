"""The command line shows what became of a delivery, and sends it again; each role is a process."""

from __future__ import annotations

import json
import signal
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from hookstream.schemas.delivery import delivery_id
from tests.support.deployment import Caller, Deployment, Done, Role
from tests.support.receiver import Receiver, Request
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hookstream.schemas.topics import TopicNames
    from tests.support.kafka_broker import Kafka
    from tests.support.processes import Processes

ARRIVE_S = 60.0


@dataclass
class Told:
    """A deployment with an attempt log, and a receiver; statuses are by path, 204 where none is set."""

    deployment: Deployment
    roles: dict[str, Role]
    statuses: dict[str, int] = field(default_factory=dict)
    receiver: Receiver = field(init=False)

    def __post_init__(self) -> None:
        self.receiver = Receiver(answer=lambda path: self.statuses.get(path, 204))
        self.operator = Caller(self.roles["api"].url, self.deployment.token("operator"))
        self.integrator = Caller(self.roles["api"].url, self.deployment.token("integrator", 434))

    def cli(self, *args: str, by: Caller | None = None) -> Done:
        """Run a command as an operator, or as whom is said."""
        caller = by or self.operator
        return self.deployment.run(*args, also={"API_URL": caller.url, "API_TOKEN": caller.token or ""})

    def hook(self, event: str, path: str) -> int:
        """Register a hook that every router works by."""
        hook_id: int = self.integrator.register(event, self.receiver.url(path))["id"]
        self.integrator.wait_effective(hook_id)
        return hook_id

    def publish(self, *ids: UUID, event: str = "lead.new") -> None:
        """Publish events by their ids, one resource each."""
        lines = [
            json.dumps({"event": event, "client": 434, "concept": {"id": number}, "id": str(event_id)})
            for number, event_id in enumerate(ids, start=1)
        ]
        done = self.deployment.run("publish", "--file", "-", given="\n".join(lines).encode())
        assert done.code == 0, done.err

    def arrived(self, path: str, count: int) -> list[Request]:
        """Wait for so many requests at a path, and give them."""

        def there() -> list[Request]:
            found = [request for request in self.receiver.requests if request.path == f"/{path}"]
            return found if len(found) >= count else []

        return eventually(there, ARRIVE_S, describe=f"{count} requests at {path}")

    def attempts(self, hook_id: int, outcome: str) -> list[dict[str, Any]]:
        """Attempts of a hook, as its integrator sees them."""
        answer = self.integrator("GET", f"/hooks/{hook_id}/attempts?limit=100&outcome={outcome}")
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["attempts"]
        return found

    def state(self, webhook_id: str, caller: Caller | None = None) -> str:
        """What became of a delivery."""
        answer = (caller or self.integrator)("GET", f"/deliveries/{webhook_id}")
        assert answer.status_code == 200, answer.text
        state: str = answer.json()["delivery"]["state"]
        return state


@pytest.fixture
def told(
    kafka: Kafka, registry_url: str, database_url: str, topics: TopicNames, processes: Processes
) -> Iterator[Told]:
    """Every role, ready."""
    deployment = Deployment(kafka.bootstrap_servers, registry_url, database_url, topics, processes)
    deployment.prepare()
    roles = {name: deployment.role(name) for name in ("api", "router", "deliver", "attempt-log")}
    for role in roles.values():
        role.wait_ready()
    made = Told(deployment, roles)
    with made.receiver:
        yield made


def test_every_attempt_is_told_once_and_a_delivery_is_sent_again(told: Told) -> None:
    """Attempts survive kill -9 of their role; a resend and a ping arrive, marked, under the id that they were given."""
    events = [uuid_of(number) for number in range(1, 31)]
    hook_id = told.hook("lead.new", "leads")
    told.publish(*events[:10])
    told.arrived("leads", 10)
    told.roles["attempt-log"].process.signal(signal.SIGKILL)
    told.publish(*events[10:])  # delivered without an attempt log
    told.arrived("leads", 30)
    told.roles["attempt-log"] = told.deployment.role("attempt-log").wait_ready()
    ids = [delivery_id(event, hook_id) for event in events]
    eventually(lambda: len(told.attempts(hook_id, "delivered")) >= 30, ARRIVE_S)
    assert Counter(attempt["delivery_id"] for attempt in told.attempts(hook_id, "delivered")) == Counter(ids)
    assert told.attempts(hook_id, "failed") == []

    resent = told.cli("deliveries", "resend", ids[4], "--json", by=told.integrator)
    assert resent.code == 0, resent.err
    again = told.arrived("leads", 31)[-1]
    first = next(request for request in told.receiver.requests if request.id == ids[4])
    assert (again.id, again.body) == (ids[4], first.body)
    assert again.headers["hookstream-replay"] == resent.json()["job"]
    shown = told.cli("deliveries", "show", ids[4])
    assert shown.code == 0, shown.err
    assert shown.out.startswith(f"{ids[4]}  delivered\n")

    pinged = told.cli("hooks", "ping", str(hook_id), "--wait", "60", "--json", by=told.integrator)
    assert pinged.code == 0, pinged.err
    assert pinged.json()["attempt"]["outcome"] == "delivered"
    ping = told.arrived("leads", 32)[-1]
    assert ping.id == pinged.json()["delivery"]["id"]
    assert ping.headers["hookstream-replay"] == pinged.json()["delivery"]["job"]
    assert json.loads(ping.body)["concept"] == {"id": 0, "namespace": "lead", "sub_namespace": None}
    listed = told.cli("hooks", "attempts", str(hook_id), "--from", "-1h", "--limit", "2")
    assert [line.split()[1] for line in listed.out.splitlines()] == ["delivery", ping.id, ids[4]]


def test_what_was_never_attempted_is_owed(told: Told) -> None:
    """A delivery behind a worker that is stopped is found in the log, by its integrator and by operators alone."""
    hook_id = told.hook("lead.new", "leads")
    told.roles["deliver"].process.signal(signal.SIGKILL)
    event = uuid_of(1)
    told.publish(event)
    owed = delivery_id(event, hook_id)
    eventually(lambda: told.integrator("GET", f"/deliveries/{owed}").status_code == 200, ARRIVE_S)
    assert told.state(owed) == told.state(owed, told.operator) == "owed"
    other = Caller(told.operator.url, told.deployment.token("integrator", 7))
    assert other("GET", f"/deliveries/{owed}").status_code == 404
    told.deployment.role("deliver")
    told.arrived("leads", 1)
    eventually(lambda: told.state(owed) == "delivered", ARRIVE_S)


def test_what_failed_is_told_with_its_answer(told: Told) -> None:
    """A failed ping says so on the command line, and its status and answer are in the log."""
    hook_id = told.hook("lead.updated", "broken")
    told.statuses["/broken"] = 500
    pinged = told.cli("hooks", "ping", str(hook_id), "--wait", "60", by=told.integrator)
    assert pinged.code == 1
    assert pinged.err.endswith("hookstream: the target did not take it: error-status\n")
    attempt = told.attempts(hook_id, "error-status")[-1]
    assert (attempt["status"], attempt["number"], attempt["replay"][:5]) == (500, 1, "ping-")


def uuid_of(number: int) -> UUID:
    """An event id."""
    return UUID(int=number)
