"""An event's data, from whoever produces it to the body: producers, outbox, file and API."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import TopicPartition
from sqlalchemy import create_engine, func, select, update
from sqlalchemy.orm import Session

from hookstream.processors.cli.commands.publish_file import event_of_fields
from hookstream.processors.kafka import KafkaConfig, make_consumer, reader_config
from hookstream.processors.operations.embedded import EmbeddedKafka
from hookstream.processors.operations.relays.outbox import Batch, OutboxRelay
from hookstream.producers.config import ProducerConfig
from hookstream.producers.event_producer import EventProducer
from hookstream.producers.outbox import OUTBOX, create_tables, enqueue
from hookstream.producers.registry import SchemaRegistry
from hookstream.producers.testing import FakeEventProducer
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.errors import InvalidValueError
from hookstream.schemas.event import Concept, Event, EventName
from hookstream.schemas.sources.readers import body_of, topic_events
from hookstream.schemas.sources.record import SourceRecord
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.models import Role
from tests.support.subscriptions_api import Api
from tests.support.wait import WITHIN_S, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

DEADLINE_S = WITHIN_S
DATA = {"total": "12.30", "lines": [{"sku": "a", "n": 2}]}
BODY = (
    b'{"event":"lead.new","client":434,"concept":{"id":17,"namespace":"lead","sub_namespace":null},'
    b'"data":{"total":"12.30","lines":[{"sku":"a","n":2}]}}'
)
TOPICS = TopicNames("data.")


def schema(*more: dict[str, object]) -> dict[str, Any]:
    """The shipped envelope of leads, with data."""
    made: dict[str, Any] = json.loads(Catalogue.shipped().schema_text("lead"))
    line = {
        "type": "record",
        "name": "Line",
        "fields": [{"name": "sku", "type": "string"}, {"name": "n", "type": "int"}],
    }
    fields = [
        {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "lines", "type": {"type": "array", "items": line}},
        *more,
    ]
    made["fields"].append({"name": "data", "type": {"type": "record", "name": "LeadData", "fields": fields}})
    return made


def catalogue(text: dict[str, Any]) -> Catalogue:
    return Catalogue.from_files({"lead.avsc": json.dumps(text).encode()})


OLD = catalogue(schema())
NEW = catalogue(schema({"name": "note", "type": "string"}))
"""Data of the old one is none of this."""


def lead(data: object = DATA) -> Event:
    return Event(
        name=EventName("lead.new"), client=434, concept=Concept(id=17, namespace="lead"), occurred_at_ms=5, data=data
    )


@pytest.fixture(scope="module")
def mock_kafka() -> Iterator[EmbeddedKafka]:
    made = EmbeddedKafka()
    yield made
    made.stop()


@pytest.fixture
def registry() -> SchemaRegistry:
    made = SchemaRegistry("mock://data")
    for each in (OLD, NEW):
        made.register("data.events.lead-value", each.schema_text("lead"))
    return made


def bodies(servers: str, registry: SchemaRegistry) -> list[bytes]:
    """What a router of the old catalogue sends of everything in the topic."""
    read = topic_events(OLD, TOPICS, registry.schema_text_by_id)["data.events.lead"].read
    kafka = KafkaConfig(bootstrap_servers=servers, embedded=True)
    consumer = make_consumer(reader_config(kafka))
    count = len(consumer.list_topics("data.events.lead", timeout=DEADLINE_S).topics["data.events.lead"].partitions)
    consumer.assign([TopicPartition("data.events.lead", partition, 0) for partition in range(count)])
    found: list[bytes] = []

    def read_on() -> bool:
        for message in consumer.consume(50, 0.2):
            if message.error() is None:
                record = SourceRecord("data.events.lead", 0, 0, message.key(), message.value(), None, 0)
                found.append(body_of(read(record)))  # type: ignore[arg-type]  # nothing is refused
        return bool(found)

    try:
        eventually(read_on, DEADLINE_S)
    finally:
        consumer.close()
    return found


@pytest.fixture
def producer(mock_kafka: EmbeddedKafka, registry: SchemaRegistry) -> Iterator[EventProducer]:
    config = ProducerConfig(
        bootstrap_servers=mock_kafka.bootstrap_servers, schema_registry_url="mock://data", topics=TOPICS
    )
    with EventProducer(config, registry=registry, catalogue=OLD) as made:
        yield made


def test_what_a_producer_is_given_is_in_the_body(
    producer: EventProducer, mock_kafka: EmbeddedKafka, registry: SchemaRegistry
) -> None:
    """The router renders an event's data as its producer gave it."""
    producer.produce(lead()).result(DEADLINE_S)
    assert bodies(mock_kafka.bootstrap_servers, registry)[0] == BODY


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"total": "12.30", "lines": [{"sku": "a", "n": "2"}]}, r"data\.lines\[0\]\.n must be an integer"),
        ({"total": "1.234", "lines": []}, r"data\.total must be a decimal"),
        ({"total": "1.00", "lines": [], "more": 1}, r"data\.more is not in the schema"),
        (None, "data must be an object"),
    ],
)
@pytest.mark.parametrize("kind", ["fake", "real"])
def test_what_the_schema_refuses_is_an_error_that_names_the_path(
    request: pytest.FixtureRequest, kind: str, data: object, says: str
) -> None:
    """Nothing is sent of data that the schema does not take, by the fake no more than by the real producer."""
    made = FakeEventProducer(catalogue=OLD) if kind == "fake" else request.getfixturevalue("producer")
    with pytest.raises(InvalidValueError, match=says):
        made.produce(lead(data))


