"""Replays on the routing world: a database, replayers that are stepped by the test, and what they wrote."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from hookstream.processors.lifecycle import Health, StopSignal
from hookstream.processors.operations.replays.replayer import Replayer, ReplayerConfig
from hookstream.subscriptions.choices import ReplayOnly, ReplaySource
from hookstream.subscriptions.database import open_database, open_sessions, transact
from hookstream.subscriptions.migrations import migrate
from hookstream.subscriptions.replays import (
    NewReplay,
    ReplayFilter,
    ReplayId,
    ReplayRepository,
    ReplayState,
    StoredReplay,
)
from tests.support.wait import WITHIN_S, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.support.routing import Arrived, RoutingWorld

T = TypeVar("T")

NOT_AT_WORK = frozenset(ReplayState) - {ReplayState.COUNTING, ReplayState.RUNNING}


def now_ms() -> int:
    """Wall time."""
    return time.time_ns() // 1_000_000


@dataclass
class ReplayStage:
    """A deployment without workers: events are routed, replays are written, and nothing is delivered."""

    world: RoutingWorld
    database_url: str
    began_ms: int = field(default_factory=now_ms)

    def __post_init__(self) -> None:
        migrate(self.database_url)
        self.engine = open_database(self.database_url)
        self.sessions = open_sessions(self.engine)
        self.replayers: list[Replayer] = []

    def close(self) -> None:
        """End every replayer."""
        for replayer in self.replayers:
            replayer.close()
        self.engine.dispose()

    def route(self) -> None:
        """Route everything that was produced, commit, and end the router."""
        router = self.world.router()
        router.open()
        try:
            wanted = len(self.world.sent)

            def committed() -> bool:
                router.run_once(0.05)
                return sum(max(0, offset) for offset, _ in self.world.committed()) == wanted

            eventually(committed, WITHIN_S, describe="everything is routed")
        finally:
            router.close()

    def replayer(self, *, lease_s: float = 10.0, ahead_ms: int = 0) -> Replayer:
        """One that is open, and works when it is stepped; its own clock is that much ahead."""
        config = ReplayerConfig(
            kafka=self.world.kafka, topics=self.world.topics, catalogue=self.world.catalogue, lease_s=lease_s
        )
        made = Replayer(
            config,
            self.world.registry,
            self.sessions,
            stop=StopSignal(),
            health=Health(),
            now_ms=lambda: now_ms() + ahead_ms,
        )
        made.open()
        self.replayers.append(made)
        return made

    def ask(self, work: Callable[[ReplayRepository], T]) -> T:
        """A transaction."""
        return transact(self.sessions, lambda session: work(ReplayRepository(session, "test", now_ms())))

    def create(
        self,
        *,
        source: ReplaySource = ReplaySource.EVENTS,
        only: ReplayOnly = ReplayOnly.ALL,
        rate: float = 100_000.0,
        endpoint_rate: float = 100_000.0,
        wanted: Mapping[str, object] | None = None,
        own: bool = False,
    ) -> ReplayId:
        """Ask for everything since this stage began, or for what `wanted` says of it."""
        window = ReplayFilter(from_ms=self.began_ms - 60_000, to_ms=now_ms() + 60_000)
        new = NewReplay(
            wanted=replace(window, **(wanted or {})),  # type: ignore[arg-type]  # fields of ReplayFilter
            source=source,
            only=only,
            rate_per_s=rate,
            endpoint_rate_per_s=endpoint_rate,
        )
        return self.ask(lambda replays: replays.create(new, one_at_a_time=own)).id

    def get(self, replay_id: ReplayId) -> StoredReplay:
        """As it is now."""
        return self.ask(lambda replays: replays.get(replay_id, client=None))

    def work(self, replay_id: ReplayId, *replayers: Replayer) -> StoredReplay:
        """Step replayers until there is nothing to do for it."""

        def at_rest() -> StoredReplay:
            for replayer in replayers or self.replayers:
                for _ in range(20):
                    replayer.run_once(0.0)
            found = self.get(replay_id)
            assert found.state in NOT_AT_WORK, found.state
            return found

        return eventually(at_rest, WITHIN_S, every_s=0.005, describe=f"replay {replay_id} is at rest")

    def run(self, replay_id: ReplayId, *replayers: Replayer) -> StoredReplay:
        """Let it run, to its end."""
        self.ask(lambda replays: replays.run(replay_id, client=None))
        return self.work(replay_id, *replayers)

    def written(self, job: str) -> list[Arrived]:
        """What a replay wrote, each partition in its order."""
        return [found for found in self.world.replayed() if found.delivery.replay == job]
