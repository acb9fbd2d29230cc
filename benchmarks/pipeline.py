"""A backlog of events through router and worker, as fast as they go: `python -m benchmarks.pipeline [--quick]`.

The events are in the log before the clock starts: 10 clients with a hook each, 500 resources each, all targets healthy,
attempt records on. Router and worker start together, and share the machine with the broker and the receiver. Seconds
are counted from the first receipt to the last; CPU is from the first receipt on, so what the router has read until then
is not in it. Both builds are measured in turn where there is a compiled one. Confluent's parallel-consumer, which
routes nothing, empties a backlog of as many records that are ready to be sent: `worker`'s scene.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import parallel_consumer
from benchmarks.figures import Figure, median_of
from benchmarks.load import EVENTS
from benchmarks.running import Size, arguments, main
from benchmarks.scenes import Emptied, empty, in_turn
from benchmarks.stack import Stack
from benchmarks.worker import TARGETS, peer_figures, peer_round, ratio_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from benchmarks.builds import Build

BAR_RATE_PER_S = 22_000
SIZES = (
    Size("records", 100_000, 10_000, "events a round"),
    Size("rounds", 3, 1, "rounds; the median counts"),
)


def one_round(servers: str, records: int, build: Build) -> Emptied:
    """Let a router and a worker of a build deliver everything once."""
    with Stack(servers, environment=build.environment) as stack:
        stack.publish_hooks(TARGETS)
        stack.fill(EVENTS, TARGETS, records)
        return empty(stack, records, lambda: [stack.role(name).process for name in ("router", "deliver")])


def measure(options: argparse.Namespace) -> tuple[Sequence[Figure], Sequence[str]]:
    """All rounds, the builds and the peer in turn."""
    rounds = in_turn(
        options.rounds,
        lambda servers, build: one_round(servers, options.records, build),
        lambda servers: peer_round(servers, options.records, 0),
    )
    peers = rounds.peers
    figures: list[Figure] = []
    for name, found in rounds.own.items():
        figures += [
            Figure(
                name=f"{name}: rate",
                value=median_of(found, lambda each: each.counted.rate),
                unit="/s",
                at_least=BAR_RATE_PER_S,
            ),
            Figure(name=f"{name}: CPU of the router", value=median_of(found, lambda each: each.each_us[0]), unit="µs"),
            Figure(name=f"{name}: CPU of the worker", value=median_of(found, lambda each: each.each_us[1]), unit="µs"),
            Figure(name=f"{name}: memory of both", value=median_of(found, lambda each: each.mib), unit="MiB"),
            Figure(name=f"{name}: duplicates", value=sum(each.counted.duplicates for each in found)),
            Figure(name=f"{name}: out of order", value=sum(each.counted.out_of_order for each in found), at_most=0),
        ]
        if peers:
            ratio = median_of(list(zip(found, peers, strict=True)), ratio_of)
            figures.append(Figure(name=f"{name}: ratio", value=ratio, unit="x"))
    if peers:
        figures += peer_figures(parallel_consumer.NAME, peers)
    return figures, rounds.remarks


if __name__ == "__main__":
    chosen = arguments(__doc__, SIZES)
    main("pipeline", chosen, lambda: measure(chosen))
