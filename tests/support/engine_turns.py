"""The judge of turns in the simulated world (I19): a lane that may send is offered, and so is its endpoint.

A lane whose head may not be sent leaves the round robin, and is offered again when the reason is gone. A reason may go
in many ways; where the engine misses one, the lane stays where it is until something else happens to it. In the world
something nearly always does, so lanes are looked at and not waited for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hookstream.processors.delivery.engine import model
from tests.support.engine_model import LIVE, ViolationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hookstream.processors.delivery.engine.model import Endpoint, Lane, Pending
    from tests.support.engine_model import Owner
    from tests.support.engine_world import World

LOOKS = 10  # seconds between two looks


def judge_turns(world: World) -> None:
    """Look at every lane of the present owner, now and then, once a turn has ended.

    Replays are left out: a lane that waits for the live stream is offered again by a timer.
    """
    owner = world.owner
    if world.now % LOOKS:
        return
    for endpoint in owner.ledger.tracked.endpoints.values():
        if endpoint.health.waits(owner.ledger.now):
            continue
        free = endpoint.in_flight < endpoint.health.limit and endpoint not in endpoint.client.blocked
        for lane in endpoint.lanes.values():
            where = f"{(endpoint.client_id, endpoint.target)} {lane.resource}"
            if lane.queued[LIVE]:
                if free and not endpoint.dispatched[LIVE]:
                    raise ViolationError(f"I19 lane {where} is ready, and its endpoint has no turn")
            elif not lane.in_flight:
                for head in _heads(lane):
                    if _may_go(owner, endpoint, head):
                        raise ViolationError(f"I19 {head.offset} may be sent, and its lane {where} has no turn")


def _heads(lane: Lane) -> Iterator[Pending]:
    """The lowest of the window, and the lowest of the cursors unless one of them may hold a lower one."""
    yield from lane.windows[LIVE][:1]
    for head in lane.buffers[LIVE][:1]:
        cursors = [
            hook.backlogs[LIVE].cursor_for(lane.resource) for hook in lane.endpoint.hooks.values() if not hook.held
        ]
        if all(cursor is None or cursor.scan > head.offset for cursor in cursors):
            yield head


def _may_go(owner: Owner, endpoint: Endpoint, head: Pending) -> bool:
    hook = head.hook
    elsewhere = hook.in_flight and hook.in_flight_to is not endpoint
    clock = hook.backlogs[LIVE].clock(head.resource)
    waits = clock.due > owner.ledger.now or head.offset in owner.ledger.streams[LIVE].dead_letters_pending
    if elsewhere or waits or head.lane in hook.throttled:
        return False
    return owner.ledger.standing(head.delivery, hook, model.LIVE).value == "send"
