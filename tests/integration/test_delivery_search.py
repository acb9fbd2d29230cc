"""A delivery is found in the logs by its id, on a real broker and on the embedded one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from hookstream.processors.kafka import KafkaConfig, make_producer, producer_config
from hookstream.processors.operations import log_ranges
from hookstream.processors.operations.embedded import EmbeddedKafka
from hookstream.processors.operations.queries import delivery_search
from hookstream.processors.operations.queries.delivery_search import KafkaDeliveryLog
from hookstream.processors.topic_specs import TopicLimits, topic_specs
from hookstream.processors.topics import create_topics
from hookstream.producers.murmur2 import partition_of
from hookstream.schemas.catalogue import Catalogue, InternalSchema
from hookstream.schemas.codecs.dead_letters import dead_letter_decoder, dead_letter_encoder
from hookstream.schemas.codecs.deliveries import delivery_decoder, delivery_encoder
from hookstream.schemas.delivery import DeadLetter, Delivery, DeliveryId
from hookstream.schemas.event import ClientId
from hookstream.subscriptions.deliveries import FoundDelivery, LogPosition, WantedDelivery
from hookstream.subscriptions.errors import LogSearchError
from tests.support.values import DEAD_LETTER, DELIVERY, LONGEST_ID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hookstream.schemas.topics import TopicNames
    from tests.support.kafka_broker import Kafka

PARTITIONS = 3
LIVE = replace(DELIVERY, replay=None, live_end=0)


@dataclass
class Logs:
    """The three logs, and a search in them."""

    kafka: KafkaConfig
    topics: TopicNames

    def __post_init__(self) -> None:
        """Make the topics."""
        logs = {self.topics.deliveries, self.topics.replays, self.topics.dead_letters}
        specs = topic_specs(self.topics, Catalogue.shipped(), TopicLimits(partitions=PARTITIONS))
        create_topics(self.kafka, [spec for spec in specs if spec.name in logs], replication_factor=1)

    def write(self, *records: Delivery | DeadLetter) -> None:
        """Write records where they belong."""
        producer = make_producer(producer_config(self.kafka, message_timeout_ms=60_000))
        encode, encode_dead_letter = delivery_encoder(1), dead_letter_encoder(2)
        for record in records:
            if isinstance(record, DeadLetter):
                producer.produce(self.topics.dead_letters, encode_dead_letter(record), (record.client or "0").encode())
            else:
                topic = self.topics.deliveries if record.replay is None else self.topics.replays
                producer.produce(topic, encode(record), record.key)
        assert producer.flush(90) == 0

    def search(self, within_s: float = 30.0) -> KafkaDeliveryLog:
        """Make one as the API's process does."""
        return KafkaDeliveryLog(
            self.kafka,
            self.topics,
            decode=delivery_decoder(lambda _: InternalSchema.DELIVERY.text),
            decode_dead_letter=dead_letter_decoder(lambda _: InternalSchema.DEAD_LETTER.text),
            within_s=within_s,
        )

    def find(
        self, number: int, client: ClientId | None = LIVE.client, position: LogPosition | None = None
    ) -> FoundDelivery:
        """Search one."""
        whose = client
        return self.search().find(WantedDelivery(id=named(number), client=whose, position=position))


def named(number: int) -> DeliveryId:
    return DeliveryId(f"msg_{number:032x}")


def delivery(number: int, **changes: object) -> Delivery:
    changed: Delivery = replace(LIVE, id=named(number), **changes)  # type: ignore[arg-type]  # fields of the test's choice
    return changed


@pytest.fixture(params=["real", "embedded"])
def logs(request: pytest.FixtureRequest, topics: TopicNames) -> Iterator[Logs]:
    if request.param == "embedded":
        embedded = EmbeddedKafka()
        yield Logs(embedded.config, topics)
        embedded.stop()
    else:
        kafka: Kafka = request.getfixturevalue("kafka")
        yield Logs(KafkaConfig(bootstrap_servers=kafka.bootstrap_servers), topics)


def test_a_delivery_is_found_wherever_it_stands(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_search, "_FIRST_RECORDS", 3)
    everyones = [delivery(number, client=ClientId(str(int(LIVE.client) + number % 3))) for number in range(100)]
    longest = ClientId(LONGEST_ID)
    everyones.append(delivery(100, client=longest, concept_id=LONGEST_ID))
    logs.write(*everyones)
    for wanted in (everyones[0], everyones[1], everyones[50], everyones[99], everyones[100]):
        number = int(wanted.id.removeprefix("msg_"), 16)
        assert logs.find(number, wanted.client) == logs.find(number, None) == FoundDelivery(delivery=wanted)
    assert logs.find(1, LIVE.client) == FoundDelivery()  # another client's, perhaps of this very partition
    assert logs.find(500, None) == FoundDelivery()


def test_a_known_position_is_read_and_nothing_else(logs: Logs) -> None:
    logs.write(*(delivery(number) for number in range(10)))
    partition = partition_of(LIVE.key, 4 if logs.kafka.embedded else PARTITIONS)
    assert logs.find(7, position=LogPosition(partition, 7)).delivery == delivery(7)
    assert logs.find(7, position=LogPosition(partition, 6)) == FoundDelivery()
    assert logs.find(7, position=LogPosition(partition, 99)) == FoundDelivery()


def test_pings_are_found_among_the_replays(logs: Logs) -> None:
    ping = delivery(1, replay="ping-1", live_end=7)
    logs.write(ping)
    assert logs.find(1) == FoundDelivery(delivery=ping)


def test_the_last_dead_letter_counts_and_holds_the_record(logs: Logs) -> None:
    value = delivery_encoder(1)(delivery(1))
    dead_letter = replace(DEAD_LETTER, delivery_id=named(1), record_value=value)
    logs.write(
        dead_letter,
        replace(dead_letter, died_at_ms=dead_letter.died_at_ms + 1),
        replace(dead_letter, client=ClientId("5")),
    )
    found = logs.find(1)
    assert found.dead_letter == replace(dead_letter, died_at_ms=dead_letter.died_at_ms + 1)
    assert found.delivery == delivery(1)
    assert logs.find(1, client=ClientId("77")) == FoundDelivery()


def test_a_search_ends_in_time_and_says_so(logs: Logs) -> None:
    logs.write(delivery(1))
    wanted = WantedDelivery(id=named(2), client=LIVE.client)
    with pytest.raises(LogSearchError, match="not done in time"):
        logs.search(within_s=0.0).find(wanted)
    assert logs.search().find(wanted) == FoundDelivery()


def test_a_broker_that_is_unavailable_is_no_proof_of_absence(
    topics: TopicNames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_ranges, "REQUEST_TIMEOUT_S", 0.5)
    nowhere = KafkaDeliveryLog(
        KafkaConfig(bootstrap_servers="127.0.0.1:1"),
        topics,
        decode=delivery_decoder(lambda _: InternalSchema.DELIVERY.text),
        decode_dead_letter=dead_letter_decoder(lambda _: InternalSchema.DEAD_LETTER.text),
    )
    with pytest.raises(LogSearchError):
        nowhere.find(WantedDelivery(id=named(1), client=None))
