"""Half of a thousand targets are dead (503): what the living feel, beside a healthy run just before.

The worker's memory, and how often it writes its state: at most once a second per partition of deliveries.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.figures import Figure, allowed_p99_ms
from benchmarks.load import DELIVERIES
from benchmarks.running import Size, arguments, main
from benchmarks.scenes import healthy_run, shared, wait_received, warm_load
from benchmarks.stack import Stack, broker

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

BROKEN = 503
RESOURCES = 20
BAR_MIB = 300.0
SIZES = (
    Size("targets", 1_000, 100, "targets, of which every other one is dead"),
    Size("rate", 1_000.0, 200.0, "deliveries a second"),
    Size("healthy-seconds", 30.0, 5.0, "how long everybody is well"),
    Size("seconds", 60.0, 10.0, "how long half of them is dead"),
)


def measure(options: argparse.Namespace) -> tuple[Sequence[Figure], Sequence[str]]:
    """Health, then the deaths."""
    clients = range(1, options.targets + 1)
    dead, living = clients[::2], clients[1::2]
    with broker() as servers, Stack(servers) as stack:
        stack.publish_hooks(clients)
        worker = stack.role("deliver").wait_ready()
        healthy = healthy_run(
            stack, DELIVERIES, clients, rate_per_s=options.rate, seconds=options.healthy_seconds, of=living
        )
        load = warm_load(
            stack, DELIVERIES, clients, rate_per_s=options.rate, seconds=options.seconds, resources=RESOURCES
        )
        for client in dead:
            stack.receiver.fault(client, status=BROKEN)
        ends, cpu, began = stack.state_ends(), worker.cpu_s, time.monotonic()
        load.go()
        load.wait(options.seconds + 60)
        seconds, cpu = time.monotonic() - began, worker.cpu_s - cpu
        states = stack.states_written(ends)
        wanted = shared(load.plan.records, clients, living)
        wait_received(stack, living, wanted, 20.0)
        others, everybody = stack.receiver.stats(only=living), stack.receiver.stats()
        memory, lag = worker.peak_mib, stack.committed_lag()
    return [
        Figure(name="healthy p99", value=healthy.p99_ms, unit="ms"),
        Figure(name="the living's p99", value=others.p99_ms, unit="ms", at_most=allowed_p99_ms(healthy.p99_ms)),
        Figure(name="the living's max", value=others.max_ms, unit="ms"),
        Figure(name="not delivered to the living", value=wanted - others.distinct, at_most=0),
        Figure(name="out of order", value=others.out_of_order, at_most=0),
        Figure(name="memory", value=memory, unit="MiB", at_most=BAR_MIB),
        Figure(
            name="states of the busiest partition",
            value=max(0, max(states.values(), default=0) - 1) / seconds,  # so many pauses lie between
            unit="/s",
            at_most=1,
        ),
        Figure(name="requests to the dead", value=everybody.refused / len(dead), unit="each"),
        Figure(name="CPU of the worker", value=cpu / seconds * 100, unit="% of a core"),
        Figure(name="committed lag", value=lag, unit="records"),
    ], []


if __name__ == "__main__":
    chosen = arguments(__doc__, SIZES)
    main("dead", chosen, lambda: measure(chosen))
