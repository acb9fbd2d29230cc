"""What an event producer promises, asked of the fake, of a producer on the mock cluster and of one on a real broker."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from opentelemetry.sdk.trace import TracerProvider

from hookstream.processors.operations.embedded import EmbeddedKafka
from hookstream.producers.config import ProducerConfig
from hookstream.producers.errors import (
    DeliveryFailedError,
    FlushTimeoutError,
    NotRegisteredError,
    ProducerClosedError,
    QueueFullError,
)
from hookstream.producers.event_producer import EventProducer
from hookstream.producers.receipt import Receipt
from hookstream.producers.registry import SchemaRegistry
from hookstream.producers.testing import FakeEventProducer
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.codecs.events import event_decoder
from hookstream.schemas.errors import InvalidValueError, UnknownEventError
from hookstream.schemas.event import Concept, Event, EventName
from hookstream.schemas.topics import TopicNames
from hookstream.schemas.trace_context import TraceContext, find
from tests.support.kafka_broker import Kafka
from tests.support.processes import free_port
from tests.support.values import an_event
from tests.support.wait import WITHIN_S

AnyProducer: TypeAlias = EventProducer | FakeEventProducer

CATALOGUE = Catalogue.shipped()
DEADLINE_S = WITHIN_S
PARTITIONS = 12
HASHES = json.loads((Path(__file__).parents[1] / "vectors" / "murmur2_java.json").read_text())["hashes"]


def registered(topics: TopicNames) -> SchemaRegistry:
    """A registry in this process that has every schema."""
    registry = SchemaRegistry(f"mock://{topics.prefix}")
    for subject, text in CATALOGUE.subjects(topics).items():
        registry.register(subject, text)
    return registry


def config(bootstrap_servers: str, topics: TopicNames, **more: object) -> ProducerConfig:
    return ProducerConfig(
        bootstrap_servers=bootstrap_servers,
        schema_registry_url=f"mock://{topics.prefix}",
        topics=topics,
        source="/tests",
        **more,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def mock_kafka() -> Iterator[EmbeddedKafka]:
    """A mock cluster for this module."""
    kafka = EmbeddedKafka()
    yield kafka
    kafka.stop()


@pytest.fixture
def real(kafka: Kafka, topics: TopicNames) -> tuple[str, TopicNames]:
    """The real broker with topics of twelve partitions."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    made = admin.create_topics([NewTopic(topics.events(ns), PARTITIONS, 1) for ns in CATALOGUE.namespaces])
    for future in made.values():
        future.result(DEADLINE_S)
    return kafka.bootstrap_servers, topics


@pytest.fixture(params=["fake", "mock", "real"])
def producer(request: pytest.FixtureRequest) -> Iterator[AnyProducer]:
    """Each kind of producer, closed at the end."""
    if request.param == "fake":
        with FakeEventProducer() as fake:
            yield fake
        return
    if request.param == "mock":
        servers, topics = request.getfixturevalue("mock_kafka").bootstrap_servers, TopicNames("contract.")
    else:
        servers, topics = request.getfixturevalue("real")
    with EventProducer(config(servers, topics), registry=registered(topics)) as real:
        yield real


def test_a_receipt_says_where_the_event_is(producer: AnyProducer) -> None:
    """A future resolves with topic, partition and offset, and the caller does not have to poll for it."""
    receipt = producer.produce(an_event("lead.new")).result(DEADLINE_S)
    assert receipt.topic.endswith("events.lead")
    assert receipt.partition >= 0
    assert receipt.offset >= 0


def test_one_resource_keeps_its_order(producer: AnyProducer) -> None:
    """Events of one resource are in one partition, in the order in which they were produced."""
    receipts = [f.result(DEADLINE_S) for f in [producer.produce(an_event("lead.updated")) for _ in range(200)]]
    assert len({receipt.partition for receipt in receipts}) == 1
    offsets = [receipt.offset for receipt in receipts]
    assert offsets == sorted(set(offsets))


def test_every_event_of_the_catalogue_is_accepted(producer: AnyProducer) -> None:
    """Each of the 23 events reaches the topic of its namespace."""
    futures = {name: producer.produce(an_event(name)) for name in CATALOGUE.written_names}
    for name, future in futures.items():
        assert future.result(DEADLINE_S).topic.endswith(f"events.{name.partition('.')[0]}")


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (dataclasses.replace(an_event(), name=EventName("property.sold")), UnknownEventError),
        (dataclasses.replace(an_event(), name=EventName("nonsense")), UnknownEventError),
        (dataclasses.replace(an_event(), concept=Concept(id=1, namespace="lead")), InvalidValueError),
        (an_event(concept=-1), InvalidValueError),
        (an_event(concept=2**63), InvalidValueError),
        (an_event(sub="\ud800"), InvalidValueError),
        (dataclasses.replace(an_event(), occurred_at_ms=10**18), InvalidValueError),
    ],
)
def test_a_bad_event_is_refused_before_anything_is_sent(
    producer: AnyProducer, event: Event, error: type[Exception]
) -> None:
    """An unknown event or a bad concept raises a typed error, and the log does not move."""
    before = producer.produce(an_event("user.new")).result(DEADLINE_S)
    with pytest.raises(error):
        producer.produce(event)
    after = producer.produce(an_event("user.new")).result(DEADLINE_S)
    producer.flush(DEADLINE_S)
    assert after.offset == before.offset + 1


