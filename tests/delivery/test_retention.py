"""Promise: workers count what retention deletes, and dead-letter what is owed for too long."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from confluent_kafka import TopicPartition

from hookstream.schemas.delivery import DeadLetterReason
from hookstream.schemas.hook import HookState, NoticeKind
from tests.support.delivery_world import QUICK_PROBES
from tests.support.kafka_broker import admin
from tests.support.targets import OK, Reply
from tests.support.wait import eventually

if TYPE_CHECKING:
    from tests.support.delivery_world import DeliveryWorld


def expire_below(world: DeliveryWorld, offset: int) -> None:
    """Delete a partition's records as retention does."""
    tp = TopicPartition(world.topics.deliveries, 0, offset)
    client = admin(world.config.bootstrap_servers)
    client.delete_records([tp])[tp].result(20)


def test_what_was_deleted_while_no_worker_ran_is_counted(world: DeliveryWorld) -> None:
    """A worker that finds its offset below the log's first one counts the gap and reads on behind it."""
    (hook,) = world.hooks("one")
    first = world.start()
    eventually(lambda: world.commit_of()[0] == 0, describe="the first commit, without which no gap is known")
    first.stop()
    sent = world.send(hook, range(30), partition=0)
    expire_below(world, 10)
    worker = world.start()
    world.wait_all(of=sent[10:])
    eventually(lambda: worker.metrics.expired == 10, describe="ten are counted as expired")
    eventually(lambda: world.commit_of()[0] == 30)
    assert len(world.accepted()) == 20


def test_retention_that_overtakes_a_cursor_is_counted(world: DeliveryWorld) -> None:
    """What is deleted while it is owed is counted, and the rest of what is owed arrives in order, and once."""
    (hook,) = world.hooks("one")
    world.targets.answer = lambda _seen: Reply(500)
    worker = world.start()
    sent = world.send(hook, [n % 5 for n in range(600)], partition=0)
    eventually(lambda: world.commit_of()[0] == 600, describe="everything is owed")
    worker.stop()  # with its buffers
    expire_below(world, 400)
    world.targets.answer = lambda _seen: OK
    again = world.start()
    world.wait_all(of=sent[400:])
    eventually(lambda: again.metrics.expired == 400, describe="all of them are counted")
    world.check_order()
    assert {seen.id for seen in world.accepted()} == {delivery.id for delivery in sent[400:]}
    assert world.duplicates() == 0
    eventually(lambda: world.commit_of()[1].pointer is None, describe="nothing is owed any more")  # type: ignore[union-attr]


def test_what_is_owed_for_too_long_is_moved_to_the_dead_letters(world: DeliveryWorld) -> None:
    """Deliveries that are owed for too long end in `deliveries.dead` as expired; younger ones wait on."""
    (hook,) = world.hooks("one", state=HookState.DISABLED)
    old_ms = time.time_ns() // 1_000_000 - 3_600_000
    old = [world.delivery(hook, n, arrived_ms=old_ms) for n in range(30)]
    world.produce(old, partition=0)
    young = world.send(hook, range(10), partition=0)
    world.start(policy={**QUICK_PROBES, "expire_after_s": 1800.0, "notice_every_s": 0.5})
    eventually(lambda: len(world.dead_letters()) == 30, describe="thirty dead letters")
    dead_letters = world.dead_letters()
    assert {dead_letter.reason for dead_letter in dead_letters} == {DeadLetterReason.EXPIRED}
    assert {dead_letter.delivery_id for dead_letter in dead_letters} == {delivery.id for delivery in old}
    assert all(dead_letter.record_value for dead_letter in dead_letters)
    world.publish(world.hook(1, 1, world.targets.url("one"), revision=2))
    world.wait_all(of=young)
    assert {seen.id for seen in world.accepted()} == {delivery.id for delivery in young}


def test_an_endpoint_that_fails_for_days_is_disabled_and_owed(world: DeliveryWorld) -> None:
    """Nothing but failure for days disables the hook with a notice; enabled, it gets everything."""
    (hook,) = world.hooks("one")
    world.targets.answer = lambda _seen: Reply(500)
    world.start(policy={"probe_first_s": 0.2, "probe_steady_s": 0.2, "disable_after_s": 1.0, "notice_every_s": 0.5})
    world.send(hook, range(20), partition=0)
    eventually(world.notices, describe="a notice")
    assert world.notices()[0].kind is NoticeKind.FAILING
    world.targets.answer = lambda _seen: OK
    world.publish(world.hook(1, 1, world.targets.url("one"), revision=2))
    assert world.check_promises() == 0
    assert not world.dead_letters()
