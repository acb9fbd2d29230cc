"""What breaks in the simulated world: targets, owners, routers, and retention that is too short."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support import engine_owner
from tests.support.engine_commits import finish
from tests.support.engine_model import BUSY, FAIL, GONE, LIVE, OK, REJECT, ViolationError

if TYPE_CHECKING:
    from tests.support.engine_actions import Actions
    from tests.support.engine_model import Flight, Owner
    from tests.support.engine_world import World

RETENTION_MS = 600_000


class Faults:
    """One fault each; where it strikes falls by chance."""

    def __init__(self, world: World, actions: Actions) -> None:
        """Break things in a world."""
        self.world, self.actions = world, actions

    def change_target(self) -> None:
        """An endpoint begins to answer in another way, or a resource becomes poison to it or is refused, or not."""
        world, chance = self.world, self.world.random
        endpoint = (chance.choice(("1", "2")), chance.choice("xy"))
        if world.traits.refusals and chance.random() < 0.5:
            world.refused ^= {(endpoint, f"r:{chance.randrange(5)}")}
        elif chance.random() < 0.4:
            world.poison ^= {(endpoint, f"r:{chance.randrange(5)}")}
        else:
            world.modes[endpoint] = chance.choice((OK, OK, OK, FAIL, FAIL, "hang", GONE, BUSY, REJECT))
        world.say("target", endpoint, world.modes[endpoint], sorted(r for e, r in world.poison if e == endpoint))

    def duplicate(self) -> None:
        """A router crash: the last records again, in order, after their originals."""
        world = self.world
        log = world.logs[LIVE]
        log += [r for r in log[-world.random.randint(1, 8) :] if r]
        world.say("router repeated, log ends at", len(log))

    def retain(self) -> None:
        """Retention deletes what is older than ten minutes; the readers meet the low watermark and tell the engine."""
        world = self.world
        for stream, log in enumerate(world.logs):
            low = world.low[stream]
            position = world.durable.offset(stream)
            while low < position and ((record := log[low]) is None or world.wall_ms - record.arrived_ms > RETENTION_MS):
                low += 1
            owed = world.judge.owed_below(stream, low)
            world.low[stream] = low
            counted = world.owner.engine.lose_below(stream, low)
            world.judge.judge_retention(stream, low, owed=owed, counted=counted)

    # -- owners --------------------------------------------------------------------------------------------------
    def crash(self) -> None:
        """The owner dies, with half of its requests."""
        world = self.world
        world.say("crash")
        world.judge.forget_answers()
        world.flights = [f for f in world.flights if f.owner is not world.owner or world.random.random() < 0.5]
        engine_owner.start(world)

    def take_over(self) -> None:
        """Another owner starts while the old one goes on as a zombie."""
        world = self.world
        world.say("take-over", "the old owner goes on as a zombie")
        world.zombies.append(world.owner)
        world.judge.forget_answers()
        engine_owner.start(world)

    def zombie(self) -> None:
        """An old owner, which has not noticed that it is one, does what an owner does."""
        world = self.world
        zombie = world.random.choice(world.zombies)
        self.actions.send(zombie)
        self.actions.commit(zombie, LIVE)
        self.actions.acknowledge_dead_letter(zombie)
        if world.random.random() < 0.1:
            world.zombies.remove(zombie)

    def revoke(self) -> None:
        """Give the partition away in order: some answers are waited for, the other requests are cancelled."""
        world, owner = self.world, self.world.owner
        world.say("revoke")
        self._forget_what_the_next_owner_cannot_know(owner)
        for _ in range(world.random.randrange(6)):
            self.actions.land()
            self.actions.answer()
        for flight in [f for f in world.flights if f.owner is owner]:
            owner.engine.abandon(flight.post)
            self._cancel(flight)
        if owner.dispatcher.in_flight:
            raise ViolationError(f"I10 {owner.dispatcher.in_flight} requests keep their places after a revocation")
        owner.engine.end_turn()
        for index, committer in enumerate(owner.committers):
            if finish(world.durable, committer, index, now=world.now, table_offset=owner.table.offset):
                world.judge.judge_commit(index)
        engine_owner.start(world)

    def _forget_what_the_next_owner_cannot_know(self, owner: Owner) -> None:
        world, streams = self.world, owner.ledger.streams
        fresh = [cursor for stream in streams for _, cursor in stream.open_cursors() if not cursor.restored]
        if fresh and any(stream.position < stream.restored_settled.end for stream in streams):
            # The next owner cannot tell these cursors from those that owe what is not re-read.
            world.judge.forget_answers()

    def _cancel(self, flight: Flight) -> None:
        """No process waits for its answer; whether the request still arrives is the network's affair."""
        if flight.outcome is not None or self.world.random.random() < 0.5:
            self.world.flights.remove(flight)
