"""Worlds for the promises of delivery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.delivery_process import WorkerSettings
from tests.support.delivery_world import QUICK_PROBES, DeliveryWorld
from tests.support.targets import Targets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hookstream.schemas.topics import TopicNames
    from tests.support.kafka_broker import Kafka


@pytest.fixture
def targets() -> Iterator[Targets]:
    """Listen for deliveries; everything is answered with 204 until the test says otherwise."""
    with Targets() as listening:
        yield listening


@pytest.fixture
def make_world(topics: TopicNames, targets: Targets) -> Iterator[Callable[..., DeliveryWorld]]:
    """Make worlds on a broker of the test's choice: `make_world(bootstrap_servers, partitions=4)`."""
    made: list[DeliveryWorld] = []

    def make(bootstrap_servers: str, **settings: Any) -> DeliveryWorld:  # a field of WorkerSettings
        defaults: dict[str, Any] = {"partitions": 4, "policy": QUICK_PROBES, "prefix": topics.prefix}
        world = DeliveryWorld(WorkerSettings(bootstrap_servers=bootstrap_servers, **{**defaults, **settings}), targets)
        made.append(world)
        return world

    yield make
    targets.let_go()
    for world in made:
        world.close()


@pytest.fixture
def world(kafka: Kafka, make_world: Callable[..., DeliveryWorld], request: pytest.FixtureRequest) -> DeliveryWorld:
    """Four partitions on the session's broker. Only a worker that is a process is killed: sessions of others last."""
    made = make_world(kafka.bootstrap_servers)
    if "processes" not in request.fixturenames:
        made.let_sessions_last()
    return made
