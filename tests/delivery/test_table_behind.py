"""Promise: a worker's table that is older than the router's delays what it concerns, and cancels nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hookstream.schemas.hook import HookState
from tests.support.delivery_world import QUICK_PROBES
from tests.support.wait import eventually

if TYPE_CHECKING:
    from tests.support.delivery_world import DeliveryWorld

SOON = {**QUICK_PROBES, "stale_wait_s": 0.5}


def test_a_delivery_waits_for_its_row_and_no_other_waits(world: DeliveryWorld) -> None:
    """What was routed under a row that the worker has not read waits for it, and then goes to its target."""
    early, other = world.hooks("old", "other")
    later = world.hook(1, 1, world.targets.url("new"), revision=2)
    world.start(policy=SOON)
    waiting = world.send(later, range(20), partition=0)
    world.wait_all(of=world.send(other, range(200), partition=0))
    eventually(lambda: world.commit_of()[0] == 220, describe="after a while it is owed by a state")
    assert world.commit_of()[1].pointer is not None  # type: ignore[union-attr]
    assert not world.targets.to("old")
    world.publish(later)
    world.wait_all(of=waiting)
    assert len(world.targets.accepted_by("new")) == 20
    assert not world.targets.to("old"), early
    assert world.duplicates() == 0


def test_a_hook_that_the_table_does_not_know_is_waited_for(world: DeliveryWorld) -> None:
    """Absence never means deleted: deliveries of a hook without any row are kept, through a restart, until it comes."""
    unknown = world.hook(7, 7, world.targets.url("late"))
    worker = world.start(policy=SOON)
    world.send(unknown, range(20), partition=0)
    eventually(lambda: world.commit_of()[0] == 20, describe="they are owed by a state")
    worker.stop()
    worker = world.start(policy=SOON)
    world.send(unknown, range(20), partition=0)
    eventually(lambda: world.commit_of()[0] == 40)
    assert worker.metrics.worker.deliveries["cancelled"] == 0
    world.publish(unknown)
    assert world.check_promises() == 0


def test_only_a_row_that_is_new_enough_cancels(world: DeliveryWorld) -> None:
    """A hook that was deleted, or whose key another one has, has its deliveries cancelled once the table says so."""
    old = world.hook(1, 1, world.targets.url("old"))
    new = world.hook(2, 1, world.targets.url("new"), revision=3)
    world.publish(old)
    worker = world.start(policy=SOON)
    first = world.send(new, range(5), partition=0)
    eventually(lambda: world.commit_of()[0] == 5, describe="the new hook's wait: the table shows the old one")
    assert not world.targets.requests
    world.publish(new)
    world.wait_all(of=first)
    world.send(old, range(5), partition=0)
    eventually(lambda: worker.metrics.worker.deliveries["cancelled"] == 5)
    world.publish(world.hook(2, 1, world.targets.url("new"), revision=4, state=HookState.DELETED))
    world.wait_known()
    world.send(new, range(5), partition=0)
    eventually(lambda: worker.metrics.worker.deliveries["cancelled"] == 10)
    eventually(lambda: world.commit_of()[0] == 15)
    assert len(world.targets.requests) == 5
