"""Roles, each a process, deliver what is published, on Kafka, PostgreSQL and a schema registry."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest
from standardwebhooks import Webhook

from hookstream.producers.config import ProducerConfig
from hookstream.producers.event_producer import EventProducer
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.control import endpoint_id, target_digest
from hookstream.schemas.delivery import delivery_id
from hookstream.schemas.event import ClientId, Event
from tests.support.deployment import START_S, Caller, Deployment, Role
from tests.support.receiver import Receiver, Request
from tests.support.values import an_event
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hookstream.schemas.topics import TopicNames
    from tests.support.kafka_broker import Kafka
    from tests.support.processes import Processes

EVENTS = Catalogue.shipped().domain_names
CLIENTS = (434, 9999)
RESOURCES = ((888999, None), (17, "villa"))
ARRIVE_S = 60.0


@dataclass
class Pipeline:
    """A deployment in which every role runs, and the receiver that its hooks point to."""

    deployment: Deployment
    api: Role
    router: Role
    worker: Role
    receiver: Receiver

    def caller(self, client: int) -> Caller:
        """A caller with that client's token."""
        return Caller(self.api.url, self.deployment.token("integrator", client))

    def producer(self) -> EventProducer:
        """What a service publishes with."""
        config = ProducerConfig(
            bootstrap_servers=self.deployment.kafka,
            schema_registry_url=self.deployment.registry,
            topics=self.deployment.topics,
        )
        return EventProducer(config)

    def publish(self, events: Sequence[Event]) -> None:
        """Publish as a service does, acknowledged."""
        with self.producer() as producer:
            for receipt in [producer.produce(event) for event in events]:
                receipt.result(30)

    def wait_for(self, count: int) -> list[Request]:
        """Wait for so many accepted requests and give them."""
        eventually(lambda: len(self.receiver.accepted()) >= count, ARRIVE_S, describe=f"{count} deliveries")
        return self.receiver.accepted()


@pytest.fixture
def pipeline(
    kafka: Kafka, registry_url: str, database_url: str, topics: TopicNames, processes: Processes
) -> Iterator[Pipeline]:
    """Everything, ready."""
    deployment = Deployment(kafka.bootstrap_servers, registry_url, database_url, topics, processes)
    deployment.prepare()
    api, router, worker = [deployment.role(name) for name in ("api", "router", "deliver")]
    for role in (api, router, worker):
        role.wait_ready()
    with Receiver() as receiver:
        yield Pipeline(deployment, api, router, worker, receiver)


def expected_body(event: Event) -> bytes:
    """The bytes that integrators were promised."""
    concept = {
        "id": event.concept.id,
        "namespace": event.concept.namespace,
        "sub_namespace": event.concept.sub_namespace,
    }
    body = {"event": event.name, "client": event.client, "concept": concept}
    return json.dumps(body, separators=(",", ":")).encode()


def line_of(event: Event) -> dict[str, object]:
    """The event as `publish --file` and `POST /events` take it."""
    concept = {"id": event.concept.id, "sub_namespace": event.concept.sub_namespace}
    return {"event": event.name, "client": event.client, "concept": concept, "id": str(event.id)}


def one_of_each() -> list[Event]:
    """Every event of every client, about two resources."""
    return [
        an_event(name, client=client, concept=concept, sub=sub)
        for concept, sub in RESOURCES
        for client in CLIENTS
        for name in EVENTS
    ]


def test_every_event_reaches_its_target_whichever_way_it_was_published(pipeline: Pipeline) -> None:
    """All 23 events arrive once, with the promised body, headers and signature, in order per resource."""
    assert len(EVENTS) == 23
    denied = {"hook": {"event": EVENTS[0], "target": "http://127.9.0.1/"}}
    assert pipeline.caller(CLIENTS[0])("POST", "/hooks", denied).status_code == 422, "the operator's rules hold"
    secrets: dict[str, str] = {}
    hook_ids: dict[str, int] = {}
    for client in CLIENTS:
        caller = pipeline.caller(client)
        for name in EVENTS:
            hook = caller.register(name, pipeline.receiver.url(f"{client}/{name}"))
            assert hook["client"] == {"id": client}
            path = f"/{client}/{name}"
            secrets[path], hook_ids[path] = hook["secret"], hook["id"]
        caller.wait_effective(max(hook_ids.values()))

    by_service, by_file, by_api = one_of_each(), one_of_each(), one_of_each()
    pipeline.publish(by_service)
    lines = "".join(json.dumps(line_of(event)) + "\n" for event in by_file)
    done = pipeline.deployment.run("publish", "--file", "-", given=lines.encode())
    assert (done.code, done.out) == (0, f"accepted {len(by_file)}, failed 0\n"), done.err
    platform = Caller(pipeline.api.url, pipeline.deployment.token("platform"))
    answer = platform("POST", "/events", [line_of(event) for event in by_api])
    assert answer.status_code == 202, answer.text
    assert len(answer.json()["receipts"]) == len(by_api)

    sent = [*by_service, *by_file, *by_api]
    requests = pipeline.wait_for(len(sent))
    expected: dict[tuple[str, int | str], list[str]] = defaultdict(list)
    bodies: dict[str, bytes] = {}
    for event in sent:
        path = f"/{event.client}/{event.name}"
        webhook_id = delivery_id(event.id, hook_ids[path])
        expected[path, event.concept.id].append(webhook_id)
        bodies[webhook_id] = expected_body(event)
    arrived: dict[tuple[str, int | str], list[Request]] = defaultdict(list)
    for request in requests:
        arrived[request.path, json.loads(request.body)["concept"]["id"]].append(request)

    assert len(requests) == len(sent), "something was delivered twice"
    assert {key: [request.id for request in found] for key, found in arrived.items()} == expected
    for (path, _), found in arrived.items():
        positions = [request.sequence for request in found]
        assert positions == sorted(set(positions))
        assert {topic for topic, _, _ in positions} == {
            pipeline.deployment.topics.events(path.rpartition("/")[2].partition(".")[0])
        }
        for request in found:
            check_headers(request)
            assert request.body == bodies[request.id]
            Webhook(secrets[path]).verify(request.body, request.headers)
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(secrets["/434/lead.new"]).verify(requests[0].body, arrived["/9999/lead.new", 17][0].headers)
    # A receiver has a request before its worker has the answer, so the last ones are counted a moment later.
    eventually(lambda: pipeline.worker.metric('hookstream_deliveries_total{outcome="delivered"}') == len(sent))
    eventually(lambda: pipeline.router.metric('hookstream_routed_total{result="routed"}') == len(sent))


