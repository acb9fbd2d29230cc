"""The router on topics that another service writes: what it makes of their records, good and bad."""

from __future__ import annotations

import json
import threading
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from confluent_kafka.schema_registry import Schema
from structlog.testing import capture_logs

from hookstream.processors.operations.replays.window import WindowLookup
from hookstream.processors.routing.progress import CommittedProgress
from hookstream.producers.errors import RegistryUnavailableError
from hookstream.producers.registry import SchemaRegistry
from hookstream.schemas.delivery import DeadLetterReason
from hookstream.schemas.event import EventName
from hookstream.schemas.wire import record_writer
from hookstream.subscriptions.choices import ReplaySource
from hookstream.subscriptions.replays import NewReplay, ReplayFilter
from tests.support.foreign_topics import catalogue_with
from tests.support.kafka_broker import create_plain_topics
from tests.support.routing import RoutingWorld, turn
from tests.support.tcp_proxy import TcpProxy
from tests.support.wait import WITHIN_S, eventually

if TYPE_CHECKING:
    from hookstream.processors.routing.router import Router
    from hookstream.schemas.hook import Hook
    from hookstream.schemas.topics import TopicNames
    from tests.support.kafka_broker import Kafka

SOURCES = """
[booking]
topic = "{prefix}bookings"
value = "json"
event = "field:type"
id = "field:id"
client = "field:guest.client"
resource = "field:room"
occurred_at = "field:at"
body = "data"
[booking.events]
"booking.made" = "made"

[order]
topic = "{prefix}orders"
event = "constant:placed"
client = "field:client"
body = "record"
"""
ORDER = {"type": "record", "name": "Order", "fields": [
    {"name": "client", "type": "long"},
    {"name": "ship_on", "type": {"type": "int", "logicalType": "date"}},
]}  # fmt: skip
NOW_OR_LATER_MS = 4_000_000_000_000
GUEST = {"client": 1}
BOOKING: dict[str, Any] = {"type": "booking.made", "id": "b", "guest": GUEST, "room": "r", "at": 1_700_000_000_000}


@pytest.fixture
def world(kafka: Kafka, topics: TopicNames) -> RoutingWorld:
    catalogue = catalogue_with(SOURCES.format(prefix=topics.prefix), topics)
    made = RoutingWorld(kafka.bootstrap_servers, topics, catalogue=catalogue)
    made.put_hooks(hook(made, "booking.made"), hook(made, "order.placed"), made.hook(1))
    return made


def hook(world: RoutingWorld, event: str) -> Hook:
    return replace(world.hook(1), event=EventName(event))


def topic(world: RoutingWorld, name: str, partitions: int = 1) -> str:
    """Make a topic as another service does: by its producers' clock."""
    made = f"{world.topics.prefix}{name}"
    create_plain_topics(world.kafka.bootstrap_servers, made, partitions=partitions)
    return made


def booking(number: int, **changes: Any) -> bytes:
    return json.dumps({**BOOKING, "id": f"b-{number}", **changes}).encode()


def read(router: Router) -> int:
    return 0 if router.outstanding else sum(router.metrics.router.routed.values())


