"""The delivery worker alone, beside Confluent's parallel-consumer: `python -m benchmarks.worker [--quick]`.

The records are in the log before the clock starts: 12 partitions, 10 targets with 500 resources each, all healthy,
attempt records on. The worker is a process of its own, so is the receiver, and both share the machine with the broker.
Seconds are counted from the first receipt to the last; CPU is the worker's own, from the first receipt on; memory is
its peak. The peer does the same with the same number of records, round by round. Both builds are measured in turn where
there is a compiled one, and each is compared with the peer and has bars of its own. `--profile FILE` writes a cProfile
of the worker's main thread (it slows it down by half) in a single round without the peer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import parallel_consumer
from benchmarks.builds import PURE, compiled, remarks
from benchmarks.figures import Figure, median_of
from benchmarks.load import BODIES, DELIVERIES
from benchmarks.running import Size, arguments, main
from benchmarks.scenes import Emptied, empty
from benchmarks.stack import Stack, broker

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from benchmarks.builds import Build

TARGETS = range(1, 11)
BUFFER = 50_000
BAR_RATIO = 1.5
BAR_CPU_US = 50.0
BAR_MIB = 150.0
COMPILED_BAR_RATIO = 2.3
COMPILED_BAR_CPU_US = 25.0
COMPILED_BAR_MIB = 130.0
SIZES = (
    Size("records", 100_000, 10_000, "deliveries a round"),
    Size("rounds", 3, 1, "rounds; the median counts"),
)


def own_round(
    servers: str,
    records: int,
    build: Build,
    profile: str | None = None,
    *,
    targets: Sequence[int] = TARGETS,
    answer_s: float = 0.0,
) -> Emptied:
    """Let hookstream's worker of a build deliver everything once; all targets take `answer_s` for an answer."""
    with Stack(servers, environment=build.environment) as stack:
        stack.publish_hooks(targets)
        stack.fill(DELIVERIES, targets, records)
        _take(stack, answer_s)
        found = empty(stack, records, lambda: [stack.role("deliver", profile=profile).process])
        stack.processes.started[-1].terminate(60.0)
        return found


def peer_round(
    servers: str,
    records: int,
    buffer: int,
    *,
    targets: Sequence[int] = TARGETS,
    answer_s: float = 0.0,
    at_once: int = parallel_consumer.AT_ONCE,
) -> Emptied:
    """Let parallel-consumer deliver the same once, with so many requests at once."""
    with Stack(servers) as stack:
        stack.make_bodies_topic()
        stack.fill(BODIES, targets, records)
        _take(stack, answer_s)
        return empty(stack, records, lambda: [parallel_consumer.start(stack, buffer=buffer, at_once=at_once)])


def _take(stack: Stack, answer_s: float) -> None:
    """Let every target take so long for an answer."""
    if answer_s:
        stack.receiver.fault("*", delay_s=answer_s)


def measure(options: argparse.Namespace) -> tuple[Sequence[Figure], Sequence[str]]:
    """All rounds, ours and theirs in turn."""
    reason = "parallel-consumer left out" if options.no_peer or options.profile else parallel_consumer.missing()
    rounds = 1 if options.profile else options.rounds
    own: list[Emptied] = []
    compiled_own: list[Emptied] = []
    other = None if options.profile else compiled()
    plain: list[Emptied] = []
    buffered: list[Emptied] = []
    with broker() as servers:
        for _ in range(rounds):
            own.append(own_round(servers, options.records, PURE, options.profile))
            if other is not None:
                compiled_own.append(own_round(servers, options.records, other))
            if reason is None:
                plain.append(peer_round(servers, options.records, 0))
                buffered.append(peer_round(servers, options.records, BUFFER))
    rate = median_of(own, lambda each: each.counted.rate)
    figures = [
        Figure(name="rate", value=rate, unit="/s"),
        Figure(name="CPU", value=median_of(own, lambda each: each.cpu_us), unit="µs/delivery", at_most=BAR_CPU_US),
        Figure(name="memory", value=median_of(own, lambda each: each.mib), unit="MiB", at_most=BAR_MIB),
        Figure(name="duplicates", value=sum(each.counted.duplicates for each in [*own, *compiled_own])),
        Figure(name="out of order", value=sum(each.counted.out_of_order for each in [*own, *compiled_own]), at_most=0),
    ]
    if compiled_own:
        figures += [
            Figure(name="compiled rate", value=median_of(compiled_own, lambda each: each.counted.rate), unit="/s"),
            Figure(
                name="compiled CPU",
                value=median_of(compiled_own, lambda each: each.cpu_us),
                unit="µs/delivery",
                at_most=COMPILED_BAR_CPU_US,
            ),
            Figure(
                name="compiled memory",
                value=median_of(compiled_own, lambda each: each.mib),
                unit="MiB",
                at_most=COMPILED_BAR_MIB,
            ),
        ]
    if reason is not None:
        return figures, [reason, *remarks()]
    if compiled_own:
        ratio = median_of(list(zip(compiled_own, plain, strict=True)), ratio_of)
        figures.append(Figure(name="compiled ratio", value=ratio, unit="x", at_least=COMPILED_BAR_RATIO))
    figures[1:1] = [
        Figure(
            name="ratio", value=median_of(list(zip(own, plain, strict=True)), ratio_of), unit="x", at_least=BAR_RATIO
        )
    ]
    for name, theirs in ((parallel_consumer.NAME, plain), (f"{parallel_consumer.NAME} buffer {BUFFER}", buffered)):
        figures += peer_figures(name, theirs)
    return figures, remarks()


def peer_figures(name: str, rounds: Sequence[Emptied]) -> list[Figure]:
    """What a peer did, under its name; bars are ours alone."""
    return [
        Figure(name=f"{name} rate", value=median_of(rounds, lambda each: each.counted.rate), unit="/s"),
        Figure(name=f"{name} CPU", value=median_of(rounds, lambda each: each.cpu_us), unit="µs/delivery"),
        Figure(name=f"{name} memory", value=median_of(rounds, lambda each: each.mib), unit="MiB"),
        Figure(name=f"{name} duplicates", value=sum(each.counted.duplicates for each in rounds)),
        Figure(name=f"{name} out of order", value=sum(each.counted.out_of_order for each in rounds)),
    ]


def ratio_of(pair: tuple[Emptied, Emptied]) -> float:
    """How many times the second one's rate the first one's is."""
    return pair[0].counted.rate / pair[1].counted.rate


def _more(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-peer", action="store_true", help="leave parallel-consumer out")
    parser.add_argument("--profile", help="a file for a cProfile of the worker's main thread")


if __name__ == "__main__":
    chosen = arguments(__doc__, SIZES, more=_more)
    main("worker", chosen, lambda: measure(chosen))
