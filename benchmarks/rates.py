"""End to end at rates: producer → router → worker → receiver, with the broker, on one machine.

Latency is from the event's own time, which has whole milliseconds and is cut, not rounded: half a millisecond of what
is shown is that. CPU is that of hookstream's processes (router and worker) per delivery; that of the broker is for
writing and reading an event, its delivery and its attempt. Everybody is warm before. Both builds are measured, one
after the other, where there is a compiled one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.builds import builds, remarks
from benchmarks.figures import Figure
from benchmarks.load import EVENTS
from benchmarks.running import Size, arguments, main
from benchmarks.scenes import settle, wait_received, warm_load
from benchmarks.stack import Stack, broker
from benchmarks.usage import cpu_seconds, listener

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from benchmarks.builds import Build
    from benchmarks.stack import Received, Role

CLIENTS = range(1, 51)
LOW_RATE, MIDDLE_RATE = 200.0, 1_000.0
# A broker just started compiles while it works; so do we, in our way.
WARM_UP_S = 10.0
BAR_SUSTAINED_PER_S = 8_000
BAR_CPU_US = 200.0
SIZES = (
    Size("seconds", 30.0, 5.0, "how long each rate is kept"),
    Size("offered", 9_000.0, 3_000.0, "events a second of the sustained load"),
)


def at_rate(stack: Stack, roles: Sequence[Role], rate_per_s: float, seconds: float) -> tuple[Received, float, float]:
    """Keep a rate: what arrived, CPU microseconds per delivery of ours, and those of the load."""
    load = warm_load(stack, EVENTS, CLIENTS, rate_per_s=rate_per_s, seconds=seconds)
    cpu = sum(role.cpu_s for role in roles)
    load.go()
    done = load.wait(seconds + 120)
    wait_received(stack, CLIENTS, load.plan.records, 60)
    settle(stack, CLIENTS, quiet_s=0.3)
    received = stack.receiver.stats()
    used = sum(role.cpu_s for role in roles) - cpu
    each = max(1, received.received)
    return received, used / each * 1e6, done["cpu_s"] / each * 1e6


def of_build(servers: str, build: Build, options: argparse.Namespace) -> list[Figure]:
    """Three rates, one after the other, with the same processes."""
    with Stack(servers, environment=build.environment) as stack:
        stack.publish_hooks(CLIENTS)
        roles = [stack.role("router"), stack.role("deliver")]
        for role in roles:
            role.wait_ready()
        at_rate(stack, roles, MIDDLE_RATE, WARM_UP_S)
        low, _, _ = at_rate(stack, roles, LOW_RATE, options.seconds)
        middle, _, _ = at_rate(stack, roles, MIDDLE_RATE, options.seconds)
        server = listener(int(servers.rpartition(":")[2]))
        broker_cpu = 0.0 if server is None else cpu_seconds(server)
        high, cpu_us, load_us = at_rate(stack, roles, options.offered, options.seconds)
        broker_us = 0.0 if server is None else (cpu_seconds(server) - broker_cpu) / max(1, high.received) * 1e6
        memory = sum(role.peak_mib for role in roles)
        wanted = int(options.seconds * LOW_RATE) + int(options.seconds * MIDDLE_RATE)
        lost = wanted + int(options.seconds * options.offered) - low.distinct - middle.distinct - high.distinct
        stack.stop(*roles)
    return [
        Figure(name="200/s p50", value=low.p50_ms, unit="ms", at_most=3),
        Figure(name="200/s p99", value=low.p99_ms, unit="ms", at_most=8),
        Figure(name="1,000/s p50", value=middle.p50_ms, unit="ms"),
        Figure(name="1,000/s p99", value=middle.p99_ms, unit="ms", at_most=30),
        Figure(name="sustained", value=high.rate, unit="/s", at_least=BAR_SUSTAINED_PER_S),
        Figure(name="sustained p50", value=high.p50_ms, unit="ms"),
        Figure(name="sustained p99", value=high.p99_ms, unit="ms"),
        Figure(name="CPU", value=cpu_us, unit="µs/delivery", at_most=BAR_CPU_US),
        Figure(name="CPU of the load", value=load_us, unit="µs/event"),
        *([Figure(name="CPU of the broker", value=broker_us, unit="µs/event")] if broker_us else []),
        Figure(name="memory of router and worker", value=memory, unit="MiB"),
        Figure(name="lost", value=lost, at_most=0),
        Figure(name="out of order", value=low.out_of_order + middle.out_of_order + high.out_of_order, at_most=0),
    ]


def measure(options: argparse.Namespace) -> tuple[Sequence[Figure], Sequence[str]]:
    """Each build with a broker of its own."""
    figures: list[Figure] = []
    for build in builds():
        with broker() as servers:
            found = of_build(servers, build, options)
        figures += [replace(figure, name=f"{build.name}: {figure.name}") for figure in found]
    return figures, remarks()


if __name__ == "__main__":
    chosen = arguments(__doc__, SIZES)
    main("rates", chosen, lambda: measure(chosen))
