"""The demo's judge finds each broken promise, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from hookstream.processors.cli.trial.demo_plan import EVENTS_OF_EACH, RESOURCES, Judge, events_to_send, path_of
from hookstream.processors.cli.trial.demo_receiver import Arrival
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.delivery import delivery_id
from hookstream.schemas.event import Event
from tests.support.repository import ROOT

NAMES = Catalogue.shipped().written_names
HOOK_IDS = {str(name): 100 + index for index, name in enumerate(NAMES)}


def arrival_of(event: Event) -> Arrival:
    """What arrives when all goes well."""
    concept = {"id": event.concept.id, "namespace": event.concept.namespace, "sub_namespace": None}
    return Arrival(
        path=path_of(event.name),
        webhook_id=delivery_id(event.id, HOOK_IDS.get(event.name, 1)),
        sequence="events.x:0:0",
        attempt="1",
        body=orjson.dumps({"event": event.name, "client": event.client, "concept": concept}),
        latency_ms=1.0,
        fault=None,
    )


@pytest.fixture
def judge() -> Judge:
    """A judge who knows everything that was sent."""
    judge = Judge(HOOK_IDS)
    for event in EVENTS:
        judge.sent(event)
    return judge


EVENTS = events_to_send(Catalogue.shipped())
ARRIVALS = [arrival_of(event) for event in EVENTS]


def test_every_event_is_sent_more_than_once_for_more_than_one_resource() -> None:
    assert len(EVENTS) == len(NAMES) * RESOURCES * EVENTS_OF_EACH
    assert {event.name for event in EVENTS} == set(NAMES)
    assert len({(event.name, event.concept.id) for event in EVENTS}) == len(NAMES) * RESOURCES


def test_all_is_well(judge: Judge) -> None:
    assert judge.problems(ARRIVALS) == []
    assert judge.missing(ARRIVALS) == 0
    assert judge.duplicates(ARRIVALS) == 0


def test_resources_and_hooks_may_overtake_each_other(judge: Judge) -> None:
    by_resource = sorted(zip(EVENTS, ARRIVALS, strict=True), key=lambda pair: -int(pair[0].concept.id))
    assert judge.problems([arrival for _, arrival in by_resource]) == []


def test_a_duplicate_is_counted_and_breaks_nothing(judge: Judge) -> None:
    assert judge.problems([*ARRIVALS, ARRIVALS[0]]) == []
    assert judge.duplicates([*ARRIVALS, ARRIVALS[0]]) == 1


def test_what_is_missing_is_found(judge: Judge) -> None:
    assert judge.problems(ARRIVALS[1:]) == [f"1 of {len(ARRIVALS)} deliveries did not arrive"]


def test_disorder_within_a_resource_is_found(judge: Judge) -> None:
    (problem,) = judge.problems(ARRIVALS[::-1])[:1]
    assert "out of order" in problem


def test_a_wrong_signature_is_found(judge: Judge) -> None:
    arrivals = [replace(ARRIVALS[0], fault="no signature is right"), *ARRIVALS[1:]]
    assert [problem.partition(": signature")[1] for problem in judge.problems(arrivals)] == [": signature"]


def test_data_is_that_of_the_example_and_no_other() -> None:
    events = events_to_send(Catalogue.from_directory(ROOT / "examples" / "orders"))
    judge = Judge({str(event.name): 1 for event in events})
    for event in events:
        judge.sent(event)
    bodies = [orjson.loads(arrival_of(event).body) | {"data": event.data} for event in events]
    assert bodies[0]["data"]["total"] == "12.50"
    arrivals = [
        replace(arrival_of(event), webhook_id=delivery_id(event.id, 1), body=orjson.dumps(body))
        for event, body in zip(events, bodies, strict=True)
    ]
    assert judge.problems(arrivals) == []
    for data in (None, {**bodies[0]["data"], "total": "12.51"}):
        wrong = replace(arrivals[0], body=orjson.dumps({**bodies[0], "data": data}))
        assert judge.problems([wrong, *arrivals[1:]]) == [
            f"{wrong.path}: {wrong.webhook_id}: the body is not what was sent"
        ]


@pytest.mark.parametrize("change", [{"body": b"{"}, {"body": b"{}"}, {"path": "/lead.new"}, {"webhook_id": "msg_x"}])
def test_a_wrong_delivery_is_found(judge: Judge, change: dict[str, str]) -> None:
    odd = next(arrival for arrival in ARRIVALS if arrival.path != "/lead.new")
    wrong = replace(odd, **change)  # type: ignore[arg-type]  # fields of the test's choice
    arrivals = [wrong if arrival is odd else arrival for arrival in ARRIVALS]
    assert any("is not what was sent" in problem for problem in judge.problems(arrivals))
