"""Promise: an offset is committed only when every delivery below it is done, or pending in the state it names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.targets import HANG, OK, Reply
from tests.support.wait import eventually

if TYPE_CHECKING:
    from tests.support.delivery_world import DeliveryWorld
    from tests.support.processes import Processes

HELD = {5, 17, 40}


def test_what_is_under_way_is_not_settled_in_any_commit(world: DeliveryWorld, processes: Processes) -> None:
    """While three of sixty requests hang, the commit says exactly the others; a kill then repeats exactly those."""
    (hook,) = world.hooks("one")
    world.targets.answer = lambda seen: HANG if seen.concept in HELD else OK
    world.send(hook, range(60), partition=0)
    worker = world.spawn(processes, attempt_timeout_s=300.0)
    eventually(lambda: len(world.accepted()) == 57 and world.targets.held == 3)
    eventually(lambda: world.settled_above() == set(range(60)) - HELD, describe="the commit says what is settled")
    assert world.commit_of()[0] == min(HELD)
    worker.kill()

    world.targets.answer = lambda _seen: OK
    world.spawn(processes)
    assert world.check_promises() == 0
    eventually(lambda: world.commit_of()[0] == 60)


def test_what_a_state_owes_may_be_passed_and_is_kept(world: DeliveryWorld, processes: Processes) -> None:
    """The offset passes what a dead endpoint is owed only with a state that owes it; a kill then loses none of it."""
    dead, alive = world.hooks("dead", "alive")
    world.targets.answer = lambda seen: Reply(500) if seen.path == "/dead" else OK
    world.send(dead, range(50), partition=0)
    world.send(alive, range(50), partition=0)
    worker = world.spawn(processes)
    eventually(lambda: world.commit_of()[0] == 100, describe="the offset passes what is owed")
    metadata = world.commit_of()[1]
    assert metadata is not None
    assert metadata.pointer is not None
    worker.kill()

    world.targets.answer = lambda _seen: OK
    world.spawn(processes)
    assert world.check_promises() == 0


def test_an_unfinished_delivery_at_shutdown_is_not_committed(world: DeliveryWorld) -> None:
    """A worker that is told to stop while a target hangs gives up waiting, commits without it, and it is sent again."""
    (hook,) = world.hooks("one")
    world.targets.answer = lambda seen: HANG if seen.concept in HELD else OK
    world.send(hook, range(60), partition=0)
    worker = world.start(drain_timeout_s=0.3, attempt_timeout_s=300.0)
    eventually(lambda: len(world.accepted()) == 57 and world.targets.held == 3)
    worker.stop()
    assert world.settled_above() == set(range(60)) - HELD

    world.targets.answer = lambda _seen: OK
    world.start()
    assert world.check_promises() == 0


def test_a_stop_under_load_commits_everything_that_was_delivered(world: DeliveryWorld) -> None:
    """A worker that is told to stop under load finishes what is in flight: nothing is delivered twice."""
    hooks = world.hooks("one", "two", "three")
    with world.under_load(hooks):
        for _ in range(3):
            worker = world.start()
            world.wait_accepted(200)
            worker.stop()
    world.start()
    assert world.check_promises() == 0


def test_the_first_commit_is_made_before_anything_is_delivered(world: DeliveryWorld) -> None:
    """A partition that was never committed is committed at once, so that its owner's successor knows the offset."""
    (hook,) = world.hooks("one")
    world.targets.answer = lambda _seen: HANG
    world.send(hook, [1], partition=2)
    world.start(drain_timeout_s=0.3)

    def committed() -> bool:
        return all(tp.offset == 0 and tp.metadata for tp in world.committed().values())

    eventually(committed, describe="every partition of both topics has a commit of ours")
    assert not world.accepted()
