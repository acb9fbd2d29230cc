"""What a record of the window is sent again as."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hookstream.processors.operations.replays.counting import Counting
from hookstream.processors.operations.replays.selection import Counted, Selection
from hookstream.processors.tables.subscription_table import SubscriptionTable
from hookstream.schemas.body import thin_body
from hookstream.schemas.event import ClientId, Concept, Event, EventName, EventSubject
from hookstream.schemas.hook import HookId, HookState, Revision
from hookstream.schemas.sources.readers import TopicEvents, body_of
from hookstream.schemas.sources.record import MappedEvent, SourceRecord
from hookstream.schemas.sources.source import BodyKind
from hookstream.subscriptions.replays import NewReplay, ReplayFilter
from tests.support.values import DELIVERY, EVENT, HOOK

EVENTS, DELIVERIES = "events.property", "deliveries"


def selection(event: Event, *, max_body_bytes: int = 1_000, **wanted: Any) -> Selection:
    table = SubscriptionTable()
    row = replace(HOOK, client=event.client_id, event=event.name, state=HookState.ENABLED)
    table.apply(0, row.key, row)
    return Selection(
        ReplayFilter(from_ms=0, to_ms=100, **wanted),
        table,
        events={EVENTS: TopicEvents(lambda _record: event, foreign=False)},
        deliveries={DELIVERIES: lambda _value: replace(DELIVERY, client=row.client, event=row.event, hook_id=row.id)},
        max_body_bytes=max_body_bytes,
    )


def quickly(chosen: Selection, event: Event) -> Selection:
    """The same, where what an event is about is known without reading it, and reading it fails the test."""

    def read(_record: SourceRecord) -> Event:
        raise AssertionError

    subject = EventSubject(event.name, event.client_id, event.namespace, event.concept_id)
    chosen._events = {EVENTS: TopicEvents(read, foreign=False, subject=lambda _value: subject)}
    return chosen


def record(topic: str) -> SourceRecord:
    return SourceRecord(topic, 0, 7, b"key", b"value", None, 50)


def test_an_event_is_rendered_again_and_a_delivery_keeps_its_bytes() -> None:
    of_event = selection(EVENT).select(record(EVENTS))
    of_delivery = selection(EVENT).select(record(DELIVERIES))
    assert of_event is not None
    assert of_delivery is not None
    assert of_event.delivery.body == thin_body(EVENT)
    assert of_delivery.delivery.body == DELIVERY.body


@pytest.mark.parametrize("topic", [EVENTS, DELIVERIES])
@pytest.mark.parametrize("wanted", [{}, {"client": ClientId("another")}, {"hook_id": 1}, {"hook_id": HOOK.id}])
def test_a_count_is_of_what_would_be_selected(topic: str, wanted: dict[str, Any]) -> None:
    chosen = selection(EVENT, max_body_bytes=262_144, **wanted)
    found = chosen.select(record(topic))
    assert chosen.count(record(topic)) == (None if found is None else found.counted)
    if topic == EVENTS:
        counted = quickly(chosen, EVENT).count(record(topic))
        assert counted == (None if found is None else found.counted)


def test_a_count_reads_an_event_whole_where_its_body_may_be_too_large_or_what_it_is_about_is_not_known() -> None:
    for subject in (lambda _value: EventSubject(EVENT.name, EVENT.client_id, "property", "1"), lambda _value: None):
        chosen = selection(EVENT, max_body_bytes=len(thin_body(EVENT)) - 1)
        chosen._events = {EVENTS: TopicEvents(lambda _record: EVENT, foreign=False, subject=subject)}
        assert chosen.count(record(EVENTS)) is None
        assert chosen.unreadable == 1


@pytest.mark.parametrize("data", [None, "x" * 100])
def test_a_count_renders_what_may_be_too_large(data: str | None) -> None:
    sub_namespace = "\x01" * 100
    event = replace(EVENT, concept=replace(EVENT.concept, sub_namespace=sub_namespace))
    long = record(EVENTS)._replace(value=sub_namespace.encode())
    read: Any = event
    if data is not None:
        read = MappedEvent(
            namespace="property", symbol=EVENT.symbol, id="1", client=EVENT.client, resource=1, sub_namespace=None,
            occurred_at_ms=1, body=BodyKind.DATA, content=data,
        )  # fmt: skip
    bytes_ = len(body_of(read))
    for limit, fits in ((bytes_, True), (bytes_ - 1, False)):
        chosen = selection(EVENT, max_body_bytes=limit)
        chosen._events = {EVENTS: TopicEvents(lambda _record: read, foreign=False)}
        assert (chosen.count(long) is not None) is fits
        assert chosen.unreadable == (not fits)


def test_a_count_is_by_hook_and_says_how_long_the_busiest_takes() -> None:
    table = SubscriptionTable()
    rows = [replace(HOOK, id=HookId(n), event=EventName(f"lead.{n}"), target=f"https://{n % 2}") for n in range(3)]
    for row in [rows[0], replace(rows[1], rate_limit_per_s=0.5), rows[2]]:
        table.apply(0, row.key, row)
    counting = Counting(table)
    for row, count in zip(rows, (5, 3, 2), strict=True):
        counting.add([Counted(row.client, row.event, row.id)] * count)
    asked = NewReplay(wanted=ReplayFilter(from_ms=0, to_ms=1), rate_per_s=100.0, endpoint_rate_per_s=1.0)
    found = counting.result(asked)
    assert (found.deliveries, found.hooks, found.hook_count, found.estimate_s) == (10, {0: 5, 1: 3, 2: 2}, 3, 7.0)
    slower = counting.result(replace(asked, endpoint_rate_per_s=10.0))
    assert slower.estimate_s == 6.0, "the hook's own limit"


def test_an_event_whose_body_is_too_large_is_counted_and_not_sent() -> None:
    chosen = selection(EVENT, max_body_bytes=len(thin_body(EVENT)) - 1)
    assert chosen.select(record(EVENTS)) is None
    assert chosen.unreadable == 1
    assert chosen.select(record(DELIVERIES)) is not None, "it was sent so before"


@pytest.mark.parametrize(("client", "concept"), [(9999, 17), ("9999", "17"), (9999, "17")])
def test_an_id_is_found_whether_the_event_has_it_as_an_integer_or_a_string(
    client: int | str, concept: int | str
) -> None:
    event = replace(EVENT, client=client, concept=Concept(id=concept, namespace="property"))
    mine: dict[str, Any] = {"client": ClientId("9999"), "namespace": "property"}
    assert selection(event, **mine, concept_id="17").select(record(EVENTS)) is not None
    assert selection(event, **mine, concept_id="18").select(record(EVENTS)) is None


@pytest.mark.parametrize("topic", [EVENTS, DELIVERIES])
def test_a_window_has_its_beginning_and_not_its_end_and_one_client_alone(topic: str) -> None:
    mine: dict[str, Any] = {"client": EVENT.client_id}
    at = [record(topic)._replace(timestamp_ms=ms) for ms in (-1, 0, 99, 100)]
    chosen = selection(EVENT, **mine)
    assert [chosen.select(each) is not None for each in at] == [False, True, True, False]
    counted = quickly(selection(EVENT, **mine), EVENT) if topic == EVENTS else chosen
    assert [counted.count(each) is not None for each in at] == [False, True, True, False]
    assert selection(EVENT, client=ClientId("another")).select(record(topic)) is None


@pytest.mark.parametrize(
    ("hook_id", "revision", "state", "sent"),
    [
        (HOOK.id, 9, HookState.DISABLED, True),
        (HOOK.id, 9, HookState.DELETED, False),
        (HOOK.id + 1, 9, HookState.ENABLED, False),
        (HOOK.id + 1, 6, HookState.ENABLED, True),
    ],
    ids=["disabled", "deleted", "replaced", "a row that is older than the delivery"],
)
def test_a_delivery_is_sent_again_unless_a_row_as_new_says_that_its_hook_is_gone(
    hook_id: int, revision: int, state: HookState, sent: bool
) -> None:
    table = SubscriptionTable()
    row = replace(HOOK, client=DELIVERY.client, event=DELIVERY.event, state=state)
    row = replace(row, id=HookId(hook_id), revision=Revision(revision))
    table.apply(0, row.key, row)
    routed = replace(DELIVERY, hook_id=HOOK.id, hook_revision=Revision(7))
    chosen = Selection(
        ReplayFilter(from_ms=0, to_ms=100),
        table,
        events={},
        deliveries={DELIVERIES: lambda _value: routed},
        max_body_bytes=9,
    )
    assert (chosen.select(record(DELIVERIES)) is not None) == sent
