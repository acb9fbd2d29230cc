"""A replayer's runs: one that waits is left alone for a while, one that cannot be made ends, and leases are dropped."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from hookstream.processors.errors import ForeignTableError, KafkaUnavailableError
from hookstream.processors.operations.replays import claimed_runs as module
from hookstream.processors.operations.replays.claimed_runs import ClaimedRuns
from hookstream.producers.errors import RegistryUnavailableError
from hookstream.subscriptions.errors import DatabaseUnavailableError, LeaseLostError
from hookstream.subscriptions.replays import ReplayId, ReplayState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass
class Run:
    """A run whose steps raise what a test says."""

    replay: Any
    steps: list[Exception]
    ended: bool = False
    failed: str | None = None
    closed: bool = False

    def step(self) -> int:
        """Do something."""
        if self.steps:
            raise self.steps.pop(0)
        return 1

    def end(self, *, failed: str) -> None:
        """Note why."""
        self.failed = failed

    def close(self) -> None:
        """Note it."""
        self.closed = True


@dataclass
class World:
    """Replays to claim: one with each id."""

    runs: ClaimedRuns = field(init=False)
    now: float = 100.0
    away: bool = False
    steps: dict[int, list[Exception]] = field(default_factory=dict)
    made: list[Run] = field(default_factory=list)
    but_not: list[Sequence[int]] = field(default_factory=list)
    left: list[int] = field(default_factory=lambda: [1, 2])

    def transact(self, _sessions: object, work: Callable[[Any], Any]) -> Any:  # whatever the work gives
        """Do it."""
        if self.away:
            raise DatabaseUnavailableError("no answer")
        return work(self)

    def claim(self, *, but_not: Sequence[int], kinds: object) -> Any:  # a replay, as far as it is used here
        """Give the next one."""
        del kinds
        self.but_not.append(list(but_not))
        free = [each for each in self.left if each not in but_not]
        return SimpleNamespace(id=ReplayId(free[0]), own=False, state=ReplayState.RUNNING) if free else None

    def run(self, _deps: object, replay: Any, *, claimed_at: float) -> Run:
        """Make one."""
        del claimed_at
        self.made.append(Run(replay, self.steps.get(replay.id, [])))
        return self.made[-1]

    def turn(self, *, later_s: float = 0.0) -> int:
        """Let time pass, and do a turn."""
        self.now += later_s
        return self.runs.step(claim=True)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(module, "transact", made.transact)
    monkeypatch.setattr(module, "ReplayWork", lambda session, _lease, _now_ms: session)
    monkeypatch.setattr(module, "ReplayRun", made.run)
    deps = SimpleNamespace(clock=lambda: made.now, sessions=None, lease=None, lease_now_ms=lambda _session: 0)
    made.runs = ClaimedRuns(cast("Any", deps))
    return made


@pytest.mark.parametrize("error", [KafkaUnavailableError("no"), RegistryUnavailableError("no")], ids=repr)
def test_a_replay_whose_kafka_does_not_answer_is_let_go_and_left_alone_for_a_while(
    world: World, error: Exception
) -> None:
    world.steps[1] = [error]
    world.turn()
    world.turn()
    assert [(run.replay.id, run.closed, run.failed) for run in world.made] == [(1, True, None), (2, False, None)]
    world.turn(later_s=1.0)
    assert 1 in world.but_not[-1]
    world.turn(later_s=1.5)
    assert [run.replay.id for run in world.made] == [1, 2, 1]


def test_a_replay_that_cannot_be_made_ends_with_the_reason_and_holds_up_no_other(world: World) -> None:
    world.steps[1] = [ForeignTableError("run a resync")]
    world.turn()
    assert (world.made[0].failed, world.made[0].closed) == ("run a resync", True)
    world.left = [2]
    assert world.turn() == 1


def test_a_lease_that_was_lost_is_another_s(world: World) -> None:
    world.steps[1] = [LeaseLostError(ReplayId(1))]
    world.turn()
    assert (world.made[0].failed, world.made[0].closed) == (None, True)


def test_without_the_database_no_run_goes_on_with_a_lease_that_it_may_not_have(world: World) -> None:
    world.turn()
    world.turn()
    world.away = True
    with pytest.raises(DatabaseUnavailableError):
        world.turn(later_s=1.0)
    assert [run.closed for run in world.made] == [True, True]
    world.away = False
    world.turn(later_s=1.0)
    assert [run.replay.id for run in world.made] == [1, 2, 1]
