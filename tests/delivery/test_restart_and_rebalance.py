"""Promise: workers that join, leave, die or freeze under load lose nothing, and repeat little."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from hookstream.processors.errors import KafkaRefusedError
from tests.support.delivery_world import QUICK_PROBES
from tests.support.targets import OK, Reply, Seen
from tests.support.wait import eventually

if TYPE_CHECKING:
    from tests.support.delivery_world import DeliveryWorld
    from tests.support.processes import Processes

KIP_848: dict[str, Any] = {"group_protocol": "consumer"}
CLASSIC: dict[str, Any] = {"group_protocol": "classic"}
COOPERATIVE: dict[str, Any] = {
    "group_protocol": "classic",
    "kafka_options": {"partition.assignment.strategy": "cooperative-sticky"},
}
GROUPS = pytest.mark.parametrize(
    "group", [KIP_848, CLASSIC, COOPERATIVE], ids=["kip-848", "classic", "cooperative-sticky"]
)
# So that another soon has what a killed one had. Only for that: where a machine is so busy that a session ends before
# its heartbeat is sent, its partitions are lost, and what no commit covers is rightly made again.
SHORT_SESSION = {"session.timeout.ms": "6000", "heartbeat.interval.ms": "1000"}
NAMES = ("one", "two", "three", "four", "five", "six")
REPEATED_BY_A_KILL = 150


@GROUPS
def test_workers_that_join_and_leave_repeat_nothing(world: DeliveryWorld, group: dict[str, Any]) -> None:
    """A worker that joins under load takes partitions over, one that leaves gives them away; nothing comes twice."""
    with world.under_load(world.hooks(*NAMES)):
        first = world.start(**group)
        world.wait_accepted(200)
        second = world.start(**group)
        eventually(lambda: second.metrics.worker.deliveries["delivered"] > 50, describe="the second delivers, too")
        third = world.start(**group)
        eventually(lambda: third.metrics.worker.deliveries["delivered"] > 50, describe="the third delivers, too")
        first.stop()
        world.wait_accepted(200)
        third.stop()
        world.wait_accepted(200)
    assert world.check_promises() == 0


@GROUPS
def test_a_killed_worker_s_partitions_are_taken_over(
    world: DeliveryWorld, processes: Processes, group: dict[str, Any]
) -> None:
    """A worker that joins and is killed under load is followed by the other, with what it owed, and few repetitions."""
    hooks = world.hooks(*NAMES)
    if group is not KIP_848:  # there the broker says how long a session is
        group = {**group, "kafka_options": {**group.get("kafka_options", {}), **SHORT_SESSION}}
    world.targets.answer = lambda seen: Reply(503) if seen.path == "/two" else OK
    with world.under_load(hooks):
        first = world.start(**group)
        world.wait_accepted(100)
        second = world.spawn(processes, **group)
        eventually(lambda: "partition taken over" in second.log_text())
        world.wait_accepted(300)
        owned = list(first.worker.partitions)
        second.kill()
        unsettled = world.unsettled(but=owned)
        eventually(lambda: len(first.worker.partitions) > len(owned))
        world.targets.answer = lambda _seen: OK
    assert world.check_promises() <= max(REPEATED_BY_A_KILL, unsettled)


def test_replays_go_where_their_deliveries_are(world: DeliveryWorld) -> None:
    """Cooperative-sticky gives partition p of two topics to two workers; ours read p of both where they deliver p."""
    hooks = world.hooks(*NAMES)
    first, second = world.start(**COOPERATIVE), world.start(**COOPERATIVE)
    shares = [first.worker.partitions, second.worker.partitions]
    eventually(lambda: [len(share) for share in shares] == [2, 2], describe="each has its share")
    replays = [world.delivery(hook, concept, replay="job") for concept in range(4) for hook in hooks]
    for concept in range(4):
        world.produce(replays[concept * 6 : concept * 6 + 6], partition=concept, topic=world.topics.replays)
    world.wait_all(of=replays)
    first.stop()
    eventually(lambda: len(shares[1]) == 4, describe="the second has all")
    again = [world.delivery(hook, 5, replay="job") for hook in hooks]
    for partition in range(4):
        world.produce(again[partition : partition + 1], partition=partition, topic=world.topics.replays)
    world.wait_all(of=again[:4])
    assert world.duplicates() == 0


def test_an_assignor_that_separates_deliveries_from_their_replays_is_refused(world: DeliveryWorld) -> None:
    """Round robin gives partition p of two topics to two workers and moves all at once: a worker does not start."""
    options = {"partition.assignment.strategy": "roundrobin"}
    error = world.start(ready=False, group_protocol="classic", kafka_options=options).wait_ended()
    assert isinstance(error, KafkaRefusedError)
    assert "range" in str(error)


def test_attempts_are_counted_across_a_kill(world: DeliveryWorld, processes: Processes) -> None:
    """A delivery that failed twice is tried for the third time after a kill -9, and when its schedule says so."""
    (hook,) = world.hooks("one")
    world.targets.answer = lambda seen: Reply(422) if seen.concept == 0 else OK
    policy = {"short_schedule_s": [0.2, 25.0, 25.0], "retry_in_window_s": 4.0, "jitter": 0.0, **QUICK_PROBES}
    worker = world.spawn(processes, policy=policy)
    world.send(hook, [1, 2], partition=0)
    world.wait_all()
    poison = world.send(hook, [0], partition=0)[0]
    eventually(lambda: [seen.attempt for seen in poisoned(world, poison.id)] == [1, 2])
    eventually(lambda: world.commit_of()[0] == 3, describe="its lane left the window behind a cursor")
    worker.kill()

    world.targets.answer = lambda _seen: OK
    world.start(policy=policy)
    world.send(hook, [1], partition=0)
    world.wait_all(of=world.sent[3:])
    metadata = world.commit_of()[1]
    assert metadata is not None
    eventually(lambda: [seen.attempt for seen in poisoned(world, poison.id)] == [1, 2, 3])
    _, second, third = poisoned(world, poison.id)
    assert third.at - second.at >= 24.0, "not before it was due; a restart that took longer than that is no fault"


def poisoned(world: DeliveryWorld, delivery_id: str) -> list[Seen]:
    """Every request that was made of one delivery."""
    return [seen for seen in list(world.targets.requests) if seen.id == delivery_id]


def test_a_suspended_worker_that_wakes_up_sends_nothing(world: DeliveryWorld, processes: Processes) -> None:
    """A worker that sleeps past its session wakes up fenced: it sends nothing of what is another's, its state is void.

    It falls asleep with a full window, requests on their way, and a state that owes.
    """
    hooks = world.hooks("slow", "dead")
    world.targets.answer = lambda seen: Reply(503) if seen.path == "/dead" else Reply(204, after_s=0.2)
    sleeper = world.spawn(processes, fenced_after_s=4.0)
    world.send(hooks[1], range(20), partition=0)
    eventually(lambda: world.commit_of()[1] and world.commit_of()[1].pointer)  # type: ignore[union-attr]
    world.send(hooks[0], range(300), partition=0)
    world.wait_accepted(20)
    sleeper.pause()

    world.targets.answer = lambda _seen: OK
    world.start()
    world.wait_all()
    eventually(lambda: world.commit_of()[0] == 320 and world.commit_of()[1].pointer is None)  # type: ignore[union-attr]
    made = len(world.targets.requests)
    sleeper.resume()
    sleeper.wait_until(lambda: "partitions were lost" in sleeper.log_text(), what="it hears that it lost them")
    assert not threading.Event().wait(2), "long enough for what it should not do"
    assert len(world.targets.requests) == made
    offset, metadata = world.commit_of()
    assert (offset, metadata.pointer if metadata else "") == (320, None)
    world.check_order()

    world.send(hooks[0], range(10), partition=0)
    world.wait_all()
    assert sleeper.running
