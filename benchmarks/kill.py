"""kill -9 of the worker in the middle of an outage: one target of ten answers 503, and half-way a new worker starts.

Nothing may be lost, nothing may arrive out of order, and few of the healthy targets' deliveries may arrive twice: the
median of several runs. The gap is what the healthy targets felt: the broker notices a dead worker when its session
ends. parallel-consumer goes through the same, with 64 requests at once and with as many as our worker may make, and
with a session as short as the broker's for our worker.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.figures import Figure, median_of
from benchmarks.running import Size, arguments, main
from benchmarks.scenes import wait_received, warm_load
from benchmarks.senders import Sender, add_no_peer, compared, peers
from benchmarks.stack import broker

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

CLIENTS = range(1, 11)
FAILING, WELL = 1, range(2, 11)
BROKEN = 503
BAR_DUPLICATES = 100
RATIO_OF = ("duplicates to the healthy", "duplicates in all", "gap", "all after healing")
SIZES = (
    Size("rate", 500.0, 200.0, "deliveries a second"),
    Size("seconds", 60.0, 15.0, "how long one is down; the kill is half-way"),
    Size("runs", 5, 1, "runs; the median counts"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one run ended with."""

    lost: int
    out_of_order: int
    duplicates_of_others: int
    duplicates: int
    gap_ms: float
    emptied_s: float


def one_run(servers: str, sender: Sender, options: argparse.Namespace) -> Run:
    """Let one target fall ill, kill, start again, heal, and wait for everything."""
    with sender.stage(servers, CLIENTS) as (stack, process):
        load = warm_load(stack, sender.kind, CLIENTS, rate_per_s=options.rate, seconds=options.seconds)
        stack.receiver.fault(FAILING, status=BROKEN)
        load.go()
        time.sleep(options.seconds / 2)
        process.kill()
        sender.start(stack)
        load.wait(options.seconds + 60)
        stack.receiver.heal(FAILING)
        emptied_s = wait_received(stack, CLIENTS, load.plan.records, 120.0)
        others, everybody = stack.receiver.stats(only=WELL), stack.receiver.stats()
    return Run(
        lost=load.plan.records - everybody.distinct,
        out_of_order=everybody.out_of_order,
        duplicates_of_others=others.duplicates,
        duplicates=everybody.duplicates,
        gap_ms=others.max_ms,
        emptied_s=emptied_s,
    )


def figures(runs: Sequence[Run]) -> list[Figure]:
    """What all runs of one sender come to."""
    return [
        Figure(name="lost", value=sum(run.lost for run in runs), at_most=0),
        Figure(name="out of order", value=sum(run.out_of_order for run in runs), at_most=0),
        Figure(
            name="duplicates to the healthy",
            value=median_of(runs, lambda run: run.duplicates_of_others),
            at_most=BAR_DUPLICATES,
        ),
        Figure(name="duplicates in all", value=median_of(runs, lambda run: run.duplicates)),
        Figure(name="gap", value=median_of(runs, lambda run: run.gap_ms), unit="ms"),
        Figure(name="all after healing", value=median_of(runs, lambda run: run.emptied_s), unit="s"),
    ]


def measure(options: argparse.Namespace) -> tuple[Sequence[Figure], Sequence[str]]:
    """Ours, then the peers, each as often as asked."""
    others, remarks = peers(options)
    with broker() as servers:

        def scene(sender: Sender) -> list[Figure]:
            return figures([one_run(servers, sender, options) for _ in range(options.runs)])

        return compared(others, scene, RATIO_OF), remarks


if __name__ == "__main__":
    chosen = arguments(__doc__, SIZES, more=add_no_peer)
    main("kill", chosen, lambda: measure(chosen))
