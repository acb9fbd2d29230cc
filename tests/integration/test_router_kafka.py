"""The router on a real broker: topic ids, a table that was re-created, records that the broker refuses."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from hookstream.processors.errors import ProduceFailedError
from hookstream.processors.kafka import KafkaConfig, make_admin
from hookstream.processors.routing.progress import CommittedProgress
from hookstream.processors.routing.router import Router
from hookstream.processors.topic_specs import topic_specs
from hookstream.processors.topics import create_topics, topic_ids
from hookstream.schemas.delivery import DeadLetterReason
from hookstream.schemas.hook import ResyncMark
from hookstream.schemas.topics import TopicNames
from tests.support.kafka_broker import Kafka, delete_topic
from tests.support.routing import RoutingWorld, turn
from tests.support.wait import eventually


@pytest.fixture
def world(kafka: Kafka, topics: TopicNames) -> RoutingWorld:
    return RoutingWorld(kafka.bootstrap_servers, topics)


def routed(router: Router) -> int:
    return 0 if router.outstanding else sum(router.metrics.router.routed.values())


def recreate(world: RoutingWorld, topic: str) -> None:
    """Delete a topic, and make it anew."""
    former = topic_ids(world.kafka, {topic})[topic]
    delete_topic(world.kafka.bootstrap_servers, topic)
    create_topics(world.kafka, topic_specs(world.topics, world.catalogue, world.limits))
    eventually(lambda: topic_ids(world.kafka, {topic})[topic] != former, describe="the topic has another id")


def set_max_bytes(world: RoutingWorld, topic: str, limit: int) -> None:
    entry = ConfigEntry("max.message.bytes", str(limit), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = make_admin(world.kafka)
    for future in admin.incremental_alter_configs([resource]).values():
        future.result()


def test_a_commit_says_which_table_and_which_topic_it_is_about(world: RoutingWorld) -> None:
    world.put_hooks(world.hook(1))
    world.put_events(9, clients=3)
    ids = topic_ids(world.kafka, [world.source, world.topics.subscriptions])
    with closing(world.router()) as router:
        router.open()
        turn(router, lambda: routed(router) == 9)
    wanted = {"v": 1, "o": 1, "t": ids[world.topics.subscriptions], "s": ids[world.source]}
    assert [note for _, note in world.committed()] == [wanted] * 3
    assert sum(offset for offset, _ in world.committed()) == 9


def test_a_partition_without_records_is_committed_too_so_that_hooks_become_effective(world: RoutingWorld) -> None:
    with (
        closing(CommittedProgress(world.kafka, world.topics, world.catalogue)) as progress,
        closing(world.router()) as router,
    ):
        assert progress.committed_table_offset() is None
        router.open()
        turn(router, lambda: progress.committed_table_offset() == 0)
        world.put_hooks(world.hook(1), world.hook(2))
        turn(router, lambda: progress.committed_table_offset() == 2)


def test_a_re_created_table_is_refused_until_its_resync_mark(world: RoutingWorld) -> None:
    world.put_hooks(world.hook(1))
    world.put_events(3, clients=1)
    with closing(world.router()) as router:
        router.open()
        turn(router, lambda: routed(router) == 3)
    recreate(world, world.topics.subscriptions)
    world.put_events(3, clients=1)
    with closing(world.router()) as router:
        router.open()
        turn(router, lambda: "resync" in router.health.reasons.get("table", ""))
        for _ in range(20):
            router.run_once(0.02)
        assert routed(router) == 0
        before = world.committed()
        assert all(note["t"] != router._reader.topic_id for _, note in before)
        assert router._reader.topic_id is not None
        world.put_hooks(world.hook(1), ResyncMark(topic_id=router._reader.topic_id, written_at_ms=1))
        turn(router, lambda: routed(router) == 3)
    assert world.check_promises(world.wait_all_arrived()) == 0


def test_a_re_created_events_topic_is_routed_from_its_first_record(world: RoutingWorld) -> None:
    world.put_hooks(world.hook(1))
    world.put_events(6, clients=1)
    with closing(world.router()) as router:
        router.open()
        turn(router, lambda: routed(router) == 6)
    recreate(world, world.source)
    world.sent.clear()
    world.put_events(9, clients=1)
    with closing(world.router()) as router:
        router.open()
        turn(router, lambda: routed(router) == 9)
    assert world.missing() == set()


def test_records_that_retention_deleted_are_counted_and_reading_goes_on(world: RoutingWorld) -> None:
    world.put_hooks(world.hook(1))
    world.put_events(30, clients=1, concepts=30)
    with closing(world.router()) as router:
        router.open()
        turn(router, lambda: routed(router) == 30)
    committed = [offset for offset, _ in world.committed()]
    world.put_events(60, clients=1, concepts=30)
    cut = [TopicPartition(world.source, partition, offset + 5) for partition, offset in enumerate(committed)]
    admin = make_admin(world.kafka)
    for future in admin.delete_records(cut).values():
        future.result()
    with closing(world.router()) as router:
        router.open()
        turn(router, lambda: routed(router) == 60 - 15)
        assert router.metrics.expired == 15


def test_what_the_broker_refuses_is_tried_alone_and_then_dead_lettered(world: RoutingWorld) -> None:
    """Each round is a process that ends: the batch is refused, then the record alone; the third dead-letters it."""
    world.put_hooks(world.hook(1))
    for concept in range(20):
        world.put_event(1, concept)
    big = world.put_event(1, 20, sub_namespace="x" * 100_000)
    for concept in range(20, 40):
        world.put_event(1, concept)
    world.flush()
    set_max_bytes(world, world.topics.deliveries, 50_000)
    ends = [run_to_end(world) for _ in range(3)]
    assert ends[2] is None
    assert ["start again" in (end or "") for end in ends[:2]] == [True, True]
    world.sent.remove(big)
    world.check_promises(world.wait_all_arrived())
    (dead_letter,) = world.dead()
    assert dead_letter.reason is DeadLetterReason.TOO_LARGE
    assert dead_letter.record_value is not None
    assert len(dead_letter.record_value) > 100_000


def test_a_dead_letter_that_the_broker_refuses_too_keeps_its_position(world: RoutingWorld) -> None:
    world.put_hooks(world.hook(1))
    big = world.put_event(1, 20, sub_namespace="x" * 100_000)
    world.put_event(1, 21)
    world.flush()
    for topic in (world.topics.deliveries, world.topics.dead_letters):
        set_max_bytes(world, topic, 50_000)
    ends = [run_to_end(world) for _ in range(4)]
    assert [end is None for end in ends] == [False, False, False, True]
    world.sent.remove(big)
    world.check_promises(world.wait_all_arrived())
    (dead_letter,) = world.dead()
    assert (dead_letter.topic, dead_letter.client) == (world.source, "1")
    assert dead_letter.record_value is None
    assert "bytes left out" in dead_letter.detail


def test_nothing_overtakes_a_refused_request(world: RoutingWorld) -> None:
    world.put_hooks(world.hook(1))
    for _ in range(5):
        world.put_event(1, 7)
    big = world.put_event(1, 7, sub_namespace="x" * 100_000)
    for _ in range(60):
        world.put_event(1, 7)
    world.flush()
    set_max_bytes(world, world.topics.deliveries, 50_000)
    small_requests = replace(world.kafka, options={"batch.num.messages": "10", "linger.ms": "100"})
    ends = [run_to_end(world, small_requests) for _ in range(3)]
    assert [end is None for end in ends] == [False, False, True]
    world.sent.remove(big)
    world.check_promises(world.wait_all_arrived())


def run_to_end(world: RoutingWorld, kafka: KafkaConfig | None = None) -> str | None:
    """Run one router until everything is committed, or it fails: why it failed."""
    with closing(world.router(kafka=kafka)) as router:
        router.open()
        try:
            turn(router, lambda: sum(offset for offset, _ in world.committed()) == len(world.sent))
        except ProduceFailedError as exc:
            return str(exc)
        return None
