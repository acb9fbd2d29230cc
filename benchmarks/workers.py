"""One, two, three and four workers of one group on the same backlog, and what a rebalance costs.

Every round has the same number of deliveries, four targets in each of the 12 partitions, and a table with many hooks of
others. They are written when the group has given each member the same number of partitions, as fast as they can be,
which is faster than any group delivers; so no member has a start, and some seconds of one core are the load's. Measured
are deliveries a second of all workers from the first receipt to the last, CPU of all workers per delivery, and which
share each one has made. All workers, the broker and the receiver share the machine's cores: more workers do more a
second only while there are cores left, so the bar is that a delivery costs no more CPU. A first round of one worker,
after which the broker is warm, does not count. Memory is that at the end: PSS is what a process has alone and its share
of what it has with others, so RSS less PSS is what sharing saves; the table is what a worker with these hooks has more
than one without them. Confluent's parallel-consumer, a process with threads for all cores, empties a backlog of as many
records for as many targets in the same way: the ratios say what a machine delivers that is given to one or the other.
The build is the compiled one where there is one (`make compiled`). `--only workers` or `--only rebalances` runs one
half; a quick run leaves three and four workers out, and all strategies but the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import parallel_consumer, rebalances
from benchmarks.builds import PURE, compiled, remarks
from benchmarks.figures import Figure, median_of
from benchmarks.load import BODIES, DELIVERIES
from benchmarks.members import clients_by_partition, delivered, of_partitions, wait_balanced
from benchmarks.running import Size, arguments, main
from benchmarks.scenes import Emptied, wait_emptied
from benchmarks.stack import PARTITIONS, Stack, broker
from benchmarks.usage import memory_of
from benchmarks.worker import peer_figures, ratio_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from tests.support.processes import Process

WORKERS = (1, 2, 3, 4)
CLIENTS_EACH = 4
# Hooks of clients that get nothing begin here.
OTHERS_FROM = 1_000_000
BAR_GROWTH = 10.0
SIZES = (
    Size("records", 200_000, 30_000, "deliveries a round"),
    Size("hooks", 100_000, 2_000, "hooks of others in the table"),
    Size("rounds", 3, 1, "rounds of each number of workers; the median counts"),
    Size("rate", 480.0, 240.0, "deliveries a second during a rebalance"),
    Size("seconds", 12.0, 9.0, "how long they are written during a rebalance"),
)
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Round(Emptied):
    """One backlog emptied by workers.

    `spread`: the time from the first target that was done to the last one, as a percentage of the whole.
    """

    lost: int
    rss_mib: float
    pss_mib: float
    shares: Sequence[float]
    spread: float


def empty(stack: Stack, processes: Sequence[Process], kind: str, clients: Sequence[int], records: int) -> Emptied:
    """Write a backlog for processes that share the partitions already, and wait until everything has arrived."""
    stack.receiver.reset()
    return wait_emptied(stack, processes, records, fill=lambda: stack.fill(kind, clients, records))


def one_round(servers: str, workers: int, *, records: int, hooks: int) -> Round:
    """Let a group of so many empty a backlog."""
    build = compiled() or PURE
    with Stack(servers, environment=build.environment) as stack:
        by_partition = clients_by_partition(stack, CLIENTS_EACH)
        clients = of_partitions(by_partition, by_partition)
        stack.publish_hooks(range(OTHERS_FROM, OTHERS_FROM + hooks))
        stack.publish_hooks(clients)
        roles = [stack.role("deliver") for _ in range(workers)]
        wait_balanced(stack, stack.topics.deliver_group, stack.topics.deliveries, workers)
        found = empty(stack, [role.process for role in roles], DELIVERIES, clients, records)
        done = sorted(stack.receiver.ends().values())
        memory = [memory_of(role.process.pid) for role in roles]
        made = delivered(roles)
        stack.stop(*roles)
    return Round(
        counted=found.counted,
        each_us=found.each_us,
        mib=found.mib,
        lost=records - found.counted.distinct,
        rss_mib=sum(each.rss_mib for each in memory) / workers,
        pss_mib=sum(each.pss_mib for each in memory) / workers,
        shares=[100 * each / sum(made) for each in made],
        spread=100 * (done[-1] - done[0]) / found.counted.seconds,
    )


def peer_round(servers: str, records: int) -> Emptied:
    """Let parallel-consumer do the same, with its own buffer and 64 requests at once."""
    with Stack(servers) as stack:
        stack.make_bodies_topic()
        process = parallel_consumer.start(stack)
        wait_balanced(stack, parallel_consumer.group(stack), stack.bodies_topic, 1)
        return empty(stack, [process], BODIES, range(1, CLIENTS_EACH * PARTITIONS + 1), records)


def figures_of(workers: int, rounds: Sequence[Round], alone: Sequence[Round]) -> list[Figure]:
    """What a group of so many did; its cost is compared with that of one."""
    name = _named(workers)
    cpu_us = median_of(rounds, lambda each: each.cpu_us)
    figures = [
        Figure(name=f"{name}: rate", value=median_of(rounds, lambda each: each.counted.rate), unit="/s"),
        Figure(name=f"{name}: CPU", value=cpu_us, unit="µs/delivery"),
    ]
    if workers > 1:
        growth = 100 * (cpu_us / median_of(alone, lambda each: each.cpu_us) - 1)
        figures += [
            Figure(name=f"{name}: CPU above that of one", value=growth, unit="%", at_most=BAR_GROWTH),
            Figure(name=f"{name}: least share", value=median_of(rounds, lambda each: min(each.shares)), unit="%"),
            Figure(name=f"{name}: greatest share", value=median_of(rounds, lambda each: max(each.shares)), unit="%"),
        ]
    return [
        *figures,
        Figure(name=f"{name}: RSS of each", value=median_of(rounds, lambda each: each.rss_mib), unit="MiB"),
        Figure(name=f"{name}: PSS of each", value=median_of(rounds, lambda each: each.pss_mib), unit="MiB"),
        Figure(
            name=f"{name}: targets done within the last", value=median_of(rounds, lambda each: each.spread), unit="%"
        ),
        Figure(name=f"{name}: lost", value=sum(each.lost for each in rounds), at_most=0),
        Figure(name=f"{name}: duplicates", value=sum(each.counted.duplicates for each in rounds)),
        Figure(name=f"{name}: out of order", value=sum(each.counted.out_of_order for each in rounds), at_most=0),
    ]


def _named(workers: int) -> str:
    return f"{workers} worker{'s' if workers > 1 else ''}"


def emptied(servers: str, options: argparse.Namespace, *, with_peer: bool) -> list[Figure]:
    """A round that warms the broker, all others, the numbers of workers in turn, and one without other hooks."""
    numbers = WORKERS[: 2 if options.quick else None]
    peers: list[Emptied] = []
    rounds: dict[int, list[Round]] = {workers: [] for workers in numbers}
    one_round(servers, 1, records=options.records, hooks=0)
    for _ in range(options.rounds):
        for workers in numbers:
            rounds[workers].append(one_round(servers, workers, records=options.records, hooks=options.hooks))
        if with_peer:
            peers.append(peer_round(servers, options.records))
    no_table = one_round(servers, 1, records=options.records, hooks=0)
    figures = [figure for workers in numbers for figure in figures_of(workers, rounds[workers], rounds[1])]
    for workers in numbers if peers else ():
        pairs = list(zip(rounds[workers], peers, strict=True))
        figures.append(Figure(name=f"{_named(workers)}: ratio", value=median_of(pairs, ratio_of), unit="x"))
    table_mib = median_of(rounds[1], lambda each: each.pss_mib) - no_table.pss_mib
    return [
        *figures,
        *(peer_figures(parallel_consumer.NAME, peers) if peers else ()),
        Figure(name="table of each", value=table_mib, unit="MiB"),
        Figure(name="table", value=table_mib * _MIB / options.hooks, unit="bytes/hook"),
    ]


def measure(options: argparse.Namespace) -> tuple[Sequence[Figure], Sequence[str]]:
    """Backlogs first, then rebalances of every strategy."""
    figures: list[Figure] = []
    reason = parallel_consumer.missing()
    with broker() as servers:
        if options.only != "rebalances":
            figures += emptied(servers, options, with_peer=reason is None)
        if options.only != "workers":
            for strategy in list(rebalances.STRATEGIES)[: 1 if options.quick else None]:
                with Stack(servers) as stack:
                    figures += rebalances.play(stack, strategy, rate_per_s=options.rate, seconds=options.seconds)
    return figures, [*([reason] if reason else []), *remarks()]


def _more(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", choices=("workers", "rebalances"), help="one half of it")


if __name__ == "__main__":
    chosen = arguments(__doc__, SIZES, more=_more)
    main("workers", chosen, lambda: measure(chosen))
