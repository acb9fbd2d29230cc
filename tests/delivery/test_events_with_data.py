"""Promise: events with data are delivered like any other, with the same bytes in every attempt, up to the limit."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from standardwebhooks import Webhook

from hookstream.producers.config import ProducerConfig
from hookstream.producers.event_producer import EventProducer
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.event import Concept, Event, EventName
from tests.support.deployment import Caller, Deployment, Role
from tests.support.receiver import Receiver
from tests.support.repository import ROOT
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hookstream.schemas.topics import TopicNames
    from tests.support.kafka_broker import Kafka
    from tests.support.processes import Processes

ORDERS = ROOT / "examples" / "orders"
CLIENT = "acme"
NAMES = ("order.placed", "order.paid", "order.shipped")
RESOURCES = 8
MAX_BODY_BYTES = 3000
WITHIN_S = 90.0


@dataclass
class Shop:
    """A deployment whose orders have data and text ids, and the receiver that its hooks point to."""

    deployment: Deployment
    producer: EventProducer
    receiver: Receiver
    roles: dict[str, Role]
    sent: list[Event] = field(default_factory=list)

    @property
    def client(self) -> Caller:
        """The integrator."""
        return Caller(self.roles["api"].url, self.deployment.token("integrator", CLIENT))

    def publish(self, count: int) -> None:
        """Produce events of a few orders in turns, acknowledged; the number of each stands in its data."""
        for _ in range(count):
            number = len(self.sent)
            name = NAMES[number // RESOURCES % len(NAMES)]
            self.sent.append(order(name, f"o-{number % RESOURCES}", number=str(number)))
            self.producer.produce(self.sent[-1])
        self.producer.flush(30.0)

    def restart(self, name: str) -> None:
        """Kill -9 a role, and start it again."""
        self.roles[name].process.kill()
        self.roles[name] = self.deployment.role(name)

    def arrived(self) -> int:
        """How many different deliveries were accepted."""
        return len({request.id for request in self.receiver.accepted()})


def order(name: str, concept: str, **labels: str) -> Event:
    """What happened to an order, with data of every kind."""
    data = {
        "currency": "EUR",
        "total": Decimal("1999.90"),
        "placed_at": "2026-11-28T08:00:00.123456Z",
        "deliver_on": "2026-12-24",
        "lines": [{"sku": "Ä-1", "quantity": 2, "price": "999.95", "gift_note": None}],
        "labels": labels,
    }
    about = Concept(id=concept, namespace="order")
    return Event(name=EventName(name), client=CLIENT, concept=about, occurred_at_ms=1_795_852_800_000, data=data)


@pytest.fixture
def shop(kafka: Kafka, registry_url: str, sqlite_url: str, topics: TopicNames, processes: Processes) -> Iterator[Shop]:
    """Everything, ready."""
    deployment = Deployment(kafka.bootstrap_servers, registry_url, sqlite_url, topics, processes)
    deployment.env |= {
        "HOOKSTREAM_SCHEMA_DIR": str(ORDERS),
        "HOOKSTREAM_CLIENT_IDS": "string",
        "HOOKSTREAM_MAX_BODY_BYTES": str(MAX_BODY_BYTES),
    }
    deployment.prepare()
    config = ProducerConfig(bootstrap_servers=kafka.bootstrap_servers, schema_registry_url=registry_url, topics=topics)
    with EventProducer(config, catalogue=Catalogue.from_directory(ORDERS)) as producer, Receiver() as receiver:
        roles = {name: deployment.role(name) for name in ("api", "router", "deliver")}
        for role in roles.values():
            role.wait_ready()
        yield Shop(deployment, producer, receiver, roles)


def test_data_arrives_whole_and_in_order_though_an_endpoint_fails_and_router_and_worker_are_killed(shop: Shop) -> None:
    """Nothing is lost or out of order, and every attempt of a delivery, before and after a kill -9, has one body.

    A body of exactly HOOKSTREAM_MAX_BODY_BYTES is delivered; one that has a byte more is a dead letter that says so.
    """
    secrets = {f"/{name}": shop.client.register(name, shop.receiver.url(name))["secret"] for name in NAMES}
    shop.client.wait_effective(len(NAMES))
    failing = {"/order.shipped"}
    shop.receiver.answer = lambda path: 503 if path in failing else 204
    shop.publish(48)
    eventually(lambda: shop.arrived() == 32, WITHIN_S, describe="all but those of the failing endpoint")
    eventually(lambda: any(request.path in failing for request in shop.receiver.requests), WITHIN_S)
    shop.restart("deliver")
    shop.publish(48)
    shop.restart("router")
    shop.publish(48)
    failing.clear()
    eventually(lambda: shop.arrived() == len(shop.sent), WITHIN_S, describe="everything")
    check_arrived(shop, secrets)

    spare = MAX_BODY_BYTES - len(rendered(order("order.placed", "o-limit", pad="")))
    exact, larger = (order("order.placed", "o-limit", pad="x" * (spare + more)) for more in (0, 1))
    for event in (larger, exact):
        shop.producer.produce(event)
    shop.producer.flush(30.0)
    eventually(lambda: shop.arrived() == len(shop.sent) + 1, WITHIN_S, describe="the largest body")
    assert shop.receiver.accepted()[-1].body == rendered(exact)
    assert len(rendered(exact)) == MAX_BODY_BYTES
    (dead_letter,) = eventually(lambda: shop.client("GET", "/dead-letters").json()["dead_letters"], WITHIN_S)
    assert (dead_letter["reason"], dead_letter["client"]) == ("too-large", CLIENT)
    assert dead_letter["detail"] == f"the body has {MAX_BODY_BYTES + 1} bytes; it may have {MAX_BODY_BYTES}"


def rendered(event: Event) -> bytes:
    """The body that an order has, by the table of the documents."""
    data: Any = event.data
    body = {
        "event": event.name,
        "client": CLIENT,
        "concept": {"id": event.concept.id, "namespace": "order", "sub_namespace": None},
        "data": {**data, "total": str(data["total"])},
    }
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def check_arrived(shop: Shop, secrets: dict[str, str]) -> None:
    """Each event arrived as it was sent, first deliveries in order, and repeated ones with the same bytes."""
    bodies: dict[str, set[bytes]] = defaultdict(set)
    for request in shop.receiver.requests:
        Webhook(secrets[request.path]).verify(request.body, request.headers)
        bodies[request.id].add(request.body)
    assert all(len(each) == 1 for each in bodies.values()), "attempts of one delivery differ"
    assert len(shop.receiver.requests) > len(bodies), "something was attempted twice"
    assert sorted(body for each in bodies.values() for body in each) == sorted(map(rendered, shop.sent))
    of_resource: dict[tuple[str, str], list[int]] = defaultdict(list)
    seen: set[str] = set()
    for request in shop.receiver.accepted():
        if request.id not in seen:
            seen.add(request.id)
            body = json.loads(request.body)
            of_resource[request.path, body["concept"]["id"]].append(int(body["data"]["labels"]["number"]))
    assert len(of_resource) == len(NAMES) * RESOURCES
    assert all(numbers == sorted(numbers) for numbers in of_resource.values())
