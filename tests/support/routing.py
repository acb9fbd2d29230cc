"""A deployment as far as a router sees it: topics, hooks, events going in, deliveries coming out."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from confluent_kafka import Consumer, Message, TopicPartition

from hookstream.processors.kafka import KafkaConfig, make_consumer, make_producer, producer_config, reader_config
from hookstream.processors.lifecycle import Health, StopSignal
from hookstream.processors.metrics import Metrics
from hookstream.processors.offsets import committed_offsets, end_offset
from hookstream.processors.routing.router import Router, RouterConfig
from hookstream.processors.tables.subscription_reader import PARTITION
from hookstream.processors.topic_specs import TopicLimits, topic_specs
from hookstream.processors.topics import create_topics, register_schemas
from hookstream.producers.registry import SchemaRegistry
from hookstream.schemas.catalogue import Catalogue, subject
from hookstream.schemas.codecs.dead_letters import dead_letter_decoder
from hookstream.schemas.codecs.deliveries import delivery_decoder
from hookstream.schemas.codecs.events import event_encoder
from hookstream.schemas.codecs.hooks import subscription_encoder
from hookstream.schemas.event import ClientId, Concept, Event, EventName
from hookstream.schemas.hook import RESYNC_MARK_KEY, Hook, HookId, HookState, ResyncMark, Revision
from tests.support.wait import WITHIN_S, eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from hookstream.schemas.delivery import DeadLetter, Delivery
    from hookstream.schemas.topics import TopicNames

# librdkafka's mock makes topics with so many.
EMBEDDED_PARTITIONS = 4

Headers: TypeAlias = list[tuple[str, str | bytes | None]]

EVENT = EventName("lead.updated")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A delivery and where it stands."""

    delivery: Delivery
    partition: int
    offset: int
    headers: dict[str, bytes] = field(default_factory=dict)