def test_data_for_a_schema_without_is_refused() -> None:
    """Nothing vanishes: data that no schema has a place for is an error."""
    with pytest.raises(InvalidValueError, match="lead has no data"):
        FakeEventProducer().produce(lead())


@pytest.fixture
def engine(any_database_url: str) -> Iterator[Engine]:
    made = create_engine(any_database_url)
    create_tables(made)
    yield made
    made.dispose()


def test_the_outbox_refuses_data_in_the_transaction_that_made_it(engine: Engine) -> None:
    """Data that the schema refuses raises in the caller's hands, and leaves no row."""
    with Session(engine) as session, session.begin(), pytest.raises(InvalidValueError, match=r"data\.lines is missing"):
        enqueue(session, lead({"total": "1.00"}), catalogue=OLD)
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(OUTBOX)) == 0


def test_the_outbox_gives_the_relay_the_data(engine: Engine) -> None:
    """A relay sends the event with the data that was enqueued."""
    with Session(engine) as session, session.begin():
        enqueue(session, lead(), catalogue=OLD)
    with FakeEventProducer(catalogue=OLD) as sink, OutboxRelay(engine, sink) as relay:
        assert relay.run_once().sent == 1
        assert [event.data for event in sink.events] == [DATA]


def test_what_was_enqueued_under_an_older_schema_still_goes_out(
    engine: Engine, mock_kafka: EmbeddedKafka, registry: SchemaRegistry
) -> None:
    """A relay whose schema wants more sends an older event as it was written, under its own schema's id."""
    with Session(engine) as session, session.begin():
        enqueue(session, lead(), catalogue=OLD)
    topics = ProducerConfig(
        bootstrap_servers=mock_kafka.bootstrap_servers, schema_registry_url="mock://data", topics=TOPICS
    )
    with EventProducer(topics, registry=registry, catalogue=NEW) as sink, OutboxRelay(engine, sink) as relay:
        with pytest.raises(InvalidValueError, match=r"data\.note is missing"):
            sink.produce(lead())
        assert relay.run_once().sent == 1
    assert bodies(mock_kafka.bootstrap_servers, registry)[-1] == BODY


