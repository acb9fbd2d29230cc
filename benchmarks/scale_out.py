"""Several routers and workers on three brokers under load: members join, leave and are killed -9, and a broker dies.

Events are written at a rate, to twelve targets in turn, one of which is down for most of the time. Meanwhile a router
and two workers join, a worker, a router and the broker that coordinates the workers are killed, others take their
places, and one of each leaves in order. Nothing may be lost or arrive out of order. The longest wait is what the
healthy targets felt: a killed member is noticed when its session ends, six seconds here.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.figures import Figure
from benchmarks.load import EVENTS
from benchmarks.running import Size, arguments, main
from benchmarks.scenes import wait_received
from benchmarks.stack import READY_WITHIN_S, Stack, until
from tests.support import machine
from tests.support.kafka_broker import admin
from tests.support.kafka_cluster import KafkaCluster
from tests.support.machine import Part

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from benchmarks.stack import Received

CLIENTS = range(1, 13)
FAILING, WELL = 1, range(2, 13)
BROKEN = 503
STEPS = 6
SIZES = (
    Size("rate", 1000.0, 200.0, "events a second"),
    Size("seconds", 120.0, 36.0, "how long events are written"),
)
_DELIVERED_WITHIN_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What the receiver had in the end. `written` events, of which each makes one delivery."""

    written: int
    everybody: Received
    well: Received
    under_load: bool
    backlog_s: float

    @property
    def lost(self) -> int:
        """Events that no target has received."""
        return self.written - self.everybody.distinct


def play(cluster: KafkaCluster, stack: Stack, *, rate: float, seconds: float) -> Scene:
    """Write, and hurt whoever works, one thing after the other while events are written."""
    pause_s = seconds / (STEPS + 2)
    stack.publish_hooks(CLIENTS)
    routers, workers = [stack.role("router").wait_ready()], [stack.role("deliver").wait_ready()]
    load = stack.start_load(EVENTS, CLIENTS, int(rate * seconds), rate_per_s=rate)
    load.process.wait_until(lambda: "warm" in load.process.log_text(), READY_WITHIN_S, what="warm")
    until(lambda: stack.receiver.count().distinct >= len(CLIENTS), READY_WITHIN_S, what="the warm-up delivered")
    stack.receiver.fault(FAILING, status=BROKEN)
    load.go()

    time.sleep(pause_s)
    joining = [stack.role("router"), stack.role("deliver"), stack.role("deliver")]
    routers += [role.wait_ready() for role in joining[:1]]
    workers += [role.wait_ready() for role in joining[1:]]
    time.sleep(pause_s)
    workers[0].process.kill()
    time.sleep(pause_s)
    routers[0].process.kill()
    time.sleep(pause_s)
    cluster.kill(coordinator(stack))
    joining = [stack.role("router"), stack.role("deliver")]
    time.sleep(pause_s)
    for role in joining:
        role.wait_ready()
    stack.receiver.heal(FAILING)
    time.sleep(pause_s)
    stack.stop(routers[1], workers[1])
    under_load = load.process.running

    load.wait(seconds + 60)
    written = load.plan.records + len(CLIENTS)
    backlog_s = wait_received(stack, CLIENTS, written, _DELIVERED_WITHIN_S)
    return Scene(
        written=written,
        everybody=stack.receiver.stats(),
        well=stack.receiver.stats(only=WELL),
        under_load=under_load,
        backlog_s=backlog_s,
    )


def coordinator(stack: Stack) -> int:
    """The node that coordinates the workers' group."""
    group = stack.topics.deliver_group
    client = admin(stack.bootstrap_servers)  # has to live until the answer is there
    node: int = client.describe_consumer_groups([group])[group].result(20).coordinator.id
    return node


@contextmanager
def cluster() -> Iterator[KafkaCluster]:
    """Three brokers of our own (Java 17, Maven)."""
    source = machine.choose(machine.own(machine.ORDER[Part.KAFKA]), lambda each: machine.available(Part.KAFKA, each))
    if source is None:
        raise SystemExit(machine.missing(Part.KAFKA))
    with tempfile.TemporaryDirectory(prefix="hookstream-bench-") as directory, ExitStack() as stack:
        own = KafkaCluster(source, Path(directory))
        stack.callback(own.close)
        own.start()
        yield own


def measure(options: argparse.Namespace) -> tuple[Sequence[Figure], Sequence[str]]:
    """Play it once."""
    with cluster() as brokers, Stack(brokers.bootstrap_servers) as stack:
        scene = play(brokers, stack, rate=options.rate, seconds=options.seconds)
    remarks = [] if scene.under_load else ["the load ended before the last member had left"]
    return [
        Figure(name="lost", value=scene.lost, at_most=0),
        Figure(name="out of order", value=scene.everybody.out_of_order, at_most=0),
        Figure(name="duplicates", value=scene.everybody.duplicates),
        Figure(name="the healthy: p50", value=scene.well.p50_ms, unit="ms"),
        Figure(name="p99", value=scene.well.p99_ms, unit="ms"),
        Figure(name="longest wait", value=scene.well.max_ms, unit="ms"),
        Figure(name="everything delivered after the last event", value=scene.backlog_s, unit="s"),
    ], remarks


if __name__ == "__main__":
    chosen = arguments(__doc__, SIZES)
    main("scale-out", chosen, lambda: measure(chosen))