def test_an_event_belongs_to_the_trace_of_its_caller(producer: AnyProducer) -> None:
    """Inside a span the record carries its place in the trace; what is handed over goes before; outside there is none.

    The fake remembers what the real one writes into the record's headers.
    """
    given = TraceContext(7, 9, sampled=False).encode()
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    with tracer.start_as_current_span("order placed") as span:
        inside = producer.produce(an_event("lead.new"))
        handed_over = producer.produce(an_event("lead.new"), traceparent=given)
    outside = producer.produce(an_event("lead.new"))
    context = span.get_span_context()
    mine = TraceContext(context.trace_id, context.span_id, sampled=True).encode()
    receipts = [future.result(DEADLINE_S) for future in (inside, handed_over, outside)]
    assert [_traceparent_at(producer, receipt) for receipt in receipts] == [mine, given, None]


def _traceparent_at(producer: AnyProducer, receipt: Receipt) -> bytes | None:
    """What became of the trace of an event."""
    if isinstance(producer, FakeEventProducer):
        return next(entry.traceparent for entry in producer.produced if entry.receipt == receipt)
    consumer = Consumer({"bootstrap.servers": producer._config.bootstrap_servers, "group.id": "reads headers"})
    consumer.assign([TopicPartition(receipt.topic, receipt.partition, receipt.offset)])
    record = consumer.poll(DEADLINE_S)
    consumer.close()
    assert record is not None
    return find(record.headers())


def test_flush_returns_when_everything_is_settled(producer: AnyProducer) -> None:
    """After flush every future is done, and so are its callbacks."""
    seen: list[Future[Receipt]] = []
    futures = [producer.produce(an_event("lead.new", concept=n)) for n in range(500)]
    for future in futures:
        future.add_done_callback(seen.append)
    producer.flush(DEADLINE_S)
    assert all(future.done() for future in futures)
    assert len(seen) == len(futures)


def test_many_threads_may_produce(producer: AnyProducer) -> None:
    """Eight threads produce at once; each event has a receipt of its own, and each thread's resource its order."""

    def thread(number: int) -> list[Receipt]:
        futures = [producer.produce(an_event("user.updated", concept=number)) for _ in range(100)]
        return [future.result(DEADLINE_S) for future in futures]

    with ThreadPoolExecutor(8) as pool:
        by_thread = list(pool.map(thread, range(8)))
    assert len({receipt for receipts in by_thread for receipt in receipts}) == 800
    for receipts in by_thread:
        assert [r.offset for r in receipts] == sorted(r.offset for r in receipts)


def test_nothing_is_accepted_after_close(producer: AnyProducer) -> None:
    """A closed producer refuses, and closing twice is harmless."""
    producer.close()
    producer.close()
    with pytest.raises(ProducerClosedError):
        producer.produce(an_event())


def test_warm_up_refuses_a_namespace_that_does_not_exist(producer: AnyProducer) -> None:
    """Warming up works for every namespace of the catalogue and for no other."""
    producer.warm_up("lead", "user")
    with pytest.raises(UnknownEventError):
        producer.warm_up("order")


def test_a_fake_that_holds_makes_flush_time_out() -> None:
    """A test can have a broker that hangs: receipts come after `release`, flush complains before."""
    fake = FakeEventProducer()
    fake.hold()
    future = fake.produce(an_event())
    with pytest.raises(FlushTimeoutError):
        fake.flush(1.0)
    assert not future.done()
    fake.release()
    assert future.result(0).offset == 0
    fake.flush(1.0)


def test_keys_have_java_s_partitions(real: tuple[str, TopicNames]) -> None:
    """The Kafka client, configured as the producer does it, puts Kafka's test keys where Java's partitioner does."""
    servers, topics = real
    placed: dict[bytes | None, int | None] = {}

    def report(_error: KafkaError | None, message: Message) -> None:
        placed[message.key()] = message.partition()

    client = Producer(config(servers, topics).librdkafka())
    for key in HASHES:
        client.produce(topics.events("lead"), b"", key.encode(), on_delivery=report)
    client.flush(DEADLINE_S)
    assert placed == {key.encode(): (signed & 0x7FFFFFFF) % PARTITIONS for key, signed in HASHES.items()}


