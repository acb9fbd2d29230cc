"""What a rebalance costs: a third worker joins two, leaves in order, and one is killed, each under a load of its own.

The time is from the event to the first delivery of a partition that has moved: from when the new worker is ready to the
first that it delivers, from SIGTERM or from the kill to the first that another worker delivers of the partitions that
the gone one had. The longest wait is that of any event meanwhile, from its own time to its receipt.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.figures import Figure
from benchmarks.load import DELIVERIES
from benchmarks.members import clients_by_partition, delivered, of_partitions, owned, wait_owners
from benchmarks.scenes import settle, wait_received, warm_load
from benchmarks.stack import READY_WITHIN_S, Stack, until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.stack import Received, Role

CLIENTS_EACH = 2
# A killed member is noticed when its session ends. The stage's broker has six seconds for the new protocol; the classic
# one's is the client's, 45 s by default, and gets the same here.
SESSION_S = 6.0
_CLASSIC = {"KAFKA_GROUP_PROTOCOL": "classic"}
STRATEGIES: Mapping[str, Mapping[str, str]] = {
    "KIP-848 range": {},
    "classic range": _CLASSIC,
    "classic cooperative-sticky": _CLASSIC | {"strategy": "cooperative-sticky"},
}
_BEFORE_S = 1.0
_ON_ITS_WAY_S = 0.1
_WITHIN_S = 60.0


def settings(strategy: str) -> dict[str, str]:
    """Settings of a worker, without their prefix."""
    given = dict(STRATEGIES[strategy])
    if given:
        options = {"session.timeout.ms": f"{SESSION_S * 1000:.0f}"}
        if (assignor := given.pop("strategy", None)) is not None:
            options["partition.assignment.strategy"] = assignor
        given["KAFKA_OPTIONS"] = json.dumps(options)
    return given


@dataclass(slots=True)
class Group:
    """Two workers and more on a stack, and what the receiver has had in all."""

    stack: Stack
    strategy: str
    clients: Mapping[int, list[int]]
    workers: list[Role] = field(default_factory=list)
    lost: int = 0
    out_of_order: int = 0

    @property
    def everybody(self) -> list[int]:
        """All clients, those of one partition beside each other."""
        return of_partitions(self.clients, self.clients)

    def start(self) -> Role:
        """Start a worker of the strategy."""
        return self.stack.role("deliver", also=settings(self.strategy))

    def during(self, event: Callable[[], float], *, rate_per_s: float, seconds: float) -> tuple[float, Received]:
        """Let something happen under a load; its time in seconds, and what was received."""
        load = warm_load(self.stack, DELIVERIES, self.everybody, rate_per_s=rate_per_s, seconds=seconds)
        load.go()
        time.sleep(_BEFORE_S)
        took = event()
        load.wait(seconds + 60)
        wait_received(self.stack, self.everybody, load.plan.records, _WITHIN_S)
        settle(self.stack, self.everybody)
        found = self.stack.receiver.stats()
        self.lost += load.plan.records - found.distinct
        self.out_of_order += found.out_of_order
        return took, found

    def join(self) -> float:
        """Let another worker join; seconds from when it is ready to its first delivery."""
        worker = self.start().wait_ready()
        ready = time.monotonic()
        until(lambda: delivered([worker])[0] > 0, READY_WITHIN_S, what="a delivery by the new worker")
        self.workers.append(worker)
        return time.monotonic() - ready

    def end(self, finish: Callable[[Role], None]) -> float:
        """End the last worker; seconds to the first delivery of what it had by another one, once it has ended."""
        worker = self.workers.pop()
        moved = of_partitions(self.clients, owned(worker))
        began = time.monotonic()
        finish(worker)
        time.sleep(_ON_ITS_WAY_S)
        before = self.stack.receiver.count(only=moved).received
        until(
            lambda: self.stack.receiver.count(only=moved).received > before,
            READY_WITHIN_S,
            what="a delivery of a partition that has moved",
        )
        return time.monotonic() - began


def play(stack: Stack, strategy: str, *, rate_per_s: float, seconds: float) -> list[Figure]:
    """A join, a leave in order and a kill, one after the other."""
    group = Group(stack, strategy, clients_by_partition(stack, CLIENTS_EACH))
    stack.publish_hooks(group.everybody)
    group.workers = [group.start(), group.start()]
    for worker in group.workers:
        worker.wait_ready()
    figures = []
    for name, event in (
        ("join", group.join),
        ("leave", lambda: group.end(stack.stop)),
        ("kill", lambda: group.end(lambda worker: worker.process.kill())),
    ):
        wait_owners(group.workers)
        took_s, found = group.during(event, rate_per_s=rate_per_s, seconds=seconds)
        figures += [
            Figure(name=f"{strategy}: {name}", value=took_s, unit="s"),
            Figure(name=f"{strategy}: longest wait of a {name}", value=found.max_ms, unit="ms"),
            Figure(name=f"{strategy}: duplicates of a {name}", value=found.duplicates),
        ]
    stack.stop(*group.workers)
    return [
        *figures,
        Figure(name=f"{strategy}: lost", value=group.lost, at_most=0),
        Figure(name=f"{strategy}: out of order", value=group.out_of_order, at_most=0),
    ]