def test_an_outbox_row_that_is_no_event_is_parked(engine: Engine) -> None:
    """A row whose bytes, or whose schema, are none waits with the reason; the others go on."""
    broken: list[dict[str, object]] = [{"value": b"\xff"}, {"schema_text": "{"}, {"schema_text": None}]
    with Session(engine) as session, session.begin():
        for concept in range(len(broken) + 1):
            enqueue(session, replace(lead(), concept=Concept(id=concept, namespace="lead")), catalogue=OLD)
        for concept, change in enumerate(broken):
            session.execute(update(OUTBOX).where(OUTBOX.c.concept_id == str(concept)).values(**change))
    with FakeEventProducer(catalogue=OLD) as sink, OutboxRelay(engine, sink) as relay:
        assert relay.run_once() == Batch(sent=1, parked=3)


def test_a_schema_that_the_registry_does_not_have_holds_back_nothing_of_another_one(
    engine: Engine, mock_kafka: EmbeddedKafka
) -> None:
    """What was enqueued under a schema that was deleted from the registry waits; what came after goes on."""
    registry = SchemaRegistry("mock://deleted")
    registry.register("data.events.lead-value", NEW.schema_text("lead"))
    old, new = (replace(lead(), concept=Concept(id=concept, namespace="lead")) for concept in (1, 2))
    with Session(engine) as session, session.begin():
        enqueue(session, old, catalogue=OLD)
        enqueue(session, replace(new, data=DATA | {"note": "x"}), catalogue=NEW)
    config = ProducerConfig(
        bootstrap_servers=mock_kafka.bootstrap_servers, schema_registry_url="mock://deleted", topics=TOPICS
    )
    with EventProducer(config, registry=registry, catalogue=NEW) as sink, OutboxRelay(engine, sink) as relay:
        assert relay.run_once() == Batch(sent=1, deferred=1)


def test_two_resources_have_two_names_in_the_outbox(engine: Engine) -> None:
    """A bar in an id makes no two resources one: a parked event of the one would hold back those of the other."""
    texts = schema()
    for field in (texts["fields"][2], texts["fields"][3]["type"]["fields"][0]):
        field["type"] = "string"
    ids = ("a|lead|b", "c"), ("a", "b|lead|c")
    with Session(engine) as session, session.begin():
        for client, concept in ids:
            event = replace(lead(), client=client, concept=Concept(id=concept, namespace="lead"))
            enqueue(session, event, catalogue=catalogue(texts))
    with engine.connect() as connection:
        assert len(set(connection.scalars(select(OUTBOX.c.resource)))) == len(ids)


def test_a_line_of_a_file_has_data() -> None:
    """`data` of a line is checked like the rest of it."""
    line = {"event": "lead.new", "client": 434, "concept": {"id": 17}, "data": DATA}
    assert event_of_fields(line, OLD, now_ms=1).data == DATA
    with pytest.raises(InvalidValueError, match=r"data\.total must be a decimal"):
        event_of_fields({**line, "data": {"total": 1.5, "lines": []}}, OLD, now_ms=1)


def test_the_api_takes_data_and_points_at_its_faults(sqlite_url: str) -> None:
    """`POST /events` takes `data`; what the schema refuses is a 422 with the path, and nothing is published."""
    api = Api(sqlite_url, catalogue=OLD)
    event = {"event": "lead.new", "client": 434, "concept": {"id": 17}}
    assert api.platform()("POST", "/events", event | {"data": DATA}).status_code == 202
    assert [published.data for published in api.events.published] == [DATA]
    for number in ("NaN", "-Infinity", "1e999"):
        text = json.dumps(event | {"data": DATA | {"lines": [0.5]}}).replace("0.5", number).encode()
        headers = {"Authorization": f"Bearer {api.token(Role.PLATFORM)}", "Content-Type": "application/json"}
        refused = api.http.post("/events", content=text, headers=headers)
        assert refused.json()["errors"] == [{"pointer": "#/data", "detail": "Holds a number that is none of JSON"}]
    bad = {"total": "1.00", "lines": [{"sku": 1, "n": 1}]}
    answer = api.platform()("POST", "/events", event | {"data": bad})
    assert answer.status_code == 422
    (fault,) = answer.json()["errors"]
    assert (fault["pointer"], fault["detail"]) == (
        "#/data",
        "data.lines[0].sku must be a string without lone surrogates",
    )
    assert len(api.events.published) == 1
    api.close()
