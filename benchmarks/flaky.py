"""Receivers that answer 500 to a share of requests, by chance, and one that is down.

Each flaky receiver gets deliveries of 500 resources at a rate. What counts is how much had arrived when publishing
ended, how long it took, and how often the receiver was quarantined, which the worker's log says. Then another receiver,
at a higher rate, answers nothing but 503: what it is asked within a second, and in a minute that begins two minutes
later.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from benchmarks.figures import Figure
from benchmarks.load import DELIVERIES
from benchmarks.running import Size, arguments, main
from benchmarks.scenes import warm_load
from benchmarks.stack import Stack, broker

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from benchmarks.stack import Role

# By percent of failures: which part has to be delivered when publishing ends.
BARS = {10: 0.97, 30: 0.85, 50: 0.55}
DEAD = 1
RESOURCES = 500
FLAKY, BROKEN = 500, 503
BAR_QUARANTINES, BAR_P99_MS = 0, 6_000.0  # of the first
BAR_AT_ONCE, BAR_PER_MINUTE = 40, 15
AT_ONCE_S, LATER_S = 1.0, 120.0
SIZES = (
    Size("rate", 100.0, 100.0, "deliveries a second to each flaky receiver"),
    Size("seconds", 30.0, 10.0, "how long each gets them"),
    Size("dead-rate", 500.0, 200.0, "deliveries a second to the dead one"),
    Size("dead-seconds", 180.0, 10.0, "how long it is watched; its minute is counted from two minutes on"),
)


def quarantines(log: str, client: int) -> int:
    """How often the log of a worker says that it has quarantined a client's endpoint."""
    told = [json.loads(line) for line in log.splitlines() if "its endpoint is quarantined" in line]
    return sum(line["client"] == str(client) for line in told)


def flaky(stack: Stack, worker: Role, percent: int, options: argparse.Namespace) -> list[Figure]:
    """One flaky receiver: the client whose number is its share of failures."""
    load = warm_load(
        stack, DELIVERIES, (percent,), rate_per_s=options.rate, seconds=options.seconds, resources=RESOURCES
    )
    stack.receiver.fault(percent, status=FLAKY, percent=percent)
    load.go()
    load.wait(options.seconds + 60)
    found = stack.receiver.stats(only=(percent,))
    first = percent == min(BARS)
    return [
        Figure(name=f"{percent} %: delivered", value=found.distinct / load.plan.records, at_least=BARS[percent]),
        Figure(name=f"{percent} %: p99", value=found.p99_ms, unit="ms", at_most=BAR_P99_MS if first else None),
        Figure(
            name=f"{percent} %: quarantines",
            value=quarantines(worker.process.log_text(), percent),
            at_most=BAR_QUARANTINES if first else None,
        ),
        Figure(name=f"{percent} %: out of order", value=found.out_of_order, at_most=0),
    ]


def dead(stack: Stack, worker: Role, options: argparse.Namespace) -> list[Figure]:
    """One that is down from one moment to the next."""
    load = warm_load(
        stack,
        DELIVERIES,
        (DEAD,),
        rate_per_s=options.dead_rate,
        seconds=min(30.0, options.dead_seconds),
        resources=RESOURCES,
    )
    stack.receiver.fault(DEAD, status=BROKEN)
    load.go()
    began = time.time()
    load.wait(options.dead_seconds + 60)
    time.sleep(max(0.0, began + options.dead_seconds - time.time()))
    refused = stack.receiver.refusals(DEAD)
    found = [
        Figure(
            name="dead: requests within a second of the first",
            value=sum(at <= refused[0] + AT_ONCE_S for at in refused),
            at_most=BAR_AT_ONCE,
        ),
        Figure(name="dead: quarantines", value=quarantines(worker.process.log_text(), DEAD), at_least=1, at_most=1),
    ]
    if options.dead_seconds > LATER_S:
        later = sum(refused[0] + LATER_S <= at < refused[0] + options.dead_seconds for at in refused)
        per_minute = later / (options.dead_seconds - LATER_S) * 60
        found.append(
            Figure(name="dead: requests after two minutes", value=per_minute, unit="/min", at_most=BAR_PER_MINUTE)
        )
    return found


def measure(options: argparse.Namespace) -> tuple[Sequence[Figure], Sequence[str]]:
    """The flaky ones after each other, then the dead one."""
    with broker() as servers, Stack(servers) as stack:
        stack.publish_hooks((DEAD, *BARS))
        worker = stack.role("deliver").wait_ready()
        figures: list[Figure] = []
        for percent in BARS:
            figures += flaky(stack, worker, percent, options)
            stack.receiver.heal(percent)
        return [*figures, *dead(stack, worker, options)], []


if __name__ == "__main__":
    chosen = arguments(__doc__, SIZES)
    main("flaky", chosen, lambda: measure(chosen))
