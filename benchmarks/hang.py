"""One target of ten hangs 15 s before it answers: what the other nine feel, beside a healthy run just before.

Deliveries are written at a rate, to ten targets in turn. parallel-consumer goes through the same, with 64 requests at
once and with as many as our worker may make. What is not delivered is what has not arrived 20 s after the last record
was written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.figures import Figure, allowed_p99_ms
from benchmarks.running import Size, arguments, main
from benchmarks.scenes import healthy_run, shared, wait_received, warm_load
from benchmarks.senders import Sender, add_no_peer, compared, peers
from benchmarks.stack import broker

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

CLIENTS = range(1, 11)
FAILING, WELL = 1, range(2, 11)
HANGS_S = 15.0
SIZES = (
    Size("rate", 500.0, 200.0, "deliveries a second"),
    Size("healthy-seconds", 30.0, 5.0, "how long everybody is well"),
    Size("seconds", 60.0, 8.0, "how long one hangs"),
)
LATE_S = 20.0
RATIO_OF = ("healthy p99", "others' p99", "others' p50", "others' max")


def scene(servers: str, sender: Sender, options: argparse.Namespace) -> list[Figure]:
    """Both runs of one sender."""
    with sender.stage(servers, CLIENTS) as (stack, _):
        healthy = healthy_run(
            stack, sender.kind, CLIENTS, rate_per_s=options.rate, seconds=options.healthy_seconds, of=WELL
        )
        load = warm_load(stack, sender.kind, CLIENTS, rate_per_s=options.rate, seconds=options.seconds)
        stack.receiver.fault(FAILING, delay_s=HANGS_S)
        load.go()
        load.wait(options.seconds + 60)
        wanted = shared(load.plan.records, CLIENTS, WELL)
        late_s = wait_received(stack, WELL, wanted, LATE_S)
        found = stack.receiver.stats(only=WELL)
    return [
        Figure(name="healthy p99", value=healthy.p99_ms, unit="ms"),
        Figure(name="others' p99", value=found.p99_ms, unit="ms", at_most=allowed_p99_ms(healthy.p99_ms)),
        Figure(name="others' p50", value=found.p50_ms, unit="ms"),
        Figure(name="others' max", value=found.max_ms, unit="ms"),
        Figure(name="others not delivered", value=wanted - found.distinct, at_most=0),
        Figure(name="after the load", value=late_s, unit="s"),
        Figure(name="out of order", value=found.out_of_order, at_most=0),
        Figure(name="duplicates", value=found.duplicates),
    ]


def measure(options: argparse.Namespace) -> tuple[Sequence[Figure], Sequence[str]]:
    """Ours, then the peers."""
    others, remarks = peers(options)
    with broker() as servers:
        return compared(others, lambda sender: scene(servers, sender, options), RATIO_OF), remarks


if __name__ == "__main__":
    chosen = arguments(__doc__, SIZES, more=add_no_peer)
    main("hang", chosen, lambda: measure(chosen))
