"""The engine's world as a Hypothesis state machine: its actions are rules, so that what breaks an invariant shrinks.

The judge is the world's. `engine_simulation.check` finds a violation by a long random life, this one by a short one,
and shows the few steps that are enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.support.engine_model import LIVE, REPLAY, Kit
from tests.support.engine_simulation import Simulation
from tests.support.engine_world import World

if TYPE_CHECKING:
    from collections.abc import Callable

# How the chance inside of an action falls; few, so that a failure is shrunk to the plainest of them.
LUCK = st.integers(0, 31)
TIMES = st.integers(1, 12)
_DRAIN = 4_000

QUICK = settings(
    max_examples=12,
    stateful_step_count=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


class EngineMachine(RuleBasedStateMachine):
    """One world; every rule is one of its actions, so many times in a row. `kit` is the engine under test."""

    kit: Kit | None = None

    @initialize(seed=st.integers(0, 2519))  # of all the worlds' kinds: a seed decides what may happen in one
    def begin(self, seed: int) -> None:
        """Start a world that still has everything before it."""
        self.simulation = Simulation(World(seed, self.kit, records=60))
        self.world = self.simulation.world

    def do(self, action: Callable[[], None], luck: int, times: int = 1) -> None:
        """Let one action happen so many times, a second each."""
        self.world.random.seed(luck)
        for _ in range(times):
            self.simulation.step(action)

    @rule(luck=LUCK, times=TIMES)
    def route(self, luck: int, times: int) -> None:
        """Events are routed."""
        self.do(self.simulation.actions.route, luck, times)

    @rule(luck=LUCK, times=TIMES)
    def read(self, luck: int, times: int) -> None:
        """Live reading goes on."""
        self.do(self.simulation.actions.read, luck, times)

    @rule(luck=LUCK, times=TIMES)
    def send(self, luck: int, times: int) -> None:
        """Requests are made."""
        self.do(lambda: self.simulation.actions.send(self.world.owner), luck, times)

    @rule(luck=LUCK, times=TIMES)
    def land(self, luck: int, times: int) -> None:
        """Requests arrive at their targets, and their answers back."""
        self.do(self.simulation.actions.land, luck, times)
        self.do(self.simulation.actions.answer, luck, times)

    @rule(luck=LUCK, times=TIMES)
    def scan(self, luck: int, times: int) -> None:
        """Catch-up reads."""
        self.do(self.simulation.actions.scan, luck, times)

    @rule(luck=LUCK, times=TIMES, stream=st.sampled_from((LIVE, REPLAY)))
    def commit(self, luck: int, times: int, stream: int) -> None:
        """Commits go on, a stage at a time."""
        self.do(lambda: self.simulation.actions.commit(self.world.owner, stream), luck, times)

    @rule(luck=LUCK, times=TIMES)
    def acknowledge_dead_letter(self, luck: int, times: int) -> None:
        """Kafka acknowledges dead letters."""
        self.do(lambda: self.simulation.actions.acknowledge_dead_letter(self.world.owner), luck, times)

    @rule(luck=LUCK, times=TIMES)
    def read_table(self, luck: int, times: int) -> None:
        """Rows arrive."""
        self.do(self.simulation.actions.read_table, luck, times)

    @precondition(lambda self: self.world.notices)
    @rule(luck=LUCK)
    def apply_notice(self, luck: int) -> None:
        """The API disables a hook."""
        self.do(self.simulation.users.apply_notice, luck)

    @rule(luck=LUCK)
    def change_target(self, luck: int) -> None:
        """A target gets well or ill."""
        self.do(self.simulation.faults.change_target, luck)

    @rule(luck=LUCK)
    def change_subscription(self, luck: int) -> None:
        """A hook is changed."""
        self.do(self.simulation.users.change_subscription, luck)

    @rule(luck=LUCK)
    def ask_replay(self, luck: int) -> None:
        """A client asks for a replay."""
        self.do(self.simulation.users.ask_replay, luck)

    @precondition(lambda self: self.world.traits.operators)
    @rule(luck=LUCK)
    def change_settings(self, luck: int) -> None:
        """An operator changes the settings of an endpoint."""
        self.do(self.simulation.users.change_settings, luck)

    @precondition(lambda self: self.world.traits.short_retention)
    @rule(luck=LUCK)
    def retain(self, luck: int) -> None:
        """Retention deletes."""
        self.do(self.simulation.faults.retain, luck)

    @precondition(lambda self: self.world.traits.duplicates)
    @rule(luck=LUCK)
    def duplicate(self, luck: int) -> None:
        """A router crashes."""
        self.do(self.simulation.faults.duplicate, luck)

    @precondition(lambda self: self.world.traits.crashes)
    @rule(luck=LUCK, how=st.sampled_from(("crash", "take_over", "revoke")))
    def change_owner(self, luck: int, how: str) -> None:
        """The partition gets another owner."""
        self.do(getattr(self.simulation.faults, how), luck)

    @precondition(lambda self: self.world.zombies)
    @rule(luck=LUCK)
    def wake_zombie(self, luck: int) -> None:
        """An old owner does something."""
        self.do(self.simulation.faults.zombie, luck)

    @rule(seconds=st.sampled_from((10, 50, 200)))
    def wait(self, seconds: int) -> None:
        """Nothing happens for a while."""
        for _ in range(seconds):
            self.simulation.step(lambda: None)

    def teardown(self) -> None:
        """Everything is settled in the end."""
        if hasattr(self, "simulation"):
            self.world.random.seed(0)
            self.world.records = self.world.events
            self.simulation.drain(_DRAIN)
