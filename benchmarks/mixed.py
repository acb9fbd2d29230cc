"""Slow, poisonous and rate-limited at once: what the others feel, beside a healthy run just before.

One target of ten answers after 5 s. One resource in a hundred is always answered 422. One more hook has a rate limit of
10/s and a large backlog behind it, which the worker first has to step over; then the load begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.figures import Figure, allowed_p99_ms
from benchmarks.load import DELIVERIES
from benchmarks.running import Size, arguments, main
from benchmarks.scenes import healthy_run, shared, wait_received, warm_load
from benchmarks.stack import Stack, broker, until

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

CLIENTS = range(1, 11)
SLOW, WELL = 1, range(2, 11)
SLOW_S = 5.0
LIMITED, LIMIT_PER_S = 11, 10.0
POISON_EVERY = 100
REJECTED = 422
RESOURCES = 500
STEPPED_OVER = 1_000
BAR_MIB = 300.0
SIZES = (
    Size("rate", 500.0, 200.0, "deliveries a second"),
    Size("healthy-seconds", 30.0, 5.0, "how long everybody is well"),
    Size("seconds", 60.0, 10.0, "how long they are not"),
    Size("backlog", 1_000_000, 20_000, "deliveries behind the rate-limited hook"),
)


def healthy_of(records: int) -> int:
    """How many of a load's records are for healthy targets and no poison."""
    turns, rest = divmod(records, len(CLIENTS))
    poisoned_turns = sum(1 for turn in range(turns) if turn % RESOURCES % POISON_EVERY == 0)
    assert not rest, "a load of whole turns"  # noqa: S101 - the sizes are ours
    return shared(records, CLIENTS, WELL) - poisoned_turns * len(WELL)


def measure(options: argparse.Namespace) -> tuple[Sequence[Figure], Sequence[str]]:
    """Health, the backlog, then everything at once."""
    with broker() as servers, Stack(servers) as stack:
        stack.publish_hooks(CLIENTS)
        stack.publish_hooks((LIMITED,), rate_limit_per_s=LIMIT_PER_S)
        worker = stack.role("deliver").wait_ready()
        healthy = healthy_run(
            stack, DELIVERIES, CLIENTS, rate_per_s=options.rate, seconds=options.healthy_seconds, of=WELL
        )
        stack.fill(DELIVERIES, (LIMITED,), options.backlog)
        began_cpu = worker.cpu_s
        until(lambda: stack.committed_lag() < STEPPED_OVER, 240.0, what="the backlog stepped over")
        stepping_cpu = worker.cpu_s - began_cpu
        load = warm_load(stack, DELIVERIES, CLIENTS, rate_per_s=options.rate, seconds=options.seconds)
        stack.receiver.fault(SLOW, delay_s=SLOW_S)
        stack.receiver.fault("*", status=REJECTED, every=POISON_EVERY)
        began_cpu = worker.cpu_s
        load.go()
        load.wait(options.seconds + 60)
        wanted = healthy_of(load.plan.records)
        wait_received(stack, WELL, wanted, 20.0)
        cpu = worker.cpu_s - began_cpu
        others, limited = stack.receiver.stats(only=WELL), stack.receiver.stats(only=(LIMITED,))
        memory, lag = worker.peak_mib, stack.committed_lag()
    return [
        Figure(name="healthy p99", value=healthy.p99_ms, unit="ms"),
        Figure(name="others' p99", value=others.p99_ms, unit="ms", at_most=allowed_p99_ms(healthy.p99_ms, slack_ms=0)),
        Figure(name="others' p50", value=others.p50_ms, unit="ms"),
        Figure(name="others' max", value=others.max_ms, unit="ms"),
        Figure(name="others not delivered", value=wanted - others.distinct, at_most=0),
        Figure(name="out of order", value=others.out_of_order, at_most=0),
        Figure(name="memory", value=memory, unit="MiB", at_most=BAR_MIB),
        Figure(name="limited hook", value=limited.rate, unit="/s"),
        Figure(name="CPU while stepping over", value=stepping_cpu, unit="s"),
        Figure(name="CPU of the worker", value=cpu / options.seconds * 100, unit="% of a core"),
        Figure(name="committed lag", value=lag, unit="records"),
    ], []


if __name__ == "__main__":
    chosen = arguments(__doc__, SIZES)
    main("mixed", chosen, lambda: measure(chosen))
