"""Promise: for one hook, deliveries of one resource are first delivered in the order of the log."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from tests.support.delivery_world import QUICK_PROBES, most_requests
from tests.support.targets import OK, Reply
from tests.support.wait import eventually

if TYPE_CHECKING:
    from tests.support.delivery_world import DeliveryWorld

QUICK_RETRIES = {
    "full_schedule_s": [0.05] * 40,
    "short_schedule_s": [0.05] * 40,
    "probe_first_s": 0.2,
    "probe_steady_s": 0.2,
}


def test_the_backlog_of_an_outage_arrives_in_order(world: DeliveryWorld) -> None:
    """An endpoint that was down gets its backlog, and what came since, in order, as soon as a probe succeeds."""
    (hook,) = world.hooks("one")
    world.targets.answer = lambda _seen: Reply(500)
    began = time.monotonic()
    with world.under_load([hook]):
        world.start()
        eventually(lambda: len(world.sent) >= 600 and world.targets.requests)
        probed = len(world.targets.requests)
        assert probed <= most_requests(began, QUICK_PROBES["probe_steady_s"]), "it is probed, not hammered"
        world.targets.answer = lambda _seen: OK
        world.wait_accepted(700)
    assert world.check_promises() == 0


def test_failures_here_and_there_reorder_nothing(world: DeliveryWorld) -> None:
    """Requests that fail at random delay their own resource and overtake nothing of it."""
    hooks = world.hooks("one", "two")
    chance = random.Random(3)  # noqa: S311 - not a secret
    world.targets.answer = lambda _seen: Reply(500) if chance.random() < 0.15 else OK
    world.start(policy=QUICK_RETRIES)
    for _ in range(40):
        for hook in hooks:
            world.send(hook, range(10))
    assert world.check_promises() == 0
    assert any(seen.attempt > 1 for seen in world.accepted())


def test_hooks_that_share_a_target_keep_one_order(world: DeliveryWorld) -> None:
    """Of one client's hooks with one target, a resource's deliveries arrive in the order of the log, across events."""
    events = ("property.new", "property.updated", "property.status")
    url = world.targets.url("shared")
    hooks = [world.hook(n, 1, url, event=event) for n, event in enumerate(events, 1)]
    world.publish(*hooks)
    world.targets.answer = lambda _seen: Reply(500)
    world.start()
    for n in range(100):
        world.send(hooks[n % 3], [n % 4])
    eventually(lambda: world.targets.requests)
    world.targets.answer = lambda _seen: OK
    for n in range(100):
        world.send(hooks[n % 3], [n % 4])
    world.wait_all()
    place = {seen.id: index for index, seen in enumerate(world.accepted())}
    lanes: dict[str, list[int]] = defaultdict(list)
    for delivery in world.sent:
        lanes[delivery.concept_id].append(place[delivery.id])
    assert all(places == sorted(places) for places in lanes.values())


def test_a_new_target_gets_nothing_before_the_old_one_has_answered(world: DeliveryWorld) -> None:
    """A hook that is retargeted waits for its requests in flight, and then goes on at the new target, in order."""
    old = world.hook(1, 1, world.targets.url("old"))
    world.publish(old)
    world.targets.answer = lambda seen: Reply(204, after_s=0.7) if seen.path == "/old" else OK
    world.start()
    world.send(old, [n % 3 for n in range(30)])
    eventually(lambda: world.targets.to("old"))
    world.publish(world.hook(1, 1, world.targets.url("new"), revision=2))
    world.check_promises()
    last_of_old = max(seen.at + 0.7 for seen in world.targets.to("old"))
    assert min(seen.at for seen in world.targets.to("new")) >= last_of_old
