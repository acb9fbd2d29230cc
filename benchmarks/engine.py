"""The engine alone: CPU per delivery of reading, choosing, answering and the commit's snapshot, without any I/O.

Ten healthy endpoints with 500 resources each in one partition; every answer is a 2xx. Both builds are measured in turn
where there is a compiled one. `--profile` prints where one run spends its time instead of measuring; `--here` measures
one run in this process, and prints nothing but its number.
"""

from __future__ import annotations

import cProfile
import pstats
import random
import time
from operator import itemgetter
from typing import TYPE_CHECKING

from benchmarks.builds import builds, printed, remarks
from benchmarks.figures import Figure, median_of
from benchmarks.running import Size, arguments, main
from hookstream.processors.delivery.engine.dispatcher import Dispatcher
from hookstream.processors.delivery.engine.engine import LIVE, Engine, StreamStart
from hookstream.processors.delivery.engine.hook_table import HookRow
from hookstream.processors.delivery.engine.model import Pending, Post, StreamIndex, TrackedHook
from hookstream.processors.delivery.engine.outcome import DELIVERED
from hookstream.processors.delivery.engine.partition_state import EMPTY_STATE
from hookstream.processors.delivery.engine.policy import EnginePolicy
from hookstream.processors.delivery.engine.tracker import SettledSet
from hookstream.schemas.delivery import DeadLetterReason, Delivery, DeliveryId
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import Hook, HookId, HookState, NoticeKind, Revision
from hookstream.schemas.notices import Notice

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

ENDPOINTS, RESOURCES = 10, 500
BATCH = 200
SIZES = (
    Size("records", 200_000, 20_000, "deliveries a run"),
    Size("rounds", 3, 1, "runs; the median counts"),
)
EVENT = EventName("property.updated")


class Table(dict[str, Hook]):
    """The hooks of the benchmark, one a client."""

    def get(self, client: str, _event: object = None) -> Hook | None:  # type: ignore[override]
        """The row of a subscription key."""
        return self[client]


class NoEffects:
    """A healthy partition asks for nothing beside requests."""

    def dead_letter(self, stream: StreamIndex, pending: Pending, reason: DeadLetterReason) -> None:
        """Unexpected here."""
        raise AssertionError(stream, pending.offset, reason)

    def notify(self, hook: TrackedHook, row: HookRow, kind: NoticeKind) -> None:
        """Unexpected here."""
        raise AssertionError(hook.id, row.revision, kind)

    def tell(self, notice: Notice) -> None:
        """Unexpected here."""
        raise AssertionError(notice)

    def stale(self, hook: TrackedHook) -> None:
        """Unexpected here."""
        raise AssertionError(hook.id)


def deliveries(count: int) -> list[Delivery]:
    """A log of deliveries, resources at random."""
    chance = random.Random(1)  # noqa: S311 - a repeatable load
    return [
        Delivery(
            id=DeliveryId(f"msg_{n}"),
            event=EVENT,
            client=ClientId(str(n % ENDPOINTS)),
            concept_id=str(chance.randrange(RESOURCES)),
            namespace="property",
            body=b"{}",
            occurred_at_ms=0,
            hook_id=HookId(n % ENDPOINTS + 1),
            hook_revision=Revision(1),
            source_topic="events.property",
            source_partition=0,
            source_offset=n,
            arrived_ms=1,
        )
        for n in range(count)
    ]


def made(log: list[Delivery]) -> tuple[Engine, Dispatcher]:
    """An engine that is to read this log."""
    table = Table()
    for client in range(ENDPOINTS):
        table[str(client)] = Hook(
            id=HookId(client + 1),
            client=ClientId(str(client)),
            event=EVENT,
            target=f"http://target/{client}",
            state=HookState.ENABLED,
            revision=Revision(1),
            secrets=(),
        )
    policy = EnginePolicy()
    dispatcher = Dispatcher(policy)
    start = StreamStart(0, SettledSet(), EMPTY_STATE)
    engine = Engine(
        policy=policy,
        table=table,
        dispatcher=dispatcher,
        effects=NoEffects(),
        decode=lambda _value: log[0],
        random=random.random,
        starts=(start, start),
        now=0.0,
        wall_ms=1,
    )
    return engine, dispatcher


def run(log: list[Delivery]) -> float:
    """Deliver the log; return CPU microseconds per delivery."""
    engine, dispatcher = made(log)
    in_flight: list[Post] = []
    position, turn = 0, 0
    began = time.process_time()
    while position < len(log) or in_flight:
        turn += 1
        engine.advance(turn / 1000, turn)
        for _ in range(min(engine.room(LIVE), BATCH, len(log) - position)):
            engine.read(LIVE, position, log[position], 150)
            position += 1
        while (post := dispatcher.next()) is not None:
            in_flight.append(post)
        for post in in_flight:
            engine.answer(post, DELIVERED, 0.001)
        in_flight.clear()
        engine.end_turn()
        if turn % 50 == 0:
            engine.views[LIVE].snapshot()
    return (time.process_time() - began) / len(log) * 1e6


def measure(options: argparse.Namespace) -> tuple[Sequence[Figure], Sequence[str]]:
    """Some runs of each build, in turn; medians count."""
    found = builds()
    rounds = [
        [float(printed(build, "benchmarks.engine", "--here", f"--records={options.records}")) for build in found]
        for _ in range(options.rounds)
    ]
    return [
        Figure(name=f"CPU, {build.name}", value=median_of(rounds, itemgetter(index)), unit="µs/delivery")
        for index, build in enumerate(found)
    ], remarks()


def show_profile(records: int) -> None:
    """Print where one run spends its time."""
    profile = cProfile.Profile()
    profile.runcall(run, deliveries(records))
    pstats.Stats(profile).sort_stats("tottime").print_stats(25)


def _more(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--profile", action="store_true", help="print where one run spends its time instead")
    parser.add_argument("--here", action="store_true", help="one run in this process; prints its number alone")


if __name__ == "__main__":
    chosen = arguments(__doc__, SIZES, more=_more)
    if chosen.profile:
        show_profile(chosen.records)
    elif chosen.here:
        print(run(deliveries(chosen.records)))
    else:
        main("engine", chosen, lambda: measure(chosen))
