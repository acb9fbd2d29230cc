"""Promise: workers obey answers: 410, Retry-After and `webhook-delivery: abort`, and nothing is lost by them."""

from __future__ import annotations

import time
from dataclasses import replace
from email.utils import formatdate
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from hookstream.processors.delivery.engine.policy import EnginePolicy
from hookstream.schemas.delivery import DeadLetterReason
from hookstream.schemas.hook import HookState, NoticeKind, Revision
from tests.support.targets import HANG, OK, Reply
from tests.support.wait import eventually

if TYPE_CHECKING:
    from tests.support.delivery_world import DeliveryWorld
    from tests.support.processes import Processes


def test_410_disables_the_hook_and_what_comes_later_is_owed(world: DeliveryWorld, processes: Processes) -> None:
    """After a 410 a notice is written and nothing more is sent, through a kill -9 too, until the hook is enabled."""
    gone, other = world.hooks("gone", "other")
    world.targets.answer = lambda seen: Reply(410) if seen.path == "/gone" else OK
    worker = world.spawn(processes)
    world.send(gone, range(20), partition=0)
    eventually(world.notices, describe="a notice")
    notice = world.notices()[0]
    assert (notice.hook_id, notice.kind, notice.revision) == (gone.id, NoticeKind.GONE, 1)
    later = world.send(gone, range(20), partition=0)
    eventually(lambda: world.commit_of()[0] == 40, describe="everything is owed by a state, and nothing is on its way")
    asked = len(world.targets.to("gone"))
    assert asked <= EnginePolicy().concurrency_start, "no more than what was on its way when the first answer came"
    worker.kill()

    world.start()
    world.send(other, range(20), partition=0)
    world.wait_all(of=world.sent[40:])
    assert len(world.targets.to("gone")) == asked, "a disabled hook is not asked, and the disable outlives a kill"
    world.targets.answer = lambda _seen: OK
    world.publish(replace(gone, revision=Revision(gone.revision + 1)))
    assert world.check_promises() == 0
    assert {delivery.id for delivery in later} <= {seen.id for seen in world.accepted()}


def test_a_disabled_hook_is_owed_and_enabled_with_skip_it_is_not(world: DeliveryWorld) -> None:
    """What arrives while a hook is disabled is kept; enabled from now on, it gets only what arrives from then on."""
    (hook,) = world.hooks("one", state=HookState.DISABLED)
    world.start()
    world.send(hook, range(30), partition=0)
    eventually(lambda: world.commit_of()[0] == 30)
    assert not world.targets.requests
    not_before = time.time_ns() // 1_000_000 + 1
    world.publish(
        replace(hook, state=HookState.ENABLED, revision=Revision(hook.revision + 1), not_before_ms=not_before)
    )
    fresh = [world.delivery(hook, n, arrived_ms=not_before + 1, hook_revision=hook.revision + 1) for n in range(5)]
    world.produce(fresh, partition=0)
    world.wait_all(of=fresh)
    eventually(lambda: world.commit_of()[1].pointer is None, describe="nothing is owed")  # type: ignore[union-attr]
    assert len(world.targets.requests) == 5


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_respected(world: DeliveryWorld, status: int, form: str) -> None:
    """An endpoint that asks for three seconds of silence gets them, as a whole, and then its backlog."""
    (hook,) = world.hooks("one")
    at_once = EnginePolicy().concurrency_start
    world.targets.answer = lambda _seen: HANG
    # Eight refusals that counted as eight, and not as one, would be followed by minutes of silence.
    world.start(policy={"busy_first_s": 2.5}, attempt_timeout_s=300.0)
    world.send(hook, [n % at_once for n in range(40)], partition=0)
    eventually(lambda: world.targets.held == at_once, describe="as many are on their way as may be")
    world.targets.answer = lambda _seen: OK
    asked_at = time.monotonic()
    wait = "3" if form == "seconds" else formatdate(time.time() + 4, usegmt=True)  # of whole seconds
    world.targets.let_go(Reply(status, {"retry-after": wait}))
    assert world.check_promises() == 0
    assert min(seen.at for seen in world.accepted()) - asked_at >= 2.9
    assert len(world.targets.requests) - len(world.accepted()) == at_once


def test_what_a_receiver_refuses_is_a_dead_letter_and_holds_up_nothing(world: DeliveryWorld) -> None:
    """An answer with `webhook-delivery: abort` dead-letters its delivery at once, and the next of its resource goes."""
    one, other = world.hooks("one", "other")
    refused = {delivery.id for delivery in world.send(one, [7, 7], partition=0)}
    after = world.send(one, [7, 8], partition=0)
    world.targets.answer = lambda seen: (
        Reply(500, {"Webhook-Delivery": "retry-later, ABORT"}) if seen.id in refused else OK
    )
    world.start()
    ours = world.send(other, [7], partition=0)
    world.wait_all(of=[*after, *ours])
    eventually(lambda: world.commit_of()[0] == 5, describe="nothing is pending")
    dead = world.dead_letters()
    assert {(dead_letter.delivery_id, dead_letter.reason, dead_letter.last_status) for dead_letter in dead} == {
        (delivery, DeadLetterReason.REFUSED, 500) for delivery in refused
    }
    assert len(world.targets.requests) == 5, "each was asked once"
    assert {seen.headers["hookstream-hook"] for seen in world.targets.to("one")} == {str(one.id)}


def test_429_without_a_time_doubles(world: DeliveryWorld) -> None:
    """An endpoint that is too busy and names no time is left alone for a second, then for two, and so on."""
    (hook,) = world.hooks("one")
    world.targets.answer = lambda _seen: OK if len(world.targets.requests) > 3 else Reply(429)
    world.start(policy={"concurrency_start": 1})
    world.send(hook, [1, 1, 1], partition=0)
    assert world.check_promises() == 0
    times = [seen.at for seen in world.targets.requests[:4]]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert [pause >= wanted for pause, wanted in zip(pauses, (0.9, 1.9, 3.9), strict=True)] == [True] * 3, pauses


def test_other_endpoints_do_not_wait_for_a_busy_one(world: DeliveryWorld) -> None:
    """A Retry-After of one endpoint holds up no other endpoint."""
    busy, other = world.hooks("busy", "other")
    world.targets.answer = lambda seen: Reply(503, {"retry-after": "600"}) if seen.path == "/busy" else OK
    world.start()
    world.send(busy, range(50), partition=0)
    ours = world.send(other, range(200), partition=0)
    world.wait_all(of=ours)
    eventually(lambda: world.commit_of()[0] == 250, describe="the offset does not wait either")
