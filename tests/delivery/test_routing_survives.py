"""Promise: nothing is lost between `events.*` and `deliveries`, and first deliveries stay in order, whatever dies."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hookstream.schemas.topics import TopicNames
from tests.support import router_process
from tests.support.kafka_broker import HurtableKafka, Kafka, let_sessions_last
from tests.support.processes import Process, Processes, http_status
from tests.support.routing import RoutingWorld, turn
from tests.support.wait import WITHIN_S, eventually

CLIENTS, CONCEPTS = 6, 7
SCRIPT = Path(router_process.__file__)
OK = 200


@pytest.fixture
def world(kafka: Kafka, topics: TopicNames) -> RoutingWorld:
    return filled(kafka.bootstrap_servers, topics)


def filled(bootstrap_servers: str, topics: TopicNames) -> RoutingWorld:
    world = RoutingWorld(bootstrap_servers, topics, partitions=6)
    world.put_hooks(*(world.hook(client) for client in range(1, CLIENTS + 1)))
    return world


@contextmanager
def under_load(world: RoutingWorld) -> Iterator[Callable[[], int]]:
    """Produce at some 500 a second in the background; gives the number sent so far. Acknowledged at the end."""
    ended = threading.Event()

    def produce() -> None:
        while not ended.wait(0.01):
            for _ in range(5):
                number = len(world.sent)
                world.put_event(1 + number % CLIENTS, number // CLIENTS % CONCEPTS)
            world.producer.poll(0)

    thread = threading.Thread(target=produce)
    thread.start()
    try:
        yield lambda: len(world.sent)
    finally:
        ended.set()
        thread.join()
    world.flush()


def start(world: RoutingWorld, processes: Processes, **kafka_options: int) -> Process:
    """A router process; underscores in the names of Kafka options are dots."""
    options = {name.replace("_", "."): value for name, value in kafka_options.items()}
    environment = {**world.environment(), "HOOKSTREAM_KAFKA_OPTIONS": json.dumps(options)}
    return processes.python("-m", "tests.support.router_process", env=environment, name="router")


def progress(world: RoutingWorld) -> int:
    """Events that the routers have committed."""
    return sum(max(0, offset) for offset, _ in world.committed())


def port_of(process: Process) -> int:
    def announced() -> int:
        lines = [line for line in process.log_text().splitlines() if line.startswith("port ")]
        return int(lines[0].removeprefix("port ")) if lines else 0

    return eventually(announced)


def test_kill_of_the_router(world: RoutingWorld, processes: Processes) -> None:
    """A kill -9 of a router under load loses nothing; what it repeats carries the same delivery ids, in order.

    Its producer lingers, so that it always dies with records that were read and not acknowledged.
    """
    with under_load(world):
        for _ in range(3):
            router = start(world, processes, linger_ms=400)
            reached = progress(world) + 500
            eventually(lambda reached=reached: progress(world) >= reached, every_s=0.1)  # type: ignore[misc]
            router.kill()
    start(world, processes)
    world.check_promises(world.wait_all_arrived())


def test_restart_of_the_router(world: RoutingWorld, processes: Processes) -> None:
    """SIGTERM under load ends a router with exit code 0 and without a single duplicate."""
    let_sessions_last(world.kafka.bootstrap_servers, world.topics.router_group)
    with under_load(world):
        for _ in range(2):
            router = start(world, processes)
            reached = progress(world) + 500
            eventually(lambda reached=reached: progress(world) >= reached, every_s=0.1)  # type: ignore[misc]
            assert router.terminate() == 0
    start(world, processes)
    assert world.check_promises(world.wait_all_arrived()) == 0


def test_rebalance_of_two_routers(world: RoutingWorld, processes: Processes) -> None:
    """Routers that join and leave under load lose nothing, keep the order, and repeat nothing."""
    let_sessions_last(world.kafka.bootstrap_servers, world.topics.router_group)
    with under_load(world):
        first = start(world, processes)
        eventually(lambda: progress(world) >= 300, every_s=0.1)
        second = start(world, processes)
        eventually(lambda: http_status(f"http://127.0.0.1:{port_of(second)}/readyz") == OK)
        reached = progress(world) + 500
        eventually(lambda: progress(world) >= reached, every_s=0.1)
        assert first.terminate() == 0
        reached = progress(world) + 500
        eventually(lambda: progress(world) >= reached, every_s=0.1)
        assert second.terminate() == 0
    start(world, processes)
    assert world.check_promises(world.wait_all_arrived()) == 0


def test_kill_of_one_of_two_routers(world: RoutingWorld, processes: Processes) -> None:
    """The partitions of a killed router are taken over by the other, from where they were committed."""
    with under_load(world):
        first = start(world, processes)
        eventually(lambda: progress(world) >= 300, every_s=0.1)
        second = start(world, processes)
        eventually(lambda: http_status(f"http://127.0.0.1:{port_of(second)}/readyz") == OK)
        first.kill()
        reached = progress(world) + 1000
        eventually(lambda: progress(world) >= reached, every_s=0.1)
    world.check_promises(world.wait_all_arrived())


def test_a_suspended_router_that_wakes_up(world: RoutingWorld, processes: Processes) -> None:
    """A router that was frozen until its partitions were given away does no harm when it wakes."""
    with under_load(world):
        first = start(world, processes)
        eventually(lambda: progress(world) >= 300, every_s=0.1)
        first.pause()
        start(world, processes)
        reached = progress(world) + 500
        eventually(lambda: progress(world) >= reached, every_s=0.1)
        first.resume()
        reached = progress(world) + 500
        eventually(lambda: progress(world) >= reached, every_s=0.1)
    world.check_promises(world.wait_all_arrived())


def test_the_broker_freezes(
    private_kafka: Callable[..., HurtableKafka], topics: TopicNames, processes: Processes
) -> None:
    """A broker that freezes for longer than the session and the requests' time-outs delays deliveries, and loses none.

    The time-outs are lowered to three seconds, so that ten cross what two minutes cross by default.
    """
    broker = private_kafka()
    world = filled(broker.bootstrap_servers, topics)
    start(world, processes, socket_timeout_ms=3000, request_timeout_ms=3000)
    with under_load(world):
        eventually(lambda: progress(world) >= 300, every_s=0.1)
        broker.pause()
        frozen = threading.Event()
        assert not frozen.wait(10.0)  # there is no condition to wait for: nothing answers
        broker.resume()
        reached = progress(world) + 500
        eventually(lambda: progress(world) >= reached, every_s=0.1)
    world.check_promises(world.wait_all_arrived())


def test_the_broker_is_killed(
    private_kafka: Callable[..., HurtableKafka], topics: TopicNames, processes: Processes
) -> None:
    """A broker that is killed and started on its data delays deliveries, and loses none."""
    broker = private_kafka()
    world = filled(broker.bootstrap_servers, topics)
    router = start(world, processes)
    with under_load(world):
        eventually(lambda: progress(world) >= 300, every_s=0.1)
        broker.kill()
        broker.start()
        reached = progress(world) + 500
        eventually(lambda: progress(world) >= reached, every_s=0.1)
    world.check_promises(world.wait_all_arrived())
    assert router.running


def test_the_router_starts_before_everything_else(world: RoutingWorld, processes: Processes) -> None:
    """A router whose broker is down waits, alive and not ready, and says so; it does not crash-loop."""
    environment = {**world.environment(), "HOOKSTREAM_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    router = processes.python("-m", "tests.support.router_process", env=environment, name="router")
    port = port_of(router)
    eventually(lambda: "kafka" in router.log_text() and "waiting" in router.log_text())
    for path, status in (("healthz", OK), ("readyz", 503), ("metrics", OK)):
        assert http_status(f"http://127.0.0.1:{port}/{path}", timeout_s=WITHIN_S) == status
    assert router.running
    assert router.terminate() == 0


def test_a_new_hook_becomes_effective(world: RoutingWorld) -> None:
    """Once a hook is effective, every event that is produced from then on is delivered."""
    newcomer = CLIENTS + 1
    router = world.router()
    try:
        router.open()
        turn(router, lambda: router.ready)
        world.put_hooks(world.hook(newcomer))
        turn(router, lambda: all(note.get("o") == CLIENTS + 1 for _, note in world.committed()))
        world.put_event(newcomer, 1)
        world.flush()
        turn(router, lambda: router.metrics.router.routed["routed"] == 1 and not router.outstanding)
    finally:
        router.close()
    assert len(world.wait_all_arrived()) == 1
