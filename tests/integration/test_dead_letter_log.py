"""Dead letters on a real broker: found by filter and time, page by page, one by one, and sent again."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import TopicPartition

from hookstream.processors.kafka import KafkaConfig, make_consumer, make_producer, producer_config, reader_config
from hookstream.processors.offsets import watermarks
from hookstream.processors.operations.embedded import embedded_registry
from hookstream.processors.operations.queries.dead_letter_log import KafkaDeadLetters
from hookstream.processors.operations.replays.event_writer import EventWriter
from hookstream.processors.operations.replays.writer import ReplayWriter
from hookstream.processors.topic_specs import TopicLimits, topic_specs
from hookstream.processors.topics import create_topics
from hookstream.schemas.catalogue import InternalSchema, subject
from hookstream.schemas.codecs.dead_letters import dead_letter_encoder
from hookstream.schemas.codecs.deliveries import delivery_decoder, delivery_encoder
from hookstream.schemas.codecs.events import event_encoder
from hookstream.schemas.delivery import DeadLetter, DeadLetterReason, DeliveryId
from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import HookId
from hookstream.subscriptions.dead_letters import DeadLetterPlace, DeadLetterQuery, FoundDeadLetter
from hookstream.subscriptions.errors import DeadLettersUnavailableError
from tests.support import values
from tests.support.foreign_topics import catalogue_with
from tests.support.wait import WITHIN_S, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hookstream.schemas.topics import TopicNames
    from tests.support.kafka_broker import Kafka

CLIENTS = range(1, 7)
PARTITIONS = 3


SOURCES = """
[booking]
topic = "{prefix}bookings"
value = "json"
event = "constant:made"
client = "field:client"
"""


class DeadLetters:
    """The topic with dead letters of six clients, and what reads it."""

    def __init__(self, kafka: KafkaConfig, topics: TopicNames) -> None:
        self.kafka, self.topics = kafka, topics
        catalogue = catalogue_with(SOURCES.format(prefix=topics.prefix), topics)
        create_topics(kafka, topic_specs(topics, catalogue, TopicLimits(partitions=PARTITIONS)), replication_factor=1)
        registry = embedded_registry(catalogue, topics)
        self.schemas = registry.schema_text_by_id
        self.encode = delivery_encoder(registry.id_for(subject(topics.deliveries), InternalSchema.DELIVERY.text))
        self._encode_dead_letter = dead_letter_encoder(
            registry.id_for(subject(topics.dead_letters), InternalSchema.DEAD_LETTER.text)
        )
        self._producer = make_producer(producer_config(kafka))
        self.writer = ReplayWriter(kafka, topics, encode=self.encode)
        self.registry, self.catalogue = registry, catalogue
        self.events = EventWriter(kafka)
        self.log = KafkaDeadLetters(
            kafka, topics, catalogue=catalogue, schemas=self.schemas, writer=self.writer, events=self.events
        )

    def dead_letter(self, client: int, number: int, **fields: Any) -> DeadLetter:
        """Make the dead letter of a delivery."""
        delivery = replace(values.DELIVERY, id=DeliveryId(f"msg_{client}_{number}"), client=ClientId(str(client)))
        return replace(
            values.DEAD_LETTER,
            reason=DeadLetterReason.SCHEDULE,
            topic=self.topics.deliveries,
            client=ClientId(str(client)),
            hook_id=HookId(client),
            record_value=self.encode(delivery),
            delivery_id=delivery.id,
            **fields,
        )

    def write(self, *dead_letters: DeadLetter) -> int:
        """Write dead letters, and give the time that the broker has after that."""
        stamps: list[int] = []
        for dead_letter in dead_letters:
            key = None if dead_letter.client is None else dead_letter.client.encode()
            self._producer.produce(
                self.topics.dead_letters,
                self._encode_dead_letter(dead_letter),
                key,
                on_delivery=lambda _error, message: stamps.append(message.timestamp()[1]),
            )
        assert self._producer.flush(WITHIN_S) == 0
        return max(stamps)

    def all(self, **query: Any) -> list[FoundDeadLetter]:
        """Every page of a query."""
        found: list[FoundDeadLetter] = []
        page = self.log.find(DeadLetterQuery(**query))
        found += page.dead_letters
        while page.after is not None:
            page = self.log.find(DeadLetterQuery(**query, after=page.after))
            found += page.dead_letters
        return found


@pytest.fixture
def dead_letters(kafka: Kafka, topics: TopicNames) -> Iterator[DeadLetters]:
    made = DeadLetters(KafkaConfig(bootstrap_servers=kafka.bootstrap_servers), topics)
    yield made
    made.writer.close()
    made.events.close()


def ids(found: list[FoundDeadLetter]) -> list[str | None]:
    return [dead_letter.dead_letter.delivery_id for dead_letter in found]


def test_dead_letters_are_found_by_client_reason_and_time_page_by_page(dead_letters: DeadLetters) -> None:
    before = dead_letters.write(*(dead_letters.dead_letter(client, n) for client in CLIENTS for n in range(5)))
    assert len(dead_letters.all(limit=4)) == 30, "pages end anywhere, and none is skipped or given twice"
    assert ids(dead_letters.all(client=ClientId("3"), limit=2)) == [f"msg_3_{n}" for n in range(5)], (
        "in the order of the log"
    )
    assert ids(dead_letters.all(hook_id=4)) == [f"msg_4_{n}" for n in range(5)]
    assert dead_letters.all(event="lead.new") == []

    # The broker's clock has milliseconds: the next one is waited for by writing until it is there.
    eventually(lambda: dead_letters.write(dead_letters.dead_letter(9, 0)) > before + 1)
    since = before + 2
    dead_letters.write(dead_letters.dead_letter(2, 5, detail="later"))
    assert ids(dead_letters.all(client=ClientId("2"), since_ms=since)) == ["msg_2_5"]
    assert ids(dead_letters.all(client=ClientId("2"), until_ms=since)) == [f"msg_2_{n}" for n in range(5)]
    assert dead_letters.all(since_ms=since + 3_600_000) == []


def test_what_cannot_be_sent_again_says_why(dead_letters: DeadLetters) -> None:
    undecodable = replace(
        dead_letters.dead_letter(1, 0), reason=DeadLetterReason.UNDECODABLE, record_value=b"\x00nonsense"
    )
    unroutable = replace(
        dead_letters.dead_letter(1, 1),
        reason=DeadLetterReason.UNROUTABLE,
        topic=dead_letters.topics.events("lead"),
        hook_id=None,
    )
    without_payload = replace(dead_letters.dead_letter(1, 2), record_value=None)
    dead_letters.write(undecodable, unroutable, without_payload, dead_letters.dead_letter(1, 3))
    found = dead_letters.all(client=ClientId("1"))
    assert [dead_letter.delivery is not None for dead_letter in found] == [False, False, False, True]
    assert ["read" in (f.unfit or "") or "routed" in (f.unfit or "") or "fit" in (f.unfit or "") for f in found] == [
        True, True, True, False,
    ]  # fmt: skip


def test_what_another_service_wrote_is_not_written_to_its_topic_again(dead_letters: DeadLetters) -> None:
    topic = f"{dead_letters.topics.prefix}bookings"
    refused = replace(
        dead_letters.dead_letter(1, 0), topic=topic, hook_id=None, delivery_id=None, record_value=b'{"client":1}'
    )
    dead_letters.write(refused)
    (found,) = dead_letters.all(client=ClientId("1"))
    assert not found.resendable, "though it can be read by now"
    assert "a replay of that time from `events` sends it" in (found.unfit or "")


def test_an_event_that_can_be_decoded_by_now_is_routed_anew(dead_letters: DeadLetters) -> None:
    source = dead_letters.topics.events("property")
    newer = json.loads(dead_letters.catalogue.schema_text("property")) | {"doc": "as a later release describes it"}
    schema_id = dead_letters.registry.register(subject(source), json.dumps(newer))
    value = event_encoder(dead_letters.catalogue, "property", schema_id)(values.EVENT)
    unread = replace(
        dead_letters.dead_letter(9999, 0), topic=source, reason=DeadLetterReason.UNDECODABLE, record_value=value
    )
    mine = replace(unread, record_key=b"9999|888999", hook_id=None, delivery_id=None)
    stolen = replace(mine, client=ClientId("1"), record_key=b"1|888999")
    dead_letters.write(mine, stolen)
    (found,) = dead_letters.all(client=ClientId("9999"))
    assert (found.resendable, found.event_name, found.event) == (True, "property.updated", values.EVENT)
    (other,) = dead_letters.all(client=ClientId("1"))
    assert not other.resendable, "whoever may resend dead letters of client 1 sends no event of client 9999"

    dead_letters.log.resend([found], job="resend-1")
    consumer = make_consumer(reader_config(dead_letters.kafka))
    places = [TopicPartition(source, partition, 0) for partition in range(PARTITIONS)]
    consumer.assign(places)
    try:
        (message,) = eventually(lambda: [m for m in consumer.consume(10, 0.2) if m.error() is None])
    finally:
        consumer.close()
    assert (message.key(), message.value()) == (values.EVENT.key, value)


def test_dead_letters_are_read_by_their_ids_and_sent_again(dead_letters: DeadLetters) -> None:
    dead_letters.write(*(dead_letters.dead_letter(client, n) for client in CLIENTS for n in range(3)))
    places = [found.place for found in dead_letters.all()]
    chosen = [places[-1], places[0], places[5], DeadLetterPlace(0, 10_000), DeadLetterPlace(99, 0)]
    got = dead_letters.log.get(chosen)
    assert set(got) == set(chosen[:3])

    deliveries = [got[place].delivery for place in chosen[:3]]
    dead_letters.log.resend([got[place] for place in chosen[:3]], job="resend-1")
    decode = delivery_decoder(dead_letters.schemas)
    sent = {delivery.id: delivery for delivery in map(decode, _read_all(dead_letters))}
    assert set(sent) == {delivery.id for delivery in deliveries if delivery is not None}
    assert all(delivery.replay == "resend-1" and delivery.replayed_at_ms > 0 for delivery in sent.values())


def test_a_broker_that_is_unavailable_is_said(dead_letters: DeadLetters) -> None:
    away = KafkaConfig(bootstrap_servers="127.0.0.1:1")
    log = KafkaDeadLetters(
        away,
        dead_letters.topics,
        catalogue=dead_letters.catalogue,
        schemas=dead_letters.schemas,
        writer=dead_letters.writer,
        events=dead_letters.events,
    )
    with pytest.raises(DeadLettersUnavailableError):
        log.find(DeadLetterQuery())


def _read_all(dead_letters: DeadLetters) -> list[bytes | None]:
    """Every value of the replay topic."""
    consumer = make_consumer(reader_config(dead_letters.kafka))
    try:
        found: list[bytes | None] = []
        for partition in range(PARTITIONS):
            low, end = watermarks(consumer, dead_letters.topics.replays, partition)
            consumer.assign([TopicPartition(dead_letters.topics.replays, partition, low)])
            while low < end:
                for message in consumer.consume(10, 0.5):
                    if message.error() is None:
                        found.append(message.value())
                        low = (message.offset() or 0) + 1
        return found
    finally:
        consumer.close()
