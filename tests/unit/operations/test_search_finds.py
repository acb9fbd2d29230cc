"""Whose a delivery or a dead letter is: the client that was asked for, also where another's record holds the id."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.operations.queries.dead_letter_log import KafkaDeadLetters
from hookstream.processors.operations.queries.delivery_search import _Finds
from hookstream.schemas.catalogue import Catalogue, InternalSchema
from hookstream.schemas.codecs.deliveries import delivery_encoder
from hookstream.schemas.codecs.events import event_encoder
from hookstream.schemas.delivery import DeadLetter, Delivery
from hookstream.schemas.event import ClientId
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.dead_letters import DeadLetterPlace, DeadLetterQuery
from hookstream.subscriptions.deliveries import WantedDelivery
from tests.support.scripted_consumer import record
from tests.support.values import DEAD_LETTER, DELIVERY, EVENT

TOPICS, CATALOGUE = TopicNames(), Catalogue.shipped()
MINE, ANOTHER = DELIVERY.client, ClientId("another")
ANY = cast("Any", None)
VALUE = DELIVERY.id.encode()
KNOWN_SCHEMAS = {1: InternalSchema.DELIVERY.text, 2: CATALOGUE.schema_text("property")}


def finds(client: ClientId | None, delivery: Delivery, dead_letter: DeadLetter) -> _Finds:
    found = _Finds(
        WantedDelivery(id=DELIVERY.id, client=client, position=None),
        TOPICS,
        lambda _value: delivery,
        lambda _value: dead_letter,
    )
    found.take((TOPICS.deliveries, 0), record(VALUE))
    found.take((TOPICS.dead_letters, 0), record(VALUE))
    return found


@pytest.mark.parametrize(("client", "is_there"), [(MINE, True), (None, True), (ANOTHER, False)])
def test_a_delivery_of_another_client_is_not_found(client: ClientId | None, is_there: bool) -> None:
    dead_letter = replace(DEAD_LETTER, delivery_id=DELIVERY.id, client=MINE)
    found = finds(client, DELIVERY, dead_letter).result(complete=True)
    assert (found.delivery is not None, found.dead_letter is not None) == (is_there, is_there)


def dead_letters() -> KafkaDeadLetters:
    return KafkaDeadLetters(
        KafkaConfig(bootstrap_servers="k:9092"),
        TOPICS,
        catalogue=CATALOGUE,
        schemas=KNOWN_SCHEMAS.__getitem__,
        writer=ANY,
        events=ANY,
    )


@pytest.mark.parametrize(("client", "fit"), [(MINE, True), (None, True), (ANOTHER, False)])
def test_a_dead_letter_whose_key_and_value_are_of_two_clients_is_not_sent_again(
    client: ClientId | None, fit: bool
) -> None:
    of_delivery = replace(
        DEAD_LETTER, topic=TOPICS.deliveries, record_value=delivery_encoder(1)(DELIVERY), client=client
    )
    event = EVENT  # of the same client
    of_event = replace(
        DEAD_LETTER,
        topic=TOPICS.events("property"),
        record_value=event_encoder(CATALOGUE, "property", 2)(event),
        client=client,
    )
    for dead_letter in (of_delivery, of_event):
        contents = dead_letters()._contents(dead_letter)
        assert ("unfit" not in contents) == fit


class Scanner:
    """Knows how many partitions there are."""

    def partitions(self, _topic: str, _deadline: object) -> range:
        """Three."""
        return range(3)


def test_a_page_begins_behind_the_last_one_of_the_page_before() -> None:
    after = DeadLetterPlace(1, 41)
    assert dead_letters()._starts(cast("Any", Scanner()), DeadLetterQuery(after=after), ANY) == {1: 42, 2: 0}