def check_headers(request: Request) -> None:
    """Hold a request to the promised headers."""
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == f"hookstream/{version('hookstream')}"
    assert request.headers["hookstream-attempt"] == "1"
    assert int(request.headers["hookstream-occurred-at"]) > 1_700_000_000_000
    assert "hookstream-replay" not in request.headers


def test_23_events_have_one_secret_and_are_verified_before_they_are_parsed(pipeline: Pipeline) -> None:
    """One request registers every event under one secret: the public library takes each delivery as its bytes came.

    A receiver of many endpoints finds the secret by `hookstream-hook`. While it is rotated, for all hooks of the
    endpoint at once, both the old and the new one verify.
    """
    caller, target = pipeline.caller(434), pipeline.receiver.url("all")
    answer = caller("POST", "/hooks", {"hooks": {"events": ["*"], "target": target}})
    assert answer.status_code == 201, answer.text
    registered = answer.json()
    assert len(registered["hooks"]) == 23
    secrets = {str(hook["id"]): registered["secret"] for hook in registered["hooks"]}
    caller.wait_effective(max(hook["id"] for hook in registered["hooks"]))
    pipeline.publish([an_event(name, client=434) for name in EVENTS])
    for request in pipeline.wait_for(len(EVENTS)):
        Webhook(secrets[request.headers["hookstream-hook"]]).verify(request.body, request.headers)

    endpoint = endpoint_id(ClientId("434"), target_digest(target))
    rotated = caller("POST", f"/endpoints/{endpoint}/secret/rotate").json()["endpoint"]
    assert len(rotated["hooks"]) == 23

    def signed_twice() -> list[Request]:
        pipeline.publish([an_event("lead.new", client=434)])
        return [each for each in pipeline.receiver.accepted() if " " in each.headers["webhook-signature"]]

    request = eventually(signed_twice, ARRIVE_S, every_s=0.2, describe="the worker has the new secret")[0]
    for secret in (registered["secret"], rotated["secret"]):
        Webhook(secret).verify(request.body, request.headers)
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(rotated["secret"]).verify(pipeline.receiver.accepted()[0].body, pipeline.receiver.accepted()[0].headers)


def test_a_deleted_hook_gets_nothing_more(pipeline: Pipeline) -> None:
    """After `DELETE /hooks/{id}` its events are delivered no more, and those of other hooks still are."""
    caller = pipeline.caller(434)
    gone = caller.register("lead.new", pipeline.receiver.url("gone"))
    kept = caller.register("lead.updated", pipeline.receiver.url("kept"))
    caller.wait_effective(kept["id"])
    pipeline.publish([an_event("lead.new", client=434), an_event("lead.updated", client=434)])
    pipeline.wait_for(2)

    assert caller("DELETE", f"/hooks/{gone['id']}").status_code == 204
    assert caller("GET", f"/hooks/{gone['id']}").status_code == 404
    again = caller.register("lead.status", pipeline.receiver.url("again"))
    caller.wait_effective(again["id"])  # registered after the deletion: whoever knows it knows the deletion
    pipeline.publish([an_event(name, client=434) for name in ("lead.new", "lead.updated", "lead.status")])
    requests = pipeline.wait_for(4)
    assert sorted(request.path for request in requests) == ["/again", "/gone", "/kept", "/kept"]


def test_roles_stop_gracefully_and_their_successors_go_on(pipeline: Pipeline) -> None:
    """SIGTERM ends every role with 0; what was published meanwhile is delivered, in order and once, after a restart."""
    caller = pipeline.caller(434)
    hook = caller.register("lead.updated", pipeline.receiver.url("leads"))
    caller.wait_effective(hook["id"])
    events = [an_event("lead.updated", client=434, concept=1000 + n % 3) for n in range(30)]
    pipeline.publish(events[:10])
    pipeline.wait_for(10)

    assert pipeline.worker.process.terminate() == 0, pipeline.worker.process.log_tail()
    pipeline.publish(events[10:20])
    assert pipeline.router.process.terminate() == 0, pipeline.router.process.log_tail()
    pipeline.publish(events[20:])
    assert pipeline.api.process.terminate() == 0, pipeline.api.process.log_tail()

    pipeline.deployment.role("router")
    pipeline.deployment.role("deliver").wait_ready(START_S)
    requests = pipeline.wait_for(len(events))
    assert len(requests) == len(events)
    for concept in (1000, 1001, 1002):
        expected = [delivery_id(event.id, hook["id"]) for event in events if event.concept.id == concept]
        came = [request.id for request in requests if json.loads(request.body)["concept"]["id"] == concept]
        assert came == expected
