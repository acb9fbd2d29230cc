"""Promise: nothing is lost. Whatever dies, freezes or is cut off, every delivery arrives, and in order."""

from __future__ import annotations

import random
import threading
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from hookstream.schemas.delivery import DeadLetterReason
from tests.conftest import source_of
from tests.support.delivery_world import QUICK_PROBES
from tests.support.kafka_broker import admin
from tests.support.machine import Part
from tests.support.proxied_kafka import ProxiedKafka
from tests.support.targets import OK, Reply
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hookstream.schemas.hook import Hook
    from tests.support.delivery_world import DeliveryWorld
    from tests.support.kafka_broker import HurtableKafka
    from tests.support.kafka_cluster import KafkaCluster
    from tests.support.processes import Processes

# Far below the time-outs of a deployment, so that seconds cross what minutes cross there.
IMPATIENT = {"socket.timeout.ms": "3000", "request.timeout.ms": "3000"}
# What is settled and not committed yet: at 300 a second some 50, and what a state of once a second holds back.
REPEATED_BY_A_KILL = 150
QUICK_RETRIES = {**QUICK_PROBES, "full_schedule_s": [0.3] * 40}


def pass_time(seconds: float) -> None:
    """Let time pass where there is no condition to wait for: nothing answers."""
    assert not threading.Event().wait(seconds)


def test_kill_of_the_worker_at_any_moment(world: DeliveryWorld, processes: Processes) -> None:
    """A kill -9 of the worker under load, at random moments, in and after an outage, loses and reorders nothing.

    Quarantined, waiting and healthy deliveries are all there when it dies; few are repeated.
    """
    hooks = world.hooks("one", "two", "dead", "flaky")
    chance = random.Random(7)  # noqa: S311 - not a secret
    down = {"dead"}

    def answer(seen: object) -> Reply:
        path = seen.path[1:]  # type: ignore[attr-defined]
        return Reply(503) if path in down or (path == "flaky" and chance.random() < 0.2) else OK

    world.targets.answer = answer
    lives: list[int] = []
    unsettled: list[int] = []
    with world.under_load(hooks):
        for life in range(3):
            worker = world.spawn(processes, policy=QUICK_RETRIES)
            if life:  # the first dies as it begins, the others when they have caught up
                eventually(lambda: not behind(world, hooks[:2]))
                # A burst of what was behind is repeated whole if it dies within a second: steady load counts.
                wait_sent(world, chance.randrange(300, 600))
            else:
                world.wait_accepted(chance.randrange(10, 300))
            worker.kill()
            lives.append(len(world.accepted()))
            unsettled.append(world.unsettled())
            if life == 1:
                down.clear()
        world.targets.answer = lambda _seen: OK
    world.start(policy=QUICK_RETRIES)
    world.check_promises()
    healthy = [(index, seen.id) for index, seen in enumerate(world.accepted()) if seen.path in ("/one", "/two")]
    for (began, ended), uncommitted in zip(pairwise(lives), unsettled[1:], strict=True):
        repeated = {id_ for n, id_ in healthy if began <= n < ended} & {id_ for n, id_ in healthy if n >= ended}
        assert len(repeated) <= max(REPEATED_BY_A_KILL, uncommitted)


def wait_sent(world: DeliveryWorld, more: int) -> None:
    """Wait until so many more deliveries were produced."""
    wanted = len(world.sent) + more
    eventually(lambda: len(world.sent) >= wanted)


def behind(world: DeliveryWorld, hooks: list[Hook]) -> bool:
    """Whether one of these hooks has not had what was sent a moment ago."""
    ids, accepted = {hook.id for hook in hooks}, {seen.id for seen in world.accepted()}
    return any(delivery.hook_id in ids and delivery.id not in accepted for delivery in world.sent[:-100])


def test_the_broker_freezes(
    private_kafka: Callable[..., HurtableKafka], make_world: Callable[..., DeliveryWorld]
) -> None:
    """A broker that freezes for longer than the session and the requests' time-outs delays, and loses nothing."""
    broker = private_kafka()
    world = make_world(broker.bootstrap_servers, kafka_options=IMPATIENT)
    worker = world.start()
    with world.under_load(world.hooks("one", "two", "three")):
        world.wait_accepted(200)
        broker.pause()
        pass_time(8)
        broker.resume()
        world.wait_accepted(500)
    world.check_promises()
    assert worker.error is None


