"""A row of the outbox is the event that was enqueued, and names its resource and no other."""

from __future__ import annotations

import dataclasses

import pytest
from sqlalchemy import create_engine, select

from hookstream.producers.outbox import OUTBOX, OutboxRow, create_tables, enqueue, event_of
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.event import Concept, Event, EventName
from hookstream.schemas.new_envelope import new_envelope
from tests.support.values import EVENT

CATALOGUE = Catalogue.from_files(
    {
        "property.avsc": Catalogue.shipped().schema_text("property").encode(),
        "order.avsc": new_envelope("order", ["placed"], text_ids=True, data=False).encode(),
    }
)


def an_order(client: str, concept: str) -> Event:
    about = Concept(id=concept, namespace="order")
    return dataclasses.replace(EVENT, name=EventName("order.placed"), client=client, concept=about)


def rows(*events: Event) -> list[OutboxRow]:
    engine = create_engine("sqlite://")
    create_tables(engine)
    with engine.begin() as connection:
        for event in events:
            enqueue(connection, event, catalogue=CATALOGUE)
        found = list(connection.execute(select(OUTBOX).order_by(OUTBOX.c.id)))
    engine.dispose()
    return found


@pytest.mark.parametrize("event", [EVENT, an_order("434", "17"), an_order("acme", 'o"1')])
def test_an_id_stays_the_integer_or_the_text_that_it_was(event: Event) -> None:
    [row] = rows(event)
    assert event_of(row) == event


def test_ids_with_bars_do_not_make_one_resource_of_two() -> None:
    one, other, again = rows(an_order("a|order|b", "c"), an_order("a", "b|order|c"), an_order("a|order|b", "c"))
    assert one.resource != other.resource
    assert one.resource == again.resource
