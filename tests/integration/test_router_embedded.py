"""The router turn by turn, on the embedded Kafka: what it writes, drops, dead-letters and waits for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from hookstream.processors.errors import StoppedError
from hookstream.processors.lifecycle import StopSignal
from hookstream.processors.operations.embedded import EmbeddedKafka
from hookstream.processors.routing.progress import CommittedProgress
from hookstream.processors.routing.router import Router
from hookstream.producers.errors import RegistryUnavailableError
from hookstream.producers.registry import SchemaRegistry
from hookstream.schemas.catalogue import subject
from hookstream.schemas.delivery import DeadLetterReason, delivery_id
from hookstream.schemas.event import EventName
from hookstream.schemas.hook import HookState
from hookstream.schemas.topics import TopicNames
from hookstream.schemas.trace_context import CLOUD_EVENTS_HEADER, HEADER
from hookstream.schemas.wire import record_writer
from tests.support import values
from tests.support.routing import EVENT, RoutingWorld, turn

TRACEPARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def world() -> Iterator[RoutingWorld]:
    kafka = EmbeddedKafka()
    yield RoutingWorld(kafka.bootstrap_servers, TopicNames("e."), embedded=True)
    kafka.stop()


@pytest.fixture
def router(world: RoutingWorld) -> Iterator[Router]:
    router = world.router()
    yield router
    router.close()


def counts(router: Router) -> dict[str, int]:
    return router.metrics.router.routed


def test_each_event_goes_to_the_hook_that_wants_it(world: RoutingWorld, router: Router) -> None:
    world.put_hooks(world.hook(1), world.hook(2, state=HookState.DISABLED), world.hook(3, state=HookState.DELETED))
    sent = [world.put_event(client, 7, headers=[(HEADER, TRACEPARENT)]) for client in (1, 2, 3, 4)]
    world.flush()
    router.open()
    turn(router, lambda: sum(counts(router).values()) == 4 and not router.outstanding)
    arrived = {int(each.delivery.client): each for each in world.arrived()}
    assert set(arrived) == {1, 2}  # a disabled hook is owed, a deleted or an absent one is not
    assert counts(router) == {"routed": 2, "unwanted": 2, "dead-lettered": 0, "tombstone": 0, "unmapped": 0}
    delivery = arrived[1].delivery
    assert delivery.id == delivery_id(sent[0].id, 1001)
    assert (delivery.event, delivery.concept_id, delivery.hook_id, delivery.hook_revision) == (EVENT, "7", 1001, 1)
    assert (delivery.source_topic, delivery.occurred_at_ms) == (world.source, sent[0].occurred_at_ms)
    assert delivery.arrived_ms > 1_700_000_000_000
    assert arrived[1].headers == {}  # tracing is off


def test_a_delivery_belongs_to_the_trace_of_its_event_where_traces_are_wanted(world: RoutingWorld) -> None:
    world.put_hooks(*(world.hook(client) for client in range(1, 6)))
    world.put_event(1, 7, headers=[("x", b"y"), (HEADER, TRACEPARENT)])
    world.put_event(2, 7, headers=[(CLOUD_EVENTS_HEADER, TRACEPARENT)])
    world.put_event(3, 7, headers=[(HEADER, b"0" * 20_000)])
    world.put_event(4, 7, headers=[(HEADER, None)])
    world.put_event(5, 7)
    world.flush()
    router = world.router(tracing=True)
    router.open()
    turn(router, lambda: counts(router)["routed"] == 5 and not router.outstanding)
    carried = {int(each.delivery.client): each.headers for each in world.arrived()}
    router.close()
    assert carried == {1: {HEADER: TRACEPARENT}, 2: {HEADER: TRACEPARENT}, 3: {}, 4: {}, 5: {}}


def test_all_of_a_client_lands_in_one_partition(world: RoutingWorld, router: Router) -> None:
    world.put_hooks(*(world.hook(client) for client in range(1, 9)))
    world.put_events(400, clients=8, concepts=10)
    router.open()
    turn(router, lambda: counts(router)["routed"] == 400 and not router.outstanding)
    arrived = world.wait_all_arrived()
    of_client = {(each.delivery.client, each.partition) for each in arrived}
    assert len(of_client) == 8
    assert len({each.delivery.source_partition for each in arrived}) > 1
    assert world.check_promises(arrived) == 0


def test_what_cannot_be_read_is_dead_lettered_whole_and_the_rest_goes_on(world: RoutingWorld, router: Router) -> None:
    world.put_hooks(world.hook(1))
    world.put(world.source, b"garbage", b"1|7")
    world.put(world.source, b"garbage too", b"9" * 5000)  # more digits than `int` takes
    world.put(world.source, None, b"2|7")
    world.put(world.source, b"\x00\x00\x0f\x42\x40rest", None)  # no such schema id
    world.put_event(1, 7)
    world.flush()
    router.open()
    turn(router, lambda: sum(counts(router).values()) == 5 and not router.outstanding)
    assert len(world.wait_all_arrived()) == 1
    dead = {dead_letter.record_value: dead_letter for dead_letter in world.dead()}
    assert set(dead) == {b"garbage", b"garbage too", None, b"\x00\x00\x0f\x42\x40rest"}
    assert dead[b"garbage too"].client is None
    assert {dead_letter.reason for dead_letter in dead.values()} == {DeadLetterReason.UNDECODABLE}
    assert (dead[b"garbage"].record_key, dead[b"garbage"].client) == (b"1|7", "1")
    assert all(dead_letter.detail and dead_letter.topic == world.source for dead_letter in dead.values())
    turn(router, lambda: sum(offset for offset, _ in world.committed()) == 5)


def test_a_hook_that_is_created_while_the_router_runs_becomes_effective(world: RoutingWorld, router: Router) -> None:
    progress = CommittedProgress(world.kafka, world.topics, world.catalogue)
    try:
        router.open()
        turn(router, lambda: progress.committed_table_offset() == 0)
        world.put_event(1, 7)
        world.flush()
        turn(router, lambda: counts(router)["unwanted"] == 1)
        world.sent.clear()
        world.put_hooks(world.hook(1))
        turn(router, lambda: progress.committed_table_offset() == 1)
        world.put_event(1, 7)
        world.flush()
        turn(router, lambda: counts(router)["routed"] == 1 and not router.outstanding)
        assert len(world.wait_all_arrived()) == 1
    finally:
        progress.close()


def test_without_routers_nothing_is_effective(world: RoutingWorld) -> None:
    progress = CommittedProgress(world.kafka, world.topics, world.catalogue)
    try:
        assert progress.committed_table_offset() is None
    finally:
        progress.close()


class AwayRegistry(SchemaRegistry):
    """Knows every schema, and does not answer the next `silent` questions."""

    silent = 0

    def schema_text_by_id(self, schema_id: int, /) -> str:
        if self.silent:
            self.silent -= 1
            raise RegistryUnavailableError("no answer")
        return super().schema_text_by_id(schema_id)


def test_a_registry_that_is_unavailable_makes_no_record_undecodable(world: RoutingWorld) -> None:
    world.put_hooks(world.hook(1))
    registry = AwayRegistry(world.registry.url)
    router = world.router(registry=registry)
    seen = set()
    try:
        router.open()
        turn(router, lambda: router.ready)
        registry.silent = 3
        world.put_events(20, clients=1)
        down = router.health.down

        def note(component: str, reason: str) -> None:
            seen.add((component, reason))
            down(component, reason)

        router.health.down = note  # type: ignore[method-assign]
        turn(router, lambda: counts(router)["routed"] == 20 and not router.outstanding)
        assert ("schema registry", "no answer") in seen
        assert router.health.ready
    finally:
        router.close()
    assert world.dead() == []
    assert world.check_promises(world.wait_all_arrived()) == 0


def test_a_stop_in_the_middle_of_a_wait_commits_nothing_that_was_not_routed(world: RoutingWorld) -> None:
    world.put_hooks(world.hook(1))
    registry, stop = AwayRegistry(world.registry.url), StopSignal()
    router = world.router(registry=registry, stop=stop)
    router.open()
    turn(router, lambda: router.ready)
    registry.silent = 1_000_000
    world.put_events(5, clients=1)
    stop.ask()
    with pytest.raises(StoppedError):
        turn(router, lambda: False)
    router.close()
    assert sum(offset for offset, _ in world.committed()) == 0
    successor = world.router()
    try:
        successor.open()
        turn(successor, lambda: counts(successor)["routed"] == 5 and not successor.outstanding)
    finally:
        successor.close()
    assert world.check_promises(world.wait_all_arrived()) == 0


def test_a_restart_goes_on_where_the_commit_says(world: RoutingWorld) -> None:
    world.put_hooks(world.hook(1), world.hook(2))
    for _ in range(3):
        router = world.router()
        world.put_events(30, clients=2)
        router.open()
        turn(router, lambda router=router: counts(router)["routed"] == 30 and not router.outstanding)  # type: ignore[misc]
        router.close()
    assert world.check_promises(world.wait_all_arrived()) == 0
    assert sum(offset for offset, _ in world.committed()) == 90


def test_nothing_is_committed_before_its_report_is_in(world: RoutingWorld) -> None:
    world.put_hooks(world.hook(1), world.hook(2))
    world.put_events(20, clients=2)
    holds = replace(world.kafka, options={"linger.ms": "60000"})  # its producer keeps everything
    router = world.router(kafka=holds, drain_timeout_s=0.1)
    router.open()
    turn(router, lambda: counts(router)["routed"] == 20)
    for _ in range(75):  # longer than a commit is put off
        router.run_once(0.02)
    assert router.outstanding == 20
    assert sum(offset for offset, _ in world.committed()) == 0
    router.close()
    assert world.arrived() == []
    successor = world.router()
    try:
        successor.open()
        turn(successor, lambda: counts(successor)["routed"] == 20 and not successor.outstanding)
    finally:
        successor.close()
    assert world.check_promises(world.wait_all_arrived()) == 0


def test_nothing_is_routed_while_a_row_cannot_be_read(world: RoutingWorld, router: Router) -> None:
    world.put_hooks(world.hook(1))
    world.put(world.topics.subscriptions, b"garbage", world.hook(2).key, partition=0)
    world.put_events(4, clients=2)
    router.open()
    turn(router, lambda: router.health.reasons.get("table", "").startswith("holds rows"))
    assert sum(counts(router).values()) == 0
    world.put_hooks(world.hook(2))
    turn(router, lambda: counts(router)["routed"] == 4 and not router.outstanding)
    assert router.ready


def test_an_event_that_is_newer_than_the_router_is_routed_where_a_hook_wants_it(world: RoutingWorld) -> None:
    newer = json.loads(world.catalogue.schema_text("lead"))
    newer["fields"][1]["type"]["symbols"].append("merged")
    schema_id = world.registry.register(subject(world.source), json.dumps(newer))
    write = record_writer(json.dumps(newer), schema_id, indexed="event")
    merged = EventName("lead.merged")
    world.put_hooks(replace(world.hook(1), event=merged), world.hook(2))
    for client in (1, 2):
        concept = {"id": 7, "sub_namespace": None}
        fields = {"id": str(values.EVENT_ID), "event": 5, "client": client, "concept": concept, "occurred_at": 1}
        world.put(world.source, write(fields), b"%d|7" % client)
    world.flush()
    router = world.router()
    try:
        router.open()
        turn(router, lambda: counts(router) == {**dict.fromkeys(counts(router), 0), "routed": 1, "unwanted": 1})
        turn(router, lambda: not router.outstanding)
    finally:
        router.close()
    assert [(each.delivery.client, each.delivery.event) for each in world.arrived()] == [("1", merged)]
    assert world.dead() == []


def test_a_delivery_that_the_producer_finds_too_large_is_dead_lettered_and_the_rest_goes_on(
    world: RoutingWorld,
) -> None:
    world.put_hooks(world.hook(1))
    world.put_event(1, 1)
    big = world.put_event(1, 2, sub_namespace="x" * 300_000)
    world.put_event(1, 3)
    world.flush()
    world.sent.remove(big)
    router = world.router(max_event_bytes=100_000)
    try:
        router.open()
        turn(router, lambda: sum(counts(router).values()) == 3 and not router.outstanding)
    finally:
        router.close()
    assert world.check_promises(world.wait_all_arrived()) == 0
    (dead_letter,) = world.dead()
    assert dead_letter.reason is DeadLetterReason.TOO_LARGE
    assert dead_letter.record_value is None  # the dead letters do not take it either
    assert "bytes left out" in dead_letter.detail