def test_the_broker_is_killed(
    private_kafka: Callable[..., HurtableKafka], make_world: Callable[..., DeliveryWorld]
) -> None:
    """A broker that is killed and started on its data delays deliveries; what a dead endpoint is owed is still owed."""
    broker = private_kafka()
    world = make_world(broker.bootstrap_servers)
    hooks = world.hooks("one", "two", "dead")
    world.targets.answer = lambda seen: Reply(503) if seen.path == "/dead" else OK
    worker = world.start()
    with world.under_load(hooks):
        world.wait_accepted(200)
        broker.kill()
        broker.start()
        world.wait_accepted(300)
        world.targets.answer = lambda _seen: OK
    world.check_promises()
    assert worker.error is None


def test_the_disk_of_the_broker_is_full(
    private_kafka: Callable[..., HurtableKafka], make_world: Callable[..., DeliveryWorld]
) -> None:
    """What a broker without room cannot store is not taken for stored; with room again everything arrives, in order."""
    broker = private_kafka()
    world = make_world(broker.bootstrap_servers)
    hooks = world.hooks("one", "two", "dead")
    world.targets.answer = lambda seen: Reply(503) if seen.path == "/dead" else OK
    worker = world.start()
    with world.under_load(hooks):
        world.wait_accepted(200)
        broker.fill_disk()
        eventually(lambda: not broker.running, describe="a broker that cannot write its log ends")
        broker.start()
        world.wait_accepted(300)
        world.targets.answer = lambda _seen: OK
    world.check_promises()
    assert worker.error is None


def test_the_coordinator_s_broker_of_three_is_killed(
    kafka_cluster: KafkaCluster, make_world: Callable[..., DeliveryWorld]
) -> None:
    """The death of the broker that coordinates the group costs time, and neither a delivery nor the order."""
    world = make_world(kafka_cluster.bootstrap_servers)
    worker = world.start()
    with world.under_load(world.hooks("one", "two", "three")):
        world.wait_accepted(300)
        group = world.topics.deliver_group
        client = admin(kafka_cluster.bootstrap_servers)  # has to live until the answer is there
        described = client.describe_consumer_groups([group])[group].result(20)
        kafka_cluster.kill(described.coordinator.id)
        world.wait_accepted(600)
    world.check_promises()
    assert worker.error is None


@pytest.fixture
def proxied(tmp_path: Path, logs: list[Path]) -> Iterator[ProxiedKafka]:
    """Yield a broker whose network the test breaks."""
    broker = ProxiedKafka(source_of(Part.KAFKA, private=True), tmp_path / "kafka")
    logs.append(broker.log)
    yield broker
    broker.close()


def test_the_coordinator_is_out_of_reach(proxied: ProxiedKafka, make_world: Callable[..., DeliveryWorld]) -> None:
    """A worker that is cut off from Kafka past its session, silently and then by resets, comes back and goes on."""
    world = make_world(proxied.bootstrap_servers)
    hooks = world.hooks("one", "two", "three")
    worker = world.start(bootstrap_servers=proxied.proxied_servers, kafka_options=IMPATIENT)
    with world.under_load(hooks):
        world.wait_accepted(200)
        proxied.proxy.blackhole()
        pass_time(8)
        proxied.proxy.heal()
        world.wait_accepted(600)
        proxied.proxy.cut()
        pass_time(2)
        proxied.proxy.heal()
        world.wait_accepted(600)
    world.check_promises()
    assert worker.error is None


def test_a_dead_letter_that_kafka_refuses_is_not_settled(world: DeliveryWorld) -> None:
    """While `deliveries.dead` refuses a record as too large, no commit passes it; once it is taken, the commit does."""
    dead_letters = ConfigResource(ResourceType.TOPIC, world.topics.dead_letters)

    def limit(size: int) -> None:
        entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
        client = admin(world.config.bootstrap_servers)
        change = ConfigResource(ResourceType.TOPIC, world.topics.dead_letters, incremental_configs=[entry])
        client.incremental_alter_configs([change])[dead_letters].result(20)

    limit(10)
    (hook,) = world.hooks("one")
    world.send(hook, [1], partition=0)
    world.produce_bytes(b"1", b"no avro", partition=0)
    world.send(hook, [2], partition=0)
    world.start()
    eventually(lambda: world.commit_of()[0] == 1, describe="everything below is committed")
    eventually(lambda: len(world.accepted()) == 1)
    limit(1_000_000)
    eventually(lambda: world.commit_of()[0] == 3, describe="the dead letter is there, and reading goes on")
    (dead_letter,) = world.dead_letters()
    assert (dead_letter.offset, dead_letter.reason) == (1, DeadLetterReason.UNDECODABLE)
    assert len(world.accepted()) == 2