def test_each_bad_json_record_is_a_dead_letter_of_its_own_and_the_others_are_delivered(world: RoutingWorld) -> None:
    bookings = topic(world, "bookings")
    without_client = {key: value for key, value in BOOKING.items() if key != "guest"}
    bad = {
        json.dumps(without_client).encode(): "client = field:guest.client: guest is missing",
        booking(0, guest=None): "client = field:guest.client: guest is null",
        booking(0, guest={"client": None}): "client = field:guest.client: is null",
        booking(0, guest={"client": 1.5}): "client = field:guest.client: is no text and no whole number",
        booking(0, guest={"client": 10**400}): "client = field:guest.client: is no text and no whole number",
        booking(0, room=True): "resource = field:room: is no text and no whole number",
        booking(0, at="yesterday"): "occurred_at = field:at: is no time from 1970 to 9999",
        b'{"type": "booking.made", "type": "booking.made"}': "a key stands twice in one object",
        b"[" * 499_000 + b"]" * 499_000: "nested",
        b'{"type": NaN}': "NaN is no number of JSON",
        b"\xff\xfe{}": "not UTF-8",
        b"": "no JSON",
    }
    good = [booking(number, total=10**number) for number in (1, 30, 400)]
    between = len(bad) // len(good)
    for index, value in enumerate(bad):
        if index % between == 0:
            world.put(bookings, good[index // between], b"k")
        world.put(bookings, value, b"434|k")
    world.put(bookings, None, b"k")
    world.put(bookings, booking(2, type="booking.of_another_kind"), b"k")
    large = booking(3, note="x" * 300_000)
    world.put(bookings, large, b"k")
    world.put_event(1, 7)
    world.flush()
    with closing(world.router()) as router:
        router.open()
        turn(router, lambda: read(router) == len(bad) + len(good) + 4)
        counts = {key: count for key, count in router.metrics.router.routed.items() if count}
        assert counts == {"routed": 4, "dead-lettered": len(bad) + 1, "tombstone": 1, "unmapped": 1}
    *dead_letters, too_large = sorted(world.dead(), key=lambda dead_letter: dead_letter.offset)
    assert (too_large.reason, too_large.client) == (DeadLetterReason.TOO_LARGE, "1")
    assert (too_large.record_value, "262144" in too_large.detail) == (large, True)
    assert [dead_letter.record_value for dead_letter in dead_letters] == list(bad)
    for dead_letter, detail in zip(dead_letters, bad.values(), strict=True):
        assert detail in dead_letter.detail
        assert (dead_letter.reason, dead_letter.client) == (DeadLetterReason.UNDECODABLE, None), (
            "whose it is, nothing says"
        )
    arrived = [each.delivery for each in world.arrived() if each.delivery.namespace == "booking"]
    assert [json.loads(delivery.body)["data"] for delivery in arrived] == list(map(json.loads, good))
    assert [delivery.source_offset for delivery in arrived] == sorted(delivery.source_offset for delivery in arrived)


def test_each_bad_avro_record_is_a_dead_letter_and_an_unavailable_registry_is_waited_for(world: RoutingWorld) -> None:
    orders = topic(world, "orders")
    registry = world.registry._client
    order_id = registry.register_schema(f"{orders}-value", Schema(json.dumps(ORDER), "AVRO"))
    odd_id = registry.register_schema(f"{orders}-odd", Schema('{"type": "of-a-later-avro"}', "AVRO"))
    write = record_writer(json.dumps(ORDER), order_id)
    good = write({"client": 1, "ship_on": 20_785})
    bad = {
        b"\x01" + good[1:]: "starts with byte 1, not with 0",
        b"\0": "shorter than a header",
        b"\0\x7f\xff\xff\xff" + good[5:]: "the registry has none",
        good[:-1]: "the value does not match its schema",
        good + b"\0": "1 bytes after the end",
        write({"client": -1, "ship_on": 1}): "client = field:client: is no number from 0",
        write({"client": 1, "ship_on": 2**31 - 1}): "value.ship_on: a date outside of the years 1 to 9999",
        b"\0" + odd_id.to_bytes(4, "big") + good[5:]: f"schema {odd_id} cannot be read",
    }
    for value in bad:
        world.put(orders, value, b"o-1")
        world.put(orders, good, b"o-1")
    world.flush()
    unavailable = UnavailableRegistry(world.registry, order_id)
    with closing(world.router(registry=unavailable)) as router:
        router.open()
        turn(router, lambda: read(router) == 2 * len(bad))
        assert (unavailable.refused, router.health.reasons) == (2, {})
    dead_letters = sorted(world.dead(), key=lambda dead_letter: dead_letter.offset)
    assert [dead_letter.record_value for dead_letter in dead_letters] == list(bad)
    for dead_letter, detail in zip(dead_letters, bad.values(), strict=True):
        assert detail in dead_letter.detail
    assert dead_letters[6].client == "1", "its bytes were read, so it is known whose it is"
    assert [each.delivery.body for each in world.arrived()] == [b'{"client":1,"ship_on":"2026-11-28"}'] * len(bad)


def test_a_registry_that_is_slow_and_then_away_delays_and_nothing_is_lost_or_out_of_order(
    kafka: Kafka, registry_url: str, topics: TopicNames
) -> None:
    where = urlsplit(registry_url)
    with (
        TcpProxy(where.port or 80, upstream_host=where.hostname or "") as proxy,
        SchemaRegistry(where._replace(netloc=proxy.address).geturl()) as broken,
        SchemaRegistry(registry_url) as registry,
    ):
        catalogue = catalogue_with(SOURCES.format(prefix=topics.prefix), topics)
        world = RoutingWorld(kafka.bootstrap_servers, topics, catalogue=catalogue, registry=registry)
        world.put_hooks(hook(world, "booking.made"), hook(world, "order.placed"))
        bookings, orders = topic(world, "bookings"), topic(world, "orders")
        written: list[int] = []

        def put(number: int) -> None:
            """Write an order with a schema that no reader knows yet, one with each older one, and a booking."""
            text = json.dumps({**ORDER, "doc": f"number {number}"})
            written.append(registry._client.register_schema(f"{orders}-value", Schema(text, "AVRO")))
            for schema_id in reversed(written):
                world.put(orders, record_writer(text, schema_id)({"client": 1, "ship_on": len(sent)}), b"o")
                sent.append("order.placed")
            world.put(bookings, booking(number), b"b")
            sent.append("booking.made")
            world.flush()

        sent: list[str] = []
        with closing(world.router(registry=broken)) as router:
            router.open()
            put(1)
            turn(router, lambda: read(router) == len(sent))
            proxy.slow(0.2)
            put(2)
            turn(router, lambda: read(router) == len(sent), 60.0)
            proxy.cut()
            put(3)
            waiting = threading.Thread(target=heal_when_told, args=(router, proxy), daemon=True)
            waiting.start()
            turn(router, lambda: read(router) == len(sent), 60.0)
            waiting.join(WITHIN_S)
            assert router.health.reasons == {}
        assert world.dead() == []
        arrived = [each.delivery for each in world.arrived()]
        assert sorted(delivery.event for delivery in arrived) == sorted(sent)
        for source in (bookings, orders):
            offsets = [delivery.source_offset for delivery in arrived if delivery.source_topic == source]
            assert offsets == list(range(sent.count("booking.made" if source == bookings else "order.placed")))


def heal_when_told(router: Router, proxy: TcpProxy) -> None:
    """Mend the network once the router says that it waits."""
    eventually(lambda: "schema registry" in router.health.reasons)
    proxy.heal()


class UnavailableRegistry(SchemaRegistry):
    """A registry that does not answer the first questions about one schema."""

    def __init__(self, registry: SchemaRegistry, schema_id: int) -> None:
        super().__init__(registry.url)
        self.refused = 0
        self._schema_id = schema_id

    def schema_text_by_id(self, schema_id: int, /) -> str:
        if schema_id == self._schema_id and self.refused < 2:
            self.refused += 1
            raise RegistryUnavailableError("no answer")
        return super().schema_text_by_id(schema_id)


def test_a_topic_that_is_made_later_is_read_then_and_holds_nothing_up(world: RoutingWorld) -> None:
    world.put_event(1, 7)
    world.flush()
    with (
        closing(world.router()) as router,
        closing(CommittedProgress(world.kafka, world.topics, world.catalogue)) as progress,
    ):
        router.open()
        turn(router, lambda: read(router) == 1)
        turn(router, lambda: progress.committed_table_offset() == 3)
        every = ReplayFilter(from_ms=0, to_ms=NOW_OR_LATER_MS)
        asked = NewReplay(source=ReplaySource.EVENTS, wanted=every, rate_per_s=1.0, endpoint_rate_per_s=1.0)
        lookup = WindowLookup(world.kafka, world.topics, world.catalogue)
        # What is routed, and committed a moment later, can be replayed without that topic, too.
        turn(router, lambda: len(lookup.fix(asked, now_ms=NOW_OR_LATER_MS).stretches) == 1)
        bookings = topic(world, "bookings")
        now_ms = time.time_ns() // 1_000_000
        for number, written_ms in enumerate((1_000, now_ms + 1_800_000, now_ms)):
            world.producer.produce(bookings, booking(number), b"k", timestamp=written_ms)
        world.flush()
        turn(router, lambda: read(router) == 4, 60.0)
        until_now = replace(asked, wanted=replace(every, namespace="booking", to_ms=now_ms + 1))
        # A clock that is ahead hides no record behind its own.
        turn(router, lambda: [s.end for s in lookup.fix(until_now, now_ms=now_ms).stretches] == [3])
    first = next(each.delivery for each in world.arrived() if each.delivery.namespace == "booking")
    assert first.arrived_ms >= now_ms, "what was written by the clock of 1970 does not expire on arrival"
    topic(world, "orders")
    with closing(CommittedProgress(world.kafka, world.topics, world.catalogue)) as progress:
        assert progress.committed_table_offset() is None, "no router has read what was made just now"


def test_a_resource_in_two_partitions_is_counted_and_said_once_for_its_topic(world: RoutingWorld) -> None:
    bookings = topic(world, "bookings", partitions=2)
    with closing(world.router()) as router, capture_logs() as lines:
        router.open()
        for number, partition in enumerate((0, 1, 1, 0)):
            world.put(bookings, booking(number, room="r-1"), b"k", partition=partition)
            world.put(bookings, booking(10 + number, room=f"other-{partition}"), b"k", partition=partition)
            world.flush()
            turn(router, lambda number=number: read(router) == 2 * number + 2)  # type: ignore[misc]
        assert router.metrics.router.order_not_kept == 2
    told = [line for line in lines if "two partitions" in line["event"]]
    assert [(line["topic"], line["offset"]) for line in told] == [(bookings, 0)]