class RoutingWorld:
    """Makes the topics of a deployment, and speaks to them like producers, the API and the workers do."""

    def __init__(
        self,
        bootstrap_servers: str,
        topics: TopicNames,
        *,
        embedded: bool = False,
        partitions: int = 3,
        catalogue: Catalogue | None = None,
        registry: SchemaRegistry | None = None,
    ) -> None:
        """Create the topics and register the schemas, in a registry of this process where none is given."""
        self.kafka = KafkaConfig(bootstrap_servers=bootstrap_servers, embedded=embedded)
        self.topics = topics
        self.catalogue = catalogue or Catalogue.shipped()
        self.partitions = EMBEDDED_PARTITIONS if embedded else partitions
        if registry is not None:
            register_schemas(registry, self.catalogue, topics)
        self.registry = registry or routing_registry(self.catalogue, topics)
        self.limits = TopicLimits(partitions=self.partitions)
        create_topics(self.kafka, topic_specs(topics, self.catalogue, self.limits))
        self.producer = make_producer(producer_config(self.kafka, message_timeout_ms=60_000))
        texts = self.catalogue.subjects(topics)
        self._ids = {topic: self.registry.id_for(topic, text) for topic, text in texts.items()}
        self._encode_hook = subscription_encoder(self._ids[subject(topics.subscriptions)])
        self._encode_event = event_encoder(self.catalogue, "lead", self._ids[subject(self.source)])
        self.sent: list[Event] = []
        self.failed: list[str] = []

    @property
    def source(self) -> str:
        """Topic of the events that this world produces."""
        return self.topics.events("lead")

    def hook(self, client: int, *, revision: int = 1, state: HookState = HookState.ENABLED) -> Hook:
        """The one hook of a client; its id is the client's plus 1,000."""
        return Hook(
            id=HookId(1000 + client),
            client=ClientId(str(client)),
            event=EVENT,
            target=f"https://client-{client}.example/hook",
            state=state,
            revision=Revision(revision),
            secrets=(b"ciphertext",),
        )

    def put_hooks(self, *hooks: Hook | ResyncMark) -> None:
        """Publish rows, acknowledged."""
        for row in hooks:
            key = row.key if isinstance(row, Hook) else RESYNC_MARK_KEY
            self.put(self.topics.subscriptions, self._encode_hook(row), key, partition=PARTITION)
        self.flush()

    def put_event(
        self, client: int, concept: int, *, headers: Headers | None = None, sub_namespace: str | None = None
    ) -> Event:
        """Produce one event; `flush` waits for it."""
        event = Event(
            name=EVENT,
            client=client,
            concept=Concept(id=concept, namespace="lead", sub_namespace=sub_namespace),
            occurred_at_ms=1_700_000_000_000 + len(self.sent),
        )
        self.put(self.source, self._encode_event(event), event.key, headers=headers)
        self.sent.append(event)
        return event

    def put_events(self, count: int, *, clients: int = 4, concepts: int = 5) -> None:
        """Produce events of clients 1 to `clients`, turning over their concepts; acknowledged."""
        for _ in range(count):
            number = len(self.sent)
            self.put_event(1 + number % clients, number // clients % concepts)
            self.producer.poll(0)
        self.flush()

    def put(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        *,
        partition: int = -1,
        headers: Headers | None = None,
    ) -> None:
        """Produce anything."""

        def report(error: object, _message: object) -> None:
            if error is not None:
                self.failed.append(str(error))

        self.producer.produce(topic, value, key, partition, on_delivery=report, headers=headers)

    def flush(self, deadline_s: float = WITHIN_S) -> None:
        """Wait until everything is acknowledged."""
        assert self.producer.flush(deadline_s) == 0
        assert self.failed == []

    def router(
        self,
        *,
        registry: SchemaRegistry | None = None,
        stop: StopSignal | None = None,
        kafka: KafkaConfig | None = None,
        max_event_bytes: int = 1_048_576,
        drain_timeout_s: float = 5.0,
        tracing: bool = False,
    ) -> Router:
        """A router that is not open yet."""
        config = RouterConfig(
            kafka=kafka or self.kafka,
            topics=self.topics,
            catalogue=self.catalogue,
            max_event_bytes=max_event_bytes,
            drain_timeout_s=drain_timeout_s,
            tracing=tracing,
        )
        return Router(config, registry or self.registry, stop=stop or StopSignal(), health=Health(), metrics=Metrics())

    def environment(self) -> dict[str, str]:
        """Settings of a router process on this deployment."""
        return {
            "HOOKSTREAM_KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "HOOKSTREAM_TOPIC_PREFIX": self.topics.prefix,
            "HOOKSTREAM_METRICS_PORT": "0",
            "HOOKSTREAM_STOP_TIMEOUT_S": "5",
        }

    def schema_id(self, topic: str) -> int:
        """The id of the schema of a topic's values."""
        return self._ids[subject(topic)]

    def arrived(self) -> list[Arrived]:
        """Everything in `deliveries`, each partition in its order."""
        return self._deliveries(self.topics.deliveries)

    def replayed(self) -> list[Arrived]:
        """Everything in `deliveries.replay`, each partition in its order."""
        return self._deliveries(self.topics.replays)

    def _deliveries(self, topic: str) -> list[Arrived]:
        decode = delivery_decoder(self.registry.schema_text_by_id)
        return [
            Arrived(
                delivery=decode(message.value()),
                partition=message.partition() or 0,
                offset=message.offset() or 0,
                headers={str(name): value for name, value in list(message.headers() or ()) if isinstance(value, bytes)},
            )
            for message in self._read(topic)
        ]

    def dead(self) -> list[DeadLetter]:
        """Everything in the dead letters."""
        decode = dead_letter_decoder(self.registry.schema_text_by_id)
        return [decode(message.value()) for message in self._read(self.topics.dead_letters)]

    def committed(self) -> list[tuple[int, dict[str, object]]]:
        """Committed offset and note of every partition of the source."""
        consumer = self._reader(group=self.topics.router_group)
        try:
            asked = [TopicPartition(self.source, partition) for partition in range(self.partitions)]
            found = eventually(lambda: committed_offsets(consumer, asked, "cannot read the committed offsets"))
            return [(tp.offset, json.loads((tp.metadata or "{}").rstrip("\0"))) for tp in found]
        finally:
            consumer.close()

    def missing(self) -> set[tuple[ClientId, int]]:
        """Events sent of which no delivery has arrived, as (client, time)."""
        wanted = {(event.client_id, event.occurred_at_ms) for event in self.sent}
        return wanted - {(a.delivery.client, a.delivery.occurred_at_ms) for a in self.arrived()}

    def wait_all_arrived(self, deadline_s: float = WITHIN_S) -> list[Arrived]:
        """Wait until each event sent has a delivery, and give all of them."""

        def none_missing() -> bool:
            missing = self.missing()
            assert not missing, f"{len(missing)} of {len(self.sent)} missing"
            return True

        try:
            eventually(none_missing, deadline_s, every_s=0.3)
        except AssertionError as error:
            missing = self.missing()
            raise AssertionError(f"{len(missing)} of {len(self.sent)} missing: {self._standing(missing)}") from error
        return self.arrived()

    def _standing(self, missing: set[tuple[ClientId, int]]) -> str:
        """Say where some of the missing events stand in their topic, and how far the routers are there."""
        first_ms, some = self.sent[0].occurred_at_ms, sorted(missing, key=lambda event: event[1])[:8]
        events = [f"client {client}: event {at_ms - first_ms}" for client, at_ms in some]
        routed: dict[int, set[int]] = {}
        for each in self.arrived():
            routed.setdefault(each.delivery.source_partition, set()).add(each.delivery.source_offset)
        reader = self._reader(group="reads-without-a-group")
        try:
            ends = {number: end_offset(reader, self.source, number) for number in range(self.partitions)}
        finally:
            reader.close()
        absent = {number: sorted(set(range(end)) - routed.get(number, set()))[:8] for number, end in ends.items()}
        dead = [(each.partition, each.offset) for each in self.dead()][:8]
        return f"{events}; committed {self.committed()}; ends {ends}; not routed {absent}; dead letters {dead}"

    def check_promises(self, arrived: list[Arrived]) -> int:
        """Check that nothing is lost, first deliveries are in order, and duplicates carry one id; give their number."""
        assert self.missing() == set()
        first: dict[tuple[int, int], str] = {}
        last_of_resource: dict[tuple[str, str], int] = {}
        duplicates = 0
        for each in arrived:
            delivery = each.delivery
            source = (delivery.source_partition, delivery.source_offset)
            if source in first:
                duplicates += 1
                assert first[source] == delivery.id
                continue
            first[source] = delivery.id
            resource = (delivery.client, delivery.concept_id)
            assert delivery.source_offset > last_of_resource.get(resource, -1), "first deliveries out of order"
            last_of_resource[resource] = delivery.source_offset
        assert len(set(first.values())) == len(first)
        return duplicates

    def _read(self, topic: str) -> list[Message]:
        consumer = self._reader(group="reads-without-a-group")
        try:
            parts = [TopicPartition(topic, partition, 0) for partition in range(self.partitions)]
            ends = {tp.partition: end_offset(consumer, topic, tp.partition) for tp in parts}
            open_parts = {partition for partition, end in ends.items() if end}
            consumer.assign([tp for tp in parts if tp.partition in open_parts])
            found: list[Message] = []
            while open_parts:
                for message in consumer.consume(500, 0.2):
                    if message.error() is not None:
                        continue
                    found.append(message)
                    if (message.offset() or 0) + 1 >= ends[message.partition() or 0]:
                        open_parts.discard(message.partition() or 0)
            return found
        finally:
            consumer.close()

    def _reader(self, *, group: str) -> Consumer:
        return make_consumer({**reader_config(self.kafka), "group.id": group})


def routing_registry(catalogue: Catalogue, topics: TopicNames) -> SchemaRegistry:
    """A registry inside this process; every process that makes one for the same deployment gets the same ids."""
    registry = SchemaRegistry(f"mock://routing-{topics.prefix}")
    register_schemas(registry, catalogue, topics)
    return registry


def turn(router: Router, until: Callable[[], bool], deadline_s: float = WITHIN_S) -> None:
    """Run a router in this thread until something is true."""

    def once() -> bool:
        router.run_once(0.02)
        return until()

    eventually(once, deadline_s, every_s=0)
