"""What a load publishes through an HTTP API: every event once, a resource's events in order over one connection."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import chain

import pytest

from benchmarks.http_load import HOOKSTREAM, WEBHOOKX, Plan, body_of, connection_of, event_type, place, portions


def plan(
    kind: str = HOOKSTREAM, *, events: int = 1000, batch: int = 1, first: int = 0, ids: bool = False, resources: int = 7
) -> Plan:
    return Plan(
        port=1,
        kind=kind,
        clients=(1, 2, 3),
        events=events,
        resources=resources,
        connections=4,
        batch=batch,
        first=first,
        ids=ids,
    )


@pytest.mark.parametrize("batch", [1, 100])
def test_every_event_is_published_once(batch: int) -> None:
    wanted = plan(batch=batch, first=30)
    requests = [each for connection in range(4) for each in portions(wanted, connection)]
    assert sorted(chain.from_iterable(requests)) == list(range(30, 1030))
    assert max(map(len, requests)) == batch


def test_events_of_a_resource_go_over_one_connection_in_order() -> None:
    wanted = plan(batch=10)
    used = defaultdict(set)
    for connection in range(4):
        numbers = list(chain.from_iterable(portions(wanted, connection)))
        assert numbers == sorted(numbers)
        for number in numbers:
            used[place(wanted, number)].add(connection)
    assert {len(each) for each in used.values()} == {1}
    assert {connection_of(wanted, number) for number in range(1000)} == {0, 1, 2, 3}


def test_clients_take_turns() -> None:
    assert [place(plan(resources=2), number) for number in range(8)] == [
        (1, 0), (2, 0), (3, 0), (1, 1), (2, 1), (3, 1), (1, 0), (2, 0),
    ]  # fmt: skip


def test_one_event_is_an_object_and_more_are_a_list() -> None:
    event = {"event": "property.updated", "client": 1, "concept": {"id": 0}, "occurred_at_ms": 1500}
    assert json.loads(body_of(plan())([0], [1.5])) == event
    assert json.loads(body_of(plan(batch=2))([0], [1.5])) == [event]


def test_a_server_that_knows_no_clients_gets_their_types_and_the_order_in_the_body() -> None:
    body = json.loads(body_of(plan(WEBHOOKX))([4], [1.5]))
    assert (body["event_type"], body["data"]["k"], body["data"]["s"]) == (event_type(2), "2|1", 5)
    assert body["data"]["t"] == 1_500_000_000


@pytest.mark.parametrize(("kind", "key"), [(HOOKSTREAM, "id"), (WEBHOOKX, "unique_id")])
def test_an_event_has_the_same_id_each_time_where_the_plan_gives_ids(kind: str, key: str) -> None:
    body = body_of(plan(kind, ids=True))
    first, again, other = (json.loads(body([number], [at]))[key] for number, at in ((4, 1.0), (4, 2.0), (5, 1.0)))
    assert first == again
    assert first != other
    assert key not in json.loads(body_of(plan(kind))([4], [1.0]))
