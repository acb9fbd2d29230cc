"""Promise: the master key and hooks' secrets are rotated under load, and every delivery verifies all the while."""

from __future__ import annotations

import base64
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from standardwebhooks import Webhook

from hookstream.producers.config import ProducerConfig
from hookstream.producers.event_producer import EventProducer
from tests.support.deployment import Caller, Deployment, Role
from tests.support.receiver import Receiver, Request
from tests.support.values import an_event
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hookstream.schemas.topics import TopicNames
    from tests.support.kafka_broker import Kafka
    from tests.support.processes import Processes

CLIENT = 434
EVENTS = ("lead.new", "lead.status", "lead.updated")


@contextmanager
def load(deployment: Deployment) -> Iterator[Callable[[], int]]:
    """Publish to every hook in turn until it is left; gives how many were acknowledged."""
    ended, published = threading.Event(), [0]
    config = ProducerConfig(
        bootstrap_servers=deployment.kafka, schema_registry_url=deployment.registry, topics=deployment.topics
    )

    def publish() -> None:
        with EventProducer(config) as producer:
            while not ended.wait(0.02):
                name = EVENTS[published[0] % len(EVENTS)]
                producer.produce(an_event(name, client=CLIENT, concept=published[0])).result(30)
                published[0] += 1

    thread = threading.Thread(target=publish, name="load")
    thread.start()
    try:
        yield lambda: published[0]
    finally:
        ended.set()
        thread.join()


def is_signed_twice(got: Request) -> bool:
    """Whether a request has a signature by each of two secrets."""
    return [part.partition(",")[0] for part in got.headers["webhook-signature"].split()] == ["v1", "v1"]


def new_key() -> str:
    """A key as a setting has it."""
    return base64.b64encode(os.urandom(32)).decode()


def replaced(deployment: Deployment, roles: dict[str, Role], **settings: str) -> dict[str, Role]:
    """Stop roles and start them with other settings, on other ports; they get ready side by side."""
    for role in roles.values():
        assert role.process.terminate() == 0, role.process.log_tail()
    started = {name: deployment.role(name, **settings) for name in roles}
    return {name: role.wait_ready() for name, role in started.items()}


@pytest.mark.parametrize("database", ["sqlite_url", "database_url"], ids=["sqlite", "postgresql"])
def test_keys_are_rotated_while_deliveries_go_on(  # parts of a deployment
    kafka: Kafka,
    registry_url: str,
    topics: TopicNames,
    processes: Processes,
    request: pytest.FixtureRequest,
    database: str,
) -> None:
    """Roles take both keys, `secrets rotate` seals everything again, the old key goes: nothing is lost or unsigned."""
    url: str = request.getfixturevalue(database)
    deployment = Deployment(kafka.bootstrap_servers, registry_url, url, topics, processes)
    deployment.prepare()
    old, new = deployment.env["HOOKSTREAM_SECRET_KEY"], new_key()
    both = {"SECRET_KEY": new, "SECRET_KEY_PREVIOUS": old}
    router = deployment.role("router")
    keyed = {name: deployment.role(name) for name in ("deliver", "api")}
    token = deployment.token("integrator", CLIENT)
    for role in (router, *keyed.values()):
        role.wait_ready()
    caller = Caller(keyed["api"].url, token)
    with Receiver() as receiver:
        hooks = {name: caller.register(name, receiver.url(name)) for name in EVENTS}
        secrets = {f"/{name}": [hook["secret"]] for name, hook in hooks.items()}
        caller.wait_effective(max(hook["id"] for hook in hooks.values()))
        with load(deployment) as published:
            keyed = replaced(deployment, keyed, **both)
            dry = deployment.run("secrets", "rotate", "--dry-run", "--json", also=both).json()
            assert dry["key"] not in dry["under"]
            assert sum(dry["under"].values()) == len(EVENTS)
            done = deployment.run("secrets", "rotate", "--json", "--wait", "60", also=both)
            assert done.code == 0, done.out + done.err
            report = done.json()
            assert (report["hooks"], report["unpublished"], list(report["under"])) == (len(EVENTS), 0, [report["key"]])

            rotated = Caller(keyed["api"].url, token)("POST", f"/hooks/{hooks['lead.status']['id']}/secret/rotate")
            assert rotated.status_code == 200, rotated.text
            secrets["/lead.status"].append(rotated.json()["hook"]["secret"])

            keyed = replaced(deployment, keyed, SECRET_KEY=new)
            eventually(lambda: any(map(is_signed_twice, receiver.accepted())), describe="the worker has the new secret")
            so_far = published()
            eventually(lambda: published() >= so_far + 30)
        count = published()
        eventually(lambda: len({r.id for r in receiver.accepted()}) >= count, describe=f"{count} deliveries")
        requests = receiver.accepted()
    assert len({r.id for r in requests}) == count
    for got in requests:
        Webhook(secrets[got.path][0]).verify(got.body, got.headers)
    last = [got for got in requests if got.path == "/lead.status"][-1]
    assert is_signed_twice(last)
    Webhook(secrets["/lead.status"][1]).verify(last.body, last.headers)


def test_what_only_an_unknown_key_opens_is_owed_until_the_key_is_back(
    kafka: Kafka, registry_url: str, sqlite_url: str, topics: TopicNames, processes: Processes
) -> None:
    """A worker without the right key sends nothing unsigned and loses nothing; with the key it delivers."""
    deployment = Deployment(kafka.bootstrap_servers, registry_url, sqlite_url, topics, processes)
    deployment.prepare()
    api, router = (deployment.role(name) for name in ("api", "router"))
    worker = deployment.role("deliver", SECRET_KEY=new_key())
    for role in (api, router, worker):
        role.wait_ready()
    caller = Caller(api.url, deployment.token("integrator", CLIENT))
    with Receiver() as receiver:
        hook = caller.register("lead.new", receiver.url("lead"))
        caller.wait_effective(hook["id"])
        assert deployment.run("publish", "lead.new", "--client", str(CLIENT), "--id", "1").code == 0
        said = "no request can be made for a hook"
        worker.process.wait_until(lambda: said in worker.process.log_text(), what="it is said")
        failed = deployment.run("secrets", "rotate", "--wait", "0", SECRET_KEY=new_key())
        assert failed.code == 1
        assert f"hook {hook['id']} is sealed under none of these keys" in failed.err
        assert receiver.requests == []
        replaced(deployment, {"deliver": worker})
        eventually(lambda: len(receiver.accepted()) == 1)
        Webhook(hook["secret"]).verify(receiver.accepted()[0].body, receiver.accepted()[0].headers)
