"""One target of ten answers 503 for a minute, then is well: what the others feel, and how soon it has its backlog.

Deliveries are written at a rate, to ten targets in turn. The dead target's requests are counted from 5 s after it fell
ill: by then it is quarantined. parallel-consumer goes through the same, with 64 requests at once and with as many as
our worker may make.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.figures import Figure, allowed_p99_ms
from benchmarks.running import Size, arguments, main
from benchmarks.scenes import healthy_run, shared, wait_received, warm_load
from benchmarks.senders import OURS, Sender, add_no_peer, compared, peers
from benchmarks.stack import broker

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from benchmarks.stack import Stack

CLIENTS = range(1, 11)
FAILING, WELL = 1, range(2, 11)
BROKEN = 503
QUARANTINED_AFTER_S = 5.0
LOOK_AT_LAG_EVERY_S = 2.0
WINDOW = 10_000
RATIO_OF = ("healthy p99", "others' p99", "others' max", "backlog after healing", "requests to the dead target")
SIZES = (
    Size("rate", 500.0, 200.0, "deliveries a second"),
    Size("healthy-seconds", 30.0, 5.0, "how long everybody is well"),
    Size("seconds", 60.0, 15.0, "how long one is down"),
)


def largest_lag(stack: Stack, until_s: float) -> int:
    """Look at the committed lag until a moment of the monotonic clock; the largest that was seen."""
    largest = 0
    while time.monotonic() < until_s:
        largest = max(largest, stack.committed_lag())
        time.sleep(LOOK_AT_LAG_EVERY_S)
    return largest


def scene(servers: str, sender: Sender, options: argparse.Namespace) -> list[Figure]:
    """Health, outage and recovery of one sender."""
    ours = sender is OURS
    with sender.stage(servers, CLIENTS) as (stack, _):
        healthy = healthy_run(
            stack, sender.kind, CLIENTS, rate_per_s=options.rate, seconds=options.healthy_seconds, of=WELL
        )
        load = warm_load(stack, sender.kind, CLIENTS, rate_per_s=options.rate, seconds=options.seconds)
        stack.receiver.fault(FAILING, status=BROKEN)
        failing_since = time.time()
        load.go()
        lag = largest_lag(stack, time.monotonic() + options.seconds) if ours else 0
        load.wait(options.seconds + 60)
        wanted, owed = (shared(load.plan.records, CLIENTS, of) for of in (WELL, (FAILING,)))
        wait_received(stack, WELL, wanted, 5.0)
        others = stack.receiver.stats(only=WELL)
        ill_s = time.time() - failing_since
        stack.receiver.heal(FAILING)
        back_s = wait_received(stack, (FAILING,), owed, 120.0)
        backlog, everybody = stack.receiver.stats(only=(FAILING,)), stack.receiver.stats()
        knocks = sum(at > failing_since + QUARANTINED_AFTER_S for at in stack.receiver.refusals(FAILING))
    found = [
        Figure(name="healthy p99", value=healthy.p99_ms, unit="ms"),
        Figure(name="others' p99", value=others.p99_ms, unit="ms", at_most=allowed_p99_ms(healthy.p99_ms)),
        Figure(name="others' max", value=others.max_ms, unit="ms"),
        Figure(name="others not delivered", value=wanted - others.distinct, at_most=0),
        Figure(name="backlog", value=owed),
        Figure(name="backlog not delivered", value=owed - backlog.distinct, at_most=0),
        Figure(name="backlog after healing", value=back_s, unit="s", at_most=10),
        Figure(name="out of order", value=everybody.out_of_order, at_most=0),
        Figure(name="duplicates", value=everybody.duplicates),
        Figure(
            name="requests to the dead target",
            value=knocks / (ill_s - QUARANTINED_AFTER_S) * 60,
            unit="/min",
            at_most=15,
        ),
    ]
    return [*found, Figure(name="committed lag", value=lag, unit="records", at_most=WINDOW)] if ours else found


def measure(options: argparse.Namespace) -> tuple[Sequence[Figure], Sequence[str]]:
    """Ours, then the peers."""
    others, remarks = peers(options)
    with broker() as servers:
        return compared(others, lambda sender: scene(servers, sender, options), RATIO_OF), remarks


if __name__ == "__main__":
    chosen = arguments(__doc__, SIZES, more=add_no_peer)
    main("outage", chosen, lambda: measure(chosen))
