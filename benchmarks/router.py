"""The router alone on a real broker: thin bodies of envelopes, and Avro records of another service, 1 KB as JSON.

Every event is wanted by a hook, so each is decoded, looked up, encoded, produced and acknowledged. The events are in
the log before the clock starts. The broker and this process share the machine.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from typing import TYPE_CHECKING

from benchmarks.figures import Figure, median_of
from benchmarks.running import Size, arguments, main
from benchmarks.source_mapping import ORDER, SOURCE, record, values
from benchmarks.stack import NotMeasuredError, broker
from hookstream.processors.kafka import KafkaConfig, make_producer, producer_config
from hookstream.processors.lifecycle import Health, StopSignal
from hookstream.processors.metrics import Metrics
from hookstream.processors.operations.embedded import embedded_registry
from hookstream.processors.routing.router import Router, RouterConfig
from hookstream.processors.topic_specs import TopicLimits, topic_specs
from hookstream.processors.topics import create_topics
from hookstream.schemas.catalogue import Catalogue, subject
from hookstream.schemas.codecs.events import event_encoder
from hookstream.schemas.codecs.hooks import subscription_encoder
from hookstream.schemas.event import ClientId, Concept, Event, EventName
from hookstream.schemas.hook import Hook, HookId, HookState, Revision
from hookstream.schemas.topics import TopicNames
from hookstream.schemas.wire import record_writer
from tests.support.kafka_broker import create_plain_topics, delete_topics

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from hookstream.producers.registry import SchemaRegistry

NAMESPACE = "property"
EVENT = EventName("property.updated")
RESOURCES = 500
BAR_PER_S = 25_000
BAR_CPU_US = 40.0
# A record of 20 fields with decimals and timestamps, whose body has all of them.
FOREIGN_EVENT = EventName("order.placed")
FOREIGN_BAR_PER_S = 12_000
FOREIGN_BAR_CPU_US = 80.0
GIVE_UP_S = 120.0
SIZES = (
    Size("events", 100_000, 10_000, "events a round"),
    Size("hooks", 50, 50, "hooks, one a client"),
    Size("rounds", 3, 1, "rounds; the median counts"),
)


def catalogue_of(topics: TopicNames) -> Catalogue:
    """The envelope of `property`, and a topic of another service."""
    source = SOURCE.format(value="avro", body="data").replace("shop.orders", f"{topics.prefix}shop.orders")
    envelope = Catalogue.shipped().schema_text(NAMESPACE).encode()
    return Catalogue.from_files({f"{NAMESPACE}.avsc": envelope, "sources.toml": source.encode()}, topics)


def fill(
    kafka: KafkaConfig, topics: TopicNames, registry: SchemaRegistry, *, events: int, hooks: int, foreign: bool
) -> None:
    """Put the hooks and the events into their topics."""
    catalogue = catalogue_of(topics)
    texts = catalogue.subjects(topics)

    def schema_id(topic: str) -> int:
        return registry.id_for(subject(topic), texts[subject(topic)])

    encode_hook = subscription_encoder(schema_id(topics.subscriptions))
    source = catalogue.topic("order" if foreign else NAMESPACE, topics)
    encode_event = event_encoder(catalogue, NAMESPACE, schema_id(topics.events(NAMESPACE)))
    order_schema = json.dumps(record("Order", ORDER))
    encode_order = record_writer(order_schema, registry.register(subject(f"{topics.prefix}shop.orders"), order_schema))
    producer = make_producer({**producer_config(kafka, linger_ms=20.0), "queue.buffering.max.messages": 1_000_000})
    for client in range(1, hooks + 1):
        hook = Hook(
            id=HookId(client),
            client=ClientId(str(client)),
            event=FOREIGN_EVENT if foreign else EVENT,
            target=f"https://receiver-{client}.example.com/hook",
            state=HookState.ENABLED,
            revision=Revision(1),
            secrets=(os.urandom(72),),
        )
        producer.produce(topics.subscriptions, encode_hook(hook), hook.key, 0)
    for number in range(events):
        client, resource = 1 + number % hooks, number // hooks % RESOURCES
        concept = Concept(id=resource, namespace=NAMESPACE)
        event = Event(name=EVENT, client=client, concept=concept, occurred_at_ms=time.time_ns() // 1_000_000)
        if foreign:
            order = {**values(ORDER), "order_id": f"ord-{resource:010}", "merchant": {"id": client, "name": "Merchant"}}
            producer.produce(source, encode_order(order), event.key)
        else:
            producer.produce(source, encode_event(event), event.key)
        if not number % 1000:
            producer.poll(0)
    producer.flush()


def one_round(bootstrap_servers: str, *, events: int, hooks: int, foreign: bool) -> dict[str, float]:
    """Route everything once; seconds and CPU are counted from the first record to the last acknowledgement."""
    kafka = KafkaConfig(bootstrap_servers=bootstrap_servers)
    topics = TopicNames(prefix=f"bench-{uuid.uuid4().hex[:8]}.")
    catalogue = catalogue_of(topics)
    registry = embedded_registry(catalogue, topics)
    create_topics(kafka, topic_specs(topics, catalogue, TopicLimits()))
    create_plain_topics(bootstrap_servers, *(source.topic_in(topics) for source in catalogue.sources), partitions=12)
    fill(kafka, topics, registry, events=events, hooks=hooks, foreign=foreign)
    config = RouterConfig(kafka=kafka, topics=topics, catalogue=catalogue)
    metrics = Metrics()
    router = Router(config, registry, stop=StopSignal(), health=Health(), metrics=metrics)
    give_up = time.monotonic() + GIVE_UP_S
    try:
        router.open()
        routed = 0
        while not routed:
            routed += router.run_once()
        wall, cpu = time.perf_counter(), time.process_time()
        first = routed
        while routed < events or router.outstanding:
            routed += router.run_once(0.001)
            if time.monotonic() > give_up:
                message = f"only {routed} of {events} after {GIVE_UP_S:.0f} s"
                raise NotMeasuredError(message)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    finally:
        router.close()
        delete_topics(bootstrap_servers, topics.prefix)
    counted = events - first
    return {"per_s": counted / wall, "cpu_us": cpu / counted * 1e6}


def measure(options: argparse.Namespace) -> tuple[Sequence[Figure], Sequence[str]]:
    """All rounds."""
    with broker() as servers:
        rounds, foreign = [
            [
                one_round(servers, events=options.events, hooks=options.hooks, foreign=each)
                for _ in range(options.rounds)
            ]
            for each in (False, True)
        ]

    def rate(found: Sequence[dict[str, float]]) -> float:
        return median_of(found, lambda each: each["per_s"])

    def cpu(found: Sequence[dict[str, float]]) -> float:
        return median_of(found, lambda each: each["cpu_us"])

    return [
        Figure(name="rate", value=rate(rounds), unit="/s", at_least=BAR_PER_S),
        Figure(name="CPU", value=cpu(rounds), unit="µs/event", at_most=BAR_CPU_US),
        Figure(name="rate, 1 KB of Avro", value=rate(foreign), unit="/s", at_least=FOREIGN_BAR_PER_S),
        Figure(name="CPU, 1 KB of Avro", value=cpu(foreign), unit="µs/event", at_most=FOREIGN_BAR_CPU_US),
    ], []


if __name__ == "__main__":
    chosen = arguments(__doc__, SIZES)
    main("router", chosen, lambda: measure(chosen))
