"""Topics that other services write, delivered without a line of code: every role a process, on Kafka and a registry."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from standardwebhooks import Webhook

from hookstream.processors.offsets import end_offset
from tests.support.deployment import Caller, Deployment, Role
from tests.support.foreign_topics import Sent, shipped_files
from tests.support.kafka_broker import create_plain_topics
from tests.support.receiver import Receiver, Request
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hookstream.schemas.topics import TopicNames
    from tests.support.kafka_broker import Kafka
    from tests.support.processes import Processes

VECTORS = Path(__file__).parents[1] / "vectors"
JAVA = json.loads((VECTORS / "java_avro_order.json").read_text())
CLIENT = 434
WITHIN_S = 90.0
SOURCES = """
[order]
topic = "{prefix}shop.orders"
event = "field:type"
id = "field:id"
client = "field:merchant.id"
resource = "field:order_id"
occurred_at = "field:created_at"
body = "data"
[order.events]
PLACED = "placed"
PAID = "paid"
SHIPPED = "shipped"

[invoice]
topic = "{prefix}outbox.event.invoice"
preset = "debezium-outbox"
client = "field:tenant"
symbols = ["issued", "cancelled"]

[parcel]
topic = "{prefix}post.parcels"
preset = "cloudevents"
client = "field:client"
body = "data"
fields = ["weight"]
[parcel.events]
"com.post.parcel.sent" = "sent"

[booking]
topic = "{prefix}hotel.bookings"
value = "json"
event = "constant:made"
client = "constant:434"
body = "record"
"""
TOPICS = ("shop.orders", "outbox.event.invoice", "post.parcels", "hotel.bookings")
EVENTS = ("order.placed", "order.shipped", "invoice.issued", "invoice.cancelled", "parcel.sent", "booking.made")


@dataclass
class Shop:
    """A deployment that reads four topics of other services, and the receiver that its hooks point to."""

    deployment: Deployment
    api: Role
    router: Role
    receiver: Receiver
    broken: set[str]
    """Paths that answer 503."""

    @property
    def client(self) -> Caller:
        """Their integrator."""
        return Caller(self.api.url, self.deployment.token("integrator", CLIENT))

    def topic(self, name: str) -> str:
        """A topic of another service."""
        return f"{self.deployment.topics.prefix}{name}"

    def produce(self, sent: Sequence[Sent]) -> None:
        """Write records as their services do, acknowledged."""
        producer = Producer({"bootstrap.servers": self.deployment.kafka, "partitioner": "murmur2_random"})
        for record in sent:
            producer.produce(self.topic(record.topic), record.value, record.key, headers=list(record.headers))
        assert producer.flush(30) == 0

    def arrived(self, count: int) -> list[Request]:
        """Wait for so many different deliveries, and give the first accepted request of each."""

        def first_of_each() -> list[Request]:
            found: dict[str, Request] = {}
            for request in self.receiver.accepted():
                found.setdefault(request.id, request)
            assert len(found) == count, f"{len(found)} of {count} deliveries"
            return list(found.values())

        return eventually(first_of_each, WITHIN_S)


@pytest.fixture
def shop(
    kafka: Kafka, registry_url: str, database_url: str, topics: TopicNames, processes: Processes, tmp_path: Path
) -> Iterator[Shop]:
    """Everything, ready."""
    folder = tmp_path / "schemas"
    folder.mkdir()
    files = {**shipped_files(), "sources.toml": SOURCES.format(prefix=topics.prefix).encode()}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    deployment = Deployment(kafka.bootstrap_servers, registry_url, database_url, topics, processes)
    deployment.env["HOOKSTREAM_SCHEMA_DIR"] = str(folder)
    deployment.prepare()
    missing = deployment.run("topics", "check")
    assert (missing.code, missing.out.count("there is no topic")) == (1, len(TOPICS)), missing.out
    create_plain_topics(kafka.bootstrap_servers, *(f"{topics.prefix}{name}" for name in TOPICS), partitions=2)
    assert deployment.run("topics", "check").code == 0
    broken: set[str] = set()
    with Receiver(answer=lambda path: 503 if path in broken else 204) as receiver:
        api, router, worker = [deployment.role(name) for name in ("api", "router", "deliver")]
        for role in (api, router, worker):
            role.wait_ready()
        yield Shop(deployment, api, router, receiver, broken)


def orders(registry_url: str, topic: str) -> list[Sent]:
    """What Apache Avro for Java wrote, in the registry's wire format: number 0 to 5 of two orders."""
    with SchemaRegistryClient({"url": registry_url}) as client:
        schema_id = client.register_schema(f"{topic}-value", Schema(json.dumps(JAVA["schema"]), "AVRO"))
    header = b"\0" + schema_id.to_bytes(4, "big")
    return [
        Sent("shop.orders", f"ord-{number % 2}", header + bytes.fromhex(record), data=order_data(number))
        for number, record in enumerate(JAVA["records"])
    ]


def order_data(number: int) -> dict[str, Any]:
    """What `OrderRecords.java` put into an order, as JSON has it."""
    return {
        "id": f"00000000-0000-4000-8000-00000000000{number}",
        "type": "SHIPPED" if number % 3 == 2 else "PLACED",
        "order_id": f"ord-{number % 2}",
        "merchant": {"id": CLIENT, "name": "Händler"},
        "total": f"{12 + number}.30",
        "discount": None if number % 2 == 0 else "-0.0050",
        "created_at": f"2026-11-28T08:00:0{number}.123456Z",
        "ship_on": "2026-12-24" if number % 2 == 0 else None,
        "note": ("please", 7, None)[number % 3],
        "labels": {"campaign": "autumn"},
        "lines": [
            {"sku": "A-1", "price": "9.99", "quantity": 3},
            {"sku": "B-2", "price": "0.00", "quantity": 1},
        ],
    }


