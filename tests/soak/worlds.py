"""The simulated worlds that a soak can run: how one is run, what it tests, and where a red seed belongs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol

from hookstream import producers, subscriptions
from hookstream.processors import routing, tables
from hookstream.processors.delivery import checkpoints, engine
from hookstream.processors.operations import relays, replays
from tests.support.engine_simulation import check
from tests.support.outbox_world import OutboxWorld
from tests.support.relay_world import RelayWorld
from tests.support.replay_world import ReplayWorld
from tests.support.resync_world import ResyncWorld
from tests.support.router_world import RouterWorld
from tests.support.settings_relay_world import SettingsRelayWorld


class World(Protocol):
    """One world: the same for the same seed. `now` is in seconds."""

    now: float

    def run(self) -> None:
        """Run it; raises AssertionError where something was violated."""
        ...


@dataclass(frozen=True, slots=True)
class Kind:
    """Worlds of one kind. `run` gives how many seconds passed in it, and what was violated."""

    run: Callable[[int], tuple[float, str | None]]
    tests: tuple[ModuleType, ...]
    test_file: str

    def digest(self) -> str:
        """Name the sources that are tested, whatever else a commit changes."""
        digest = hashlib.sha256()
        for package in self.tests:
            for path in sorted(Path(package.__path__[0]).glob("*.py")):
                digest.update(path.name.encode() + b"\0" + path.read_bytes())
        return digest.hexdigest()[:12]


def _engine(seed: int) -> tuple[float, str | None]:
    world, violation = check(seed)
    return float(world.now), violation


def _of(make: Callable[[int], World]) -> Callable[[int], tuple[float, str | None]]:
    def run(seed: int) -> tuple[float, str | None]:
        world = make(seed)
        began = world.now
        try:
            world.run()
        except AssertionError as violation:
            return world.now - began, str(violation)
        except Exception as error:  # noqa: BLE001 - whatever ends a world is a violation: its seed is kept
            return world.now - began, f"seed {seed}: {error!r}"
        return world.now - began, None

    return run


KINDS = {
    "engine": Kind(_engine, (engine, checkpoints), "tests/unit/delivery/test_engine_world.py"),
    "routers": Kind(_of(RouterWorld), (routing, tables), "tests/unit/routing/test_router_world.py"),
    "relays": Kind(_of(RelayWorld), (relays, tables, subscriptions), "tests/unit/operations/test_relay_world.py"),
    "settings": Kind(
        _of(SettingsRelayWorld), (relays, tables, subscriptions), "tests/unit/operations/test_settings_relay_world.py"
    ),
    "resyncs": Kind(_of(ResyncWorld), (relays, tables, subscriptions), "tests/unit/operations/test_resync_world.py"),
    "outbox": Kind(_of(OutboxWorld), (relays, producers), "tests/unit/operations/test_outbox_world.py"),
    "replayers": Kind(_of(ReplayWorld), (replays, subscriptions), "tests/unit/operations/test_replay_world.py"),
}
