"""Promise: a jump of the wall clock expires nothing, ends no wait early or late, and disables no hook."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from hookstream.processors.delivery.worker import composition
from hookstream.processors.delivery.worker.loop_clock import LoopClock
from tests.support.targets import OK, Reply
from tests.support.wait import eventually

if TYPE_CHECKING:
    from tests.support.delivery_world import DeliveryWorld

WEEK_S = 7 * 24 * 3600


@pytest.mark.parametrize("jump_s", [WEEK_S, -WEEK_S], ids=["forward", "back"])
def test_a_clock_that_jumps_by_a_week_harms_nothing(
    world: DeliveryWorld, monkeypatch: pytest.MonkeyPatch, jump_s: int
) -> None:
    """With a clock set a week forward or back in an outage, the backlog is neither expired nor the hook disabled."""
    offset_s = 0
    monkeypatch.setattr(
        composition, "LoopClock", lambda: LoopClock(wall_ns=lambda: time.time_ns() + offset_s * 1_000_000_000)
    )
    dead, alive = world.hooks("dead", "alive")
    world.targets.answer = lambda seen: Reply(500) if seen.path == "/dead" else OK
    world.start(policy={"probe_first_s": 0.3, "probe_steady_s": 0.3, "notice_every_s": 0.3})
    world.send(dead, range(50), partition=0)
    eventually(lambda: world.commit_of()[0] == 50, describe="everything is owed")
    offset_s = jump_s
    probed = len(world.targets.to("dead"))
    world.wait_all(of=world.send(alive, range(50), partition=0))
    eventually(lambda: len(world.targets.to("dead")) >= probed + 3, describe="it is probed as before")
    assert not world.dead_letters()
    assert not world.notices()
    world.targets.answer = lambda _seen: OK
    assert world.check_promises() == 0