def invoice(number: int) -> Sent:
    """A row of an outbox table, as Debezium's event router writes it."""
    data = {"tenant": CLIENT, "number": number, "total": "12.30"}
    kind = "issued" if number % 2 == 0 else "cancelled"
    headers = (("id", f"i-{number}".encode()), ("eventType", kind.encode()))
    return Sent("outbox.event.invoice", f"inv-{number // 2}", json.dumps(data).encode(), headers, data=data)


def parcel(number: int) -> Sent:
    """A CloudEvent, in binary mode or structured."""
    attributes = {"id": f"p-{number}", "type": "com.post.parcel.sent", "source": "/post", "specversion": "1.0",
                  "subject": f"parcel-{number % 3}", "time": "2026-11-28T08:00:00Z"}  # fmt: skip
    data = {"client": CLIENT, "weight": number}
    if number % 2:
        whole = json.dumps({**attributes, "data": data}).encode()
        return Sent("post.parcels", f"parcel-{number % 3}", whole,
                    (("content-type", b"application/cloudevents+json"),), data={"weight": number})  # fmt: skip
    headers = tuple((f"ce_{name}", value.encode()) for name, value in attributes.items())
    return Sent("post.parcels", f"parcel-{number % 3}", json.dumps(data).encode(), headers, data={"weight": number})


def booking(number: int) -> Sent:
    """Plain JSON, with spaces and digits that arrive as they are."""
    whole = b'{"room": 7,  "price": 1.50, "number": %d}' % number
    return Sent("hotel.bookings", f"guest-{number % 2}", whole, data=whole)


def test_four_topics_are_delivered_in_order_though_an_endpoint_fails_and_the_router_is_killed(
    shop: Shop, registry_url: str
) -> None:
    """Java's Avro, a Debezium outbox, CloudEvents and JSON arrive signed and in order, and once more by a replay."""
    secrets = {f"/{event}": shop.client.register(event, shop.receiver.url(event))["secret"] for event in EVENTS}
    shop.client.wait_effective(len(EVENTS))
    shop.broken.add("/invoice.issued")
    sent = orders(registry_url, shop.topic("shop.orders"))
    sent += [make(number) for number in range(6) for make in (invoice, parcel, booking)]
    half = len(sent) // 2
    shop.produce(sent[:half])
    refused = sum(record.topic == "outbox.event.invoice" and b"issued" in dict(record.headers)["eventType"]
                  for record in sent[:half])  # fmt: skip
    shop.arrived(half - refused)
    shop.router.process.kill()
    shop.produce(sent[half:])
    shop.router = shop.deployment.role("router").wait_ready()
    shop.broken.clear()
    first = shop.arrived(len(sent))
    check_bodies(sent, first)
    check_order(sent, first)
    for request in first:
        Webhook(secrets[request.path]).verify(request.body, request.headers)
    assert shop.router.metric("hookstream_order_not_kept_total") == 0

    deployment = shop.deployment
    deployment.role("replayer").wait_ready()
    deployment.env |= {"HOOKSTREAM_API_URL": shop.api.url, "HOOKSTREAM_API_TOKEN": deployment.token("operator")}
    done = deployment.run("replay", "--from", "-1h", "--yes", "--json")
    assert done.code == 0, done.err
    bodies = {request.id: request.body for request in first}
    assert done.json()["progress"]["sent"] == len(bodies)

    def arrived_again() -> bool:
        again = {r.id: r.body for r in shop.receiver.accepted() if "hookstream-replay" in r.headers}
        return again == bodies

    eventually(arrived_again, WITHIN_S, describe="the same bodies under the same ids")
    assert ends_of(shop) == len(sent), "nothing was written to a topic of another service"


def check_bodies(sent: Sequence[Sent], arrived: Sequence[Request]) -> None:
    """Each record's data arrived once, in the form that its source says."""
    found = [body_data(request) for request in arrived]
    wanted = [record.data for record in sent]
    assert sorted(map(repr, found)) == sorted(map(repr, wanted))
    thin = next(json.loads(request.body) for request in arrived if request.path == "/order.shipped")
    assert thin["event"] == "order.shipped"
    assert thin["client"] == CLIENT
    assert thin["concept"]["namespace"] == "order"


def body_data(request: Request) -> object:
    return request.body if request.path == "/booking.made" else json.loads(request.body)["data"]


def check_order(sent: Sequence[Sent], arrived: Sequence[Request]) -> None:
    """What one endpoint got of one resource arrived in the order of its topic."""
    position = {repr(record.data): (record.key, index) for index, record in enumerate(sent)}
    of_resource: dict[tuple[str, str], list[int]] = defaultdict(list)
    for request in arrived:
        key, index = position[repr(body_data(request))]
        of_resource[request.path, key].append(index)
    assert all(indexes == sorted(indexes) for indexes in of_resource.values())
    assert max(map(len, of_resource.values())) > 1


def ends_of(shop: Shop) -> int:
    """How many records the topics of other services hold."""
    consumer = Consumer({"bootstrap.servers": shop.deployment.kafka, "group.id": "looks-at-ends"})
    places = [TopicPartition(shop.topic(name), partition) for name in TOPICS for partition in range(2)]
    try:
        return sum(end_offset(consumer, place.topic, place.partition) for place in places)
    finally:
        consumer.close()
