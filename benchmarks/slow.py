"""A large backlog of receivers that are well and take their time: `python -m benchmarks.slow [--quick]`.

50 targets with 500 resources each, which answer after 0.3 s, and more records than the windows of all partitions hold:
no target is at fault that the windows are full. The records are in the log before the clock starts. As many
requests as the worker may make, 4,096 at once, are what Confluent's parallel-consumer may make too, for all targets
together; the worker makes at most 64 for one of them. Seconds, CPU and memory are those of `worker`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import parallel_consumer
from benchmarks.figures import Figure, median_of
from benchmarks.running import Size, arguments, main
from benchmarks.scenes import in_turn
from benchmarks.senders import AT_ONCE, BUFFER
from benchmarks.worker import own_round, peer_figures, peer_round, ratio_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

TARGETS = range(1, 51)
ANSWER_S = 0.3
BAR_RATE_PER_S = 3_000
SIZES = (
    Size("records", 200_000, 10_000, "deliveries a round"),
    Size("rounds", 1, 1, "rounds; the median counts"),
)


def measure(options: argparse.Namespace) -> tuple[Sequence[Figure], Sequence[str]]:
    """All rounds, the builds and the peer in turn."""
    rounds = in_turn(
        options.rounds,
        lambda servers, build: own_round(servers, options.records, build, targets=TARGETS, answer_s=ANSWER_S),
        lambda servers: peer_round(
            servers, options.records, BUFFER, targets=TARGETS, answer_s=ANSWER_S, at_once=AT_ONCE
        ),
    )
    peers = rounds.peers
    figures: list[Figure] = []
    for name, found in rounds.own.items():
        rate = median_of(found, lambda each: each.counted.rate)
        figures += [
            Figure(name=f"{name}: rate", value=rate, unit="/s", at_least=BAR_RATE_PER_S),
            Figure(name=f"{name}: CPU", value=median_of(found, lambda each: each.cpu_us), unit="µs/delivery"),
            Figure(name=f"{name}: memory", value=median_of(found, lambda each: each.mib), unit="MiB"),
            Figure(name=f"{name}: duplicates", value=sum(each.counted.duplicates for each in found)),
            Figure(name=f"{name}: out of order", value=sum(each.counted.out_of_order for each in found), at_most=0),
        ]
        if peers:
            ratio = median_of(list(zip(found, peers, strict=True)), ratio_of)
            figures.append(Figure(name=f"{name}: ratio", value=ratio, unit="x"))
    if peers:
        figures += peer_figures(f"{parallel_consumer.NAME} {AT_ONCE} at once", peers)
    return figures, rounds.remarks


if __name__ == "__main__":
    chosen = arguments(__doc__, SIZES)
    main("slow", chosen, lambda: measure(chosen))
