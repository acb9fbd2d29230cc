"""Wrong input is refused with a clear error, roles wait for what is unavailable, and neither loses anything."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from tests.support.deployment import START_S, Caller, Deployment, Role
from tests.support.receiver import Receiver
from tests.support.tcp_proxy import TcpProxy
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from hookstream.schemas.topics import TopicNames
    from tests.support.kafka_broker import HurtableKafka, Kafka
    from tests.support.processes import Processes

EVENT = {"event": "lead.new", "client": 434, "concept": {"id": 17}}
GOOD = "https://example.com/"
ARRIVE_S = 60.0


def refused(answer: httpx.Response, status: int, *says: str) -> None:
    """Check that a request was refused, with a problem document that says why and repeats no token."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    for words in says:
        assert words in problem["detail"]
    assert "hookstream_" not in answer.text


def test_every_wrong_request_gets_a_clear_error_and_the_right_one_is_delivered(
    kafka: Kafka, registry_url: str, database_url: str, topics: TopicNames, processes: Processes
) -> None:
    """Wrong JSON, events, targets and tokens are refused as problems, over HTTP; then a right hook is served."""
    deployment = Deployment(kafka.bootstrap_servers, registry_url, database_url, topics, processes)
    deployment.prepare()
    api, _, _ = [deployment.role(name).wait_ready() for name in ("api", "router", "deliver")]
    ours = Caller(api.url, deployment.token("integrator", 434))
    theirs = Caller(api.url, deployment.token("integrator", 9999))
    platform = Caller(api.url, deployment.token("platform"))

    headers = {"authorization": f"Bearer {ours.token}", "content-type": "application/json"}
    for broken in (b"{", b"", b"\xff\xfe", b'{"hook": '):
        answer = httpx.post(f"{api.url}/hooks", content=broken, headers=headers, trust_env=False, timeout=30)
        refused(answer, 422 if not broken else 400)
    for nonsense in NONSENSE:
        refused(ours("POST", "/hooks", nonsense), 422)
    refused(ours("POST", "/hooks", hook("lead.nwe", GOOD)), 422, "did you mean lead.new")
    for target, says in TARGETS.items():
        refused(ours("POST", "/hooks", hook("lead.new", target)), 422, says)

    for no_token in (
        None,
        "hookstream_nonsense",
        deployment.token("integrator", 434, "--expires-in-days", "0.0000001"),
    ):
        answer = Caller(api.url, no_token)("POST", "/hooks", hook("lead.new", GOOD))
        refused(answer, 401, "token")
        assert answer.headers["www-authenticate"].startswith("Bearer")
    refused(platform("POST", "/hooks", hook("lead.new", GOOD)), 403, "integrator")
    refused(ours("POST", "/events", EVENT), 403, "platform")
    refused(platform("POST", "/events", EVENT | {"event": "lead.nwe"}), 422, "did you mean lead.new")
    refused(platform("POST", "/events", EVENT | {"client": "434"}), 422, "client")
    assert ours("GET", "/hooks").json()["hooks"] == []

    with Receiver() as receiver:
        made = ours.register("lead.new", receiver.url("leads"))
        refused(ours("POST", "/hooks", hook("lead.new", GOOD)), 409, str(made["id"]))
        for method in ("GET", "DELETE"):
            refused(theirs(method, f"/hooks/{made['id']}"), 404)
        assert theirs("GET", "/hooks").json()["hooks"] == []
        ours.wait_effective(made["id"])
        assert platform("POST", "/events", EVENT).status_code == 202
        eventually(lambda: [request.path for request in receiver.accepted()] == ["/leads"], ARRIVE_S)


def hook(event: str, target: str) -> dict[str, object]:
    """A body of `POST /hooks`."""
    return {"hook": {"event": event, "target": target}}


NONSENSE: list[object] = [
    [],
    {},
    {"hook": {}},
    {"hook": {"event": 3, "target": GOOD}},
    {"hook": {"event": "lead.new"}},
]
TARGETS = {
    "ftp://example.com/": "http:// or https://",
    "example.com": "http:// or https://",
    "http://": "host",
    GOOD + "x" * 2048: "2048",
    "http://10.0.0.1/": "private",
    "http://169.254.169.254/latest/meta-data": "private",
    "http://[::1]/": "private",
    "http://0xA000001/": "private",
    "http://user:secret@example.com/": "user name or password",
}


def test_parts_that_are_away_at_the_start_are_waited_for(
    private_kafka: Callable[..., HurtableKafka],
    registry_url: str,
    database_url: str,
    topics: TopicNames,
    processes: Processes,
) -> None:
    """Roles that start before Kafka, registry and database run on, say in `/readyz` what is missing, and then work."""
    broker = private_kafka()
    real = urlsplit(registry_url), urlsplit(database_url)
    with TcpProxy(real[0].port or 80) as to_registry, TcpProxy(real[1].port or 5432) as to_database:
        deployment = Deployment(
            broker.bootstrap_servers,
            real[0]._replace(netloc=to_registry.address).geturl(),
            real[1]._replace(netloc=f"{real[1].netloc.rpartition('@')[0]}@{to_database.address}").geturl(),
            topics,
            processes,
        )
        deployment.prepare()
        token, platform_token = deployment.token("integrator", 434), deployment.token("platform")
        broker.stop()
        to_registry.cut()
        to_database.cut()

        roles = {name: deployment.role(name) for name in ("api", "router", "deliver")}
        api = roles["api"]
        for role in roles.values():
            says(role, "kafka")
        says(api, "the database does not serve us: ")
        refused(Caller(api.url, token)("GET", "/hooks"), 503, "database")
        refused(Caller(api.url, token)("POST", "/hooks", hook("lead.new", GOOD)), 503, "database")

        to_database.heal()
        eventually(lambda: '"database":"ok"' in api.unready_because().replace(" ", ""), START_S)
        caller, platform = Caller(api.url, token), Caller(api.url, platform_token)
        with Receiver() as receiver:
            made = caller.register("lead.new", receiver.url("leads"))  # needs the database alone
            refused(platform("POST", "/events", EVENT), 503, "Kafka")
            broker.start()
            for name in ("router", "deliver"):
                says(roles[name], "schema registry")
            to_registry.heal()
            for role in roles.values():
                role.wait_ready()
                assert "Traceback" not in role.process.log_text()
            caller.wait_effective(made["id"])
            assert platform("POST", "/events", EVENT).status_code == 202
            eventually(lambda: [request.path for request in receiver.accepted()] == ["/leads"], ARRIVE_S)


def says(role: Role, words: str) -> None:
    """Wait until a role that lives says that it is not ready, and why."""
    eventually(lambda: words in role.unready_because(), START_S, every_s=0.2, describe=f"{role.process.name}: {words}")
    assert role.is_alive()
    assert role.process.running
