"""Runs the simulated world: one step is one second and one action by chance, until all is healthy and settled."""

from __future__ import annotations

import bisect
import itertools
from typing import TYPE_CHECKING

from tests.support import engine_owner
from tests.support.engine_actions import Actions
from tests.support.engine_faults import Faults
from tests.support.engine_model import LIVE, REPLAY, ViolationError
from tests.support.engine_turns import judge_turns
from tests.support.engine_users import Users
from tests.support.engine_world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.engine_model import Kit

_TOLD_WITHIN = 300  # seconds after the end: refused notices are made again, and dead letters told once a minute


class Simulation:
    """A world with all that acts in it."""

    def __init__(self, world: World) -> None:
        """Start the first owner."""
        self.world, self.judge = world, world.judge
        self.actions = Actions(world)
        self.users = Users(world)
        self.faults = Faults(world, self.actions)
        # By what may happen: calls, their accumulated weights, the sum of these.
        self._chances: dict[tuple[bool, ...], tuple[list[Callable[[], None]], list[float], float]] = {}
        engine_owner.start(world)

    def step(self, action: Callable[[], None] | None = None) -> None:
        """One second and one action, the given one or one by chance."""
        world = self.world
        world.now += 1
        for owner in world.owners:
            owner.engine.advance(float(world.now), world.wall_ms)
        self.judge.disturbed |= world.owner.stale
        (action or self._choose())()
        for owner in world.owners:
            owner.engine.end_turn()
        self.judge.judge_window(world.owner)
        judge_turns(world)
        world.notice_judge.step()

    def _choose(self) -> Callable[[], None]:
        world, traits = self.world, self.world.traits
        room = traits.duplicates and len(world.logs[LIVE]) < 2 * world.records
        what = (bool(world.notices), bool(world.zombies), world.healing, room)
        found = self._chances.get(what)
        if found is None:
            chances = self._now_possible(*what)
            cum_weights = list(itertools.accumulate(weight for weight, _ in chances))
            found = self._chances[what] = [call for _, call in chances], cum_weights, float(cum_weights[-1])
        calls, cum_weights, total = found
        # As `random.choices` chooses, which would make a list for one.
        return calls[bisect.bisect(cum_weights, world.random.random() * total, 0, len(calls) - 1)]

    def _now_possible(
        self, notices: bool, zombies: bool, healing: bool, room: bool
    ) -> list[tuple[float, Callable[[], None]]]:
        """What may happen, each with its weight: with notices that wait, with zombies, when healing, with room."""
        world, actions, users, faults = self.world, self.actions, self.users, self.faults
        chances: list[tuple[float, Callable[[], None]]] = [
            (9, actions.route),
            (22, actions.read),
            (22, lambda: actions.send(world.owner)),
            (18, actions.land),
            (18, actions.answer),
            (16, actions.scan),
            (6, lambda: actions.commit(world.owner, LIVE)),
            (3, lambda: actions.commit(world.owner, REPLAY)),
            (4, lambda: actions.acknowledge_dead_letter(world.owner)),
            (3, actions.read_table),
            (1, users.apply_notice if notices else actions.read_table),
            (4 if zombies else 0, faults.zombie),
        ]
        if not healing:
            chances += self._changes(room=room)
        return chances

    def _changes(self, *, room: bool) -> list[tuple[float, Callable[[], None]]]:
        users, faults, traits = self.users, self.faults, self.world.traits
        changes: list[tuple[float, Callable[[], None]]] = []
        if traits.short_retention:
            changes += [(1, faults.retain)]
        changes += [(1, faults.change_target), (0.5, users.change_subscription), (0.6, users.ask_replay)]
        if traits.operators:
            changes += [(0.4, users.change_settings)]
        if traits.crashes:
            changes += [(0.25, faults.crash), (0.15, faults.take_over), (0.15, faults.revoke)]
        if room:
            changes += [(0.25, faults.duplicate)]
        return changes

    # -- the run -------------------------------------------------------------------------------------------------
    def run(self, steps: int = 3500, poisoned: int = 1500, drain: int = 12000) -> None:
        """Live for so many steps, then with healthy endpoints and poison resources, then with nothing that fails."""
        for _ in range(steps):
            self.step()
        self.heal(poison_stays=True)
        for _ in range(poisoned):
            self.step()
            self.judge.judge_probes()
        self.drain(drain)

    def heal(self, *, poison_stays: bool = False) -> None:
        """All endpoints answer from here on, and nothing else breaks."""
        world = self.world
        world.say("healthy", "from here but for", sorted(world.poison) if poison_stays else "nothing")
        world.healing = True
        world.modes.clear()
        self.users.resume_all()
        if not poison_stays:
            world.poison.clear()
            world.refused.clear()

    def drain(self, steps: int) -> None:
        """All targets are well from here on: everything is settled before so many steps are over."""
        self.heal()
        for turn in range(steps):
            if turn % 300 == 0:
                self.users.enable_all()
            self.step()
            if self._drained():
                break
        else:
            raise ViolationError(f"I8 not drained: {self.world.describe()}")
        self.judge.judge_end()
        world = self.world
        for _ in range(_TOLD_WITHIN):
            world.now += 1
            world.owner.engine.advance(float(world.now), world.wall_ms)
            world.owner.engine.end_turn()
            world.notice_judge.step()
        world.notice_judge.judge_end()

    def _drained(self) -> bool:
        world, owner = self.world, self.world.owner
        return (
            world.events >= world.records
            and owner.table.offset == len(world.rows)
            and not owner.dead_letters
            and all(
                stream.position >= len(log)
                and not (stream.unsettled or stream.in_flight)
                and not (stream.dead_letters_pending or stream.hooks_with_cursor)
                for stream, log in zip(owner.ledger.streams, world.logs, strict=True)
            )
        )


def check(seed: int, kit: Kit | None = None) -> tuple[World, str | None]:
    """Run one world; return it with the violation, if there was one."""
    world = World(seed, kit)
    try:
        Simulation(world).run()
    except ViolationError as violation:
        return world, str(violation)
    return world, None