def test_the_fake_gives_the_partitions_of_a_real_producer(real: tuple[str, TopicNames]) -> None:
    """For a hundred resources, fake and real producer agree on partition and offset."""
    servers, topics = real
    fake = FakeEventProducer(topics=topics, partitions=PARTITIONS)
    with EventProducer(config(servers, topics), registry=registered(topics)) as producer:
        for number in range(100):
            event = an_event("lead.new", client=number % 7, concept=number)
            assert producer.produce(event).result(DEADLINE_S) == fake.produce(event).result(0)


def test_the_record_is_what_consumers_expect(real: tuple[str, TopicNames]) -> None:
    """Key, headers and body of the record in the log are the contract's; the body decodes to the event."""
    servers, topics = real
    registry = registered(topics)
    event = an_event("property.updated", sub="villa")
    with EventProducer(config(servers, topics), registry=registry) as producer:
        receipt = producer.produce(event).result(DEADLINE_S)
    consumer = Consumer({"bootstrap.servers": servers, "group.id": f"{topics.prefix}reader"})
    consumer.assign([TopicPartition(receipt.topic, receipt.partition, receipt.offset)])
    record = consumer.poll(DEADLINE_S)
    consumer.close()
    assert record is not None
    assert record.key() == b"9999|888999"
    assert dict(record.headers() or [])["ce_id"] == str(event.id).encode()
    assert dict(record.headers() or [])["ce_source"] == b"/tests"
    assert event_decoder(CATALOGUE, "property", registry.schema_text_by_id)(record.value()) == event


def test_an_event_that_is_too_large_is_refused_and_nothing_else(real: tuple[str, TopicNames]) -> None:
    """An event beyond the broker's size is refused itself; the next one passes."""
    servers, topics = real
    with EventProducer(
        config(servers, topics, kafka_options={"message.max.bytes": 5_000_000}), registry=registered(topics)
    ) as producer:
        large = producer.produce(an_event("lead.new", sub="x" * 2_000_000))
        with pytest.raises(DeliveryFailedError) as caught:
            large.result(DEADLINE_S)
        assert caught.value.record_refused
        assert not caught.value.retriable
        with pytest.raises(DeliveryFailedError) as at_once:
            producer.produce(an_event("lead.new", sub="x" * 6_000_000)).result(DEADLINE_S)
        assert at_once.value.record_refused
        assert producer.produce(an_event("lead.new")).result(DEADLINE_S).offset == 0


def test_a_full_queue_blocks_under_a_deadline() -> None:
    """Without a broker, as many events as the queue holds are taken; the next blocks, and raises at the deadline."""
    topics = TopicNames("full.")
    nowhere = config(f"127.0.0.1:{free_port()}", topics, queue_messages=10, queue_deadline_s=0.3, close_deadline_s=0.1)
    producer = EventProducer(nowhere, registry=registered(topics))
    futures = [producer.produce(an_event("lead.new", concept=n)) for n in range(10)]
    before = time.monotonic()
    with pytest.raises(QueueFullError) as caught:
        producer.produce(an_event("lead.new"))
    assert time.monotonic() - before > 0.2, "it did not block"
    assert caught.value.retriable
    with pytest.raises(FlushTimeoutError):
        producer.close()
    for future in futures:
        with pytest.raises(DeliveryFailedError):
            future.result(0)


def test_a_full_queue_lets_go_when_there_is_room(mock_kafka: EmbeddedKafka) -> None:
    """A queue of ten takes a thousand events, because produce waits for room."""
    topics = TopicNames("narrow.")
    with EventProducer(
        config(mock_kafka.bootstrap_servers, topics, queue_messages=10), registry=registered(topics)
    ) as producer:
        futures = [producer.produce(an_event("lead.new", concept=n)) for n in range(1000)]
        assert len({future.result(DEADLINE_S) for future in futures}) == 1000


def test_an_event_without_acknowledgement_fails_at_its_deadline() -> None:
    """Without a broker, an accepted event fails after `message_timeout_s`, and may be produced again."""
    topics = TopicNames("late.")
    nowhere = config(f"127.0.0.1:{free_port()}", topics, message_timeout_s=0.3)
    with EventProducer(nowhere, registry=registered(topics)) as producer, pytest.raises(DeliveryFailedError) as caught:
        producer.produce(an_event()).result(DEADLINE_S)
    assert caught.value.retriable
    assert not caught.value.record_refused


def test_a_schema_that_is_not_registered_stops_the_first_event() -> None:
    """Nothing registers schemas by accident: the first event of a namespace says which command does."""
    topics = TopicNames("unregistered.")
    nowhere = config(f"127.0.0.1:{free_port()}", topics)
    with EventProducer(nowhere) as producer, pytest.raises(NotRegisteredError, match="topics create"):
        producer.produce(an_event())
