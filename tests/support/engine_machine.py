"""The engine's world as a Hypothesis state machine: its actions are rules, so that what breaks an invariant shrinks.

The judge is the world's. Where `engine_world.check` finds by long random lives, this finds by short ones, and shows the
few steps that are enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.support.engine_world import LIVE, REPLAY, Kit, World

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
        self.world = World(seed, self.kit, records=60)

    def do(self, action: Callable[[], None], luck: int, times: int = 1) -> None:
        """Let one action happen so many times, a second each."""
        self.world.random.seed(luck)
        for _ in range(times):
            self.world.step(action)

    @rule(luck=LUCK, times=TIMES)
    def route(self, luck: int, times: int) -> None:
        """Events are routed."""
        self.do(self.world.route, luck, times)

    @rule(luck=LUCK, times=TIMES)
    def read(self, luck: int, times: int) -> None:
        """The main lane reads."""
        self.do(self.world.read, luck, times)

    @rule(luck=LUCK, times=TIMES)
    def send(self, luck: int, times: int) -> None:
        """Requests are made."""
        self.do(lambda: self.world.send(self.world.owner), luck, times)

    @rule(luck=LUCK, times=TIMES)
    def land(self, luck: int, times: int) -> None:
        """Requests arrive at their targets, and their answers back."""
        self.do(self.world.land, luck, times)
        self.do(self.world.answer, luck, times)

    @rule(luck=LUCK, times=TIMES)
    def scan(self, luck: int, times: int) -> None:
        """Catch-up reads."""
        self.do(self.world.scan, luck, times)

    @rule(luck=LUCK, times=TIMES, stream=st.sampled_from((LIVE, REPLAY)))
    def commit(self, luck: int, times: int, stream: int) -> None:
        """Commits go on, a stage at a time."""
        self.do(lambda: self.world.advance_commit(self.world.owner, stream), luck, times)

    @rule(luck=LUCK, times=TIMES)
    def bury(self, luck: int, times: int) -> None:
        """Kafka acknowledges dead letters."""
        self.do(lambda: self.world.acknowledge_dead_letter(self.world.owner), luck, times)

    @rule(luck=LUCK, times=TIMES)
    def read_table(self, luck: int, times: int) -> None:
        """Rows arrive."""
        self.do(self.world.read_table, luck, times)

    @precondition(lambda self: self.world.notices)
    @rule(luck=LUCK)
    def apply_notice(self, luck: int) -> None:
        """The API disables a hook."""
        self.do(self.world.notice, luck)

    @rule(luck=LUCK)
    def change_target(self, luck: int) -> None:
        """A target gets well or ill."""
        self.do(self.world.change_target, luck)

    @rule(luck=LUCK)
    def change_subscription(self, luck: int) -> None:
        """A hook is changed."""
        self.do(self.world.change_subscription, luck)

    @rule(luck=LUCK)
    def ask_replay(self, luck: int) -> None:
        """Somebody asks for a replay."""
        self.do(self.world.ask_replay, luck)

    @precondition(lambda self: self.world.meddling)
    @rule(luck=LUCK)
    def wanted(self, luck: int) -> None:
        """An operator changes the settings of an endpoint."""
        self.do(self.world.wanted, luck)

    @precondition(lambda self: self.world.forgetful)
    @rule(luck=LUCK)
    def retain(self, luck: int) -> None:
        """Retention deletes."""
        self.do(self.world.retain, luck)

    @precondition(lambda self: self.world.duplicates)
    @rule(luck=LUCK)
    def duplicate(self, luck: int) -> None:
        """A router crashes."""
        self.do(self.world.duplicate, luck)

    @precondition(lambda self: self.world.crashes)
    @rule(luck=LUCK, how=st.sampled_from(("crash", "take_over", "revoke")))
    def change_owner(self, luck: int, how: str) -> None:
        """The partition gets another owner."""
        self.do(getattr(self.world, how), luck)

    @precondition(lambda self: self.world.zombies)
    @rule(luck=LUCK)
    def wake_zombie(self, luck: int) -> None:
        """An old owner does something."""
        self.do(self.world.zombie, luck)

    @rule(seconds=st.sampled_from((10, 50, 200)))
    def wait(self, seconds: int) -> None:
        """Nothing happens for a while."""
        for _ in range(seconds):
            self.world.step(lambda: None)

    def teardown(self) -> None:
        """Everything is settled in the end."""
        if hasattr(self, "world"):
            self.world.random.seed(0)
            self.world.records = self.world.events
            self.world.drain(_DRAIN)
