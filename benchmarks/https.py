"""HTTPS targets against plain ones: the worker alone empties the same backlog both ways, round by round, keep-alive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.figures import Figure, median_of
from benchmarks.load import DELIVERIES
from benchmarks.running import Size, arguments, main
from benchmarks.scenes import Emptied, empty
from benchmarks.stack import Stack, broker

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

TARGETS = range(1, 11)
BAR_RATIO = 0.7
SIZES = (
    Size("records", 50_000, 5_000, "deliveries a round"),
    Size("rounds", 3, 1, "rounds; the median counts"),
)


def one_round(servers: str, records: int, *, tls: bool) -> Emptied:
    """Deliver everything once."""
    with Stack(servers, tls=tls) as stack:
        stack.publish_hooks(TARGETS)
        stack.fill(DELIVERIES, TARGETS, records)
        return empty(stack, records, lambda: [stack.role("deliver").process])


def measure(options: argparse.Namespace) -> tuple[Sequence[Figure], Sequence[str]]:
    """All rounds, plain and TLS in turn."""
    plain: list[Emptied] = []
    secure: list[Emptied] = []
    with broker() as servers:
        for _ in range(options.rounds):
            plain.append(one_round(servers, options.records, tls=False))
            secure.append(one_round(servers, options.records, tls=True))
    ratios = [theirs.counted.rate / ours.counted.rate for ours, theirs in zip(plain, secure, strict=True)]
    return [
        Figure(name="ratio", value=median_of(ratios, float), unit="x", at_least=BAR_RATIO),
        Figure(name="HTTPS", value=median_of(secure, lambda each: each.counted.rate), unit="/s"),
        Figure(name="plain", value=median_of(plain, lambda each: each.counted.rate), unit="/s"),
        Figure(name="HTTPS CPU", value=median_of(secure, lambda each: each.cpu_us), unit="µs/delivery"),
        Figure(name="plain CPU", value=median_of(plain, lambda each: each.cpu_us), unit="µs/delivery"),
    ], []


if __name__ == "__main__":
    chosen = arguments(__doc__, SIZES)
    main("https", chosen, lambda: measure(chosen))
