"""What several benchmarks do with a stack: run a load through it, and empty a backlog."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import parallel_consumer
from benchmarks.builds import builds, remarks
from benchmarks.stack import READY_WITHIN_S, NotMeasuredError, broker, until
from benchmarks.usage import cpu_seconds, peak_mib

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.builds import Build
    from benchmarks.stack import Load, Received, Stack
    from tests.support.processes import Process

_GIVE_UP_S = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Emptied:
    """A backlog that was delivered.

    `each_us` is CPU per delivery of each process that took part, from the first receipt on, or since the records are
    written; `mib` is the sum of their peaks.
    """

    counted: Received
    each_us: Sequence[float]
    mib: float

    @property
    def cpu_us(self) -> float:
        """CPU per delivery of all of them."""
        return sum(self.each_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """What was emptied in turn: `own` by the name of a build, and by the peer, where `remarks` say of none why."""

    own: dict[str, list[Emptied]]
    peers: list[Emptied]
    remarks: Sequence[str]


def in_turn(rounds: int, own: Callable[[str, Build], Emptied], peer: Callable[[str], Emptied]) -> Rounds:
    """Let each build and the peer empty a backlog on the same broker, round by round."""
    reason = parallel_consumer.missing()
    found: dict[str, list[Emptied]] = {build.name: [] for build in builds()}
    peers: list[Emptied] = []
    with broker() as servers:
        for _ in range(rounds):
            for build in builds():
                found[build.name].append(own(servers, build))
            if reason is None:
                peers.append(peer(servers))
    return Rounds(own=found, peers=peers, remarks=[*([reason] if reason else []), *remarks()])


def empty(stack: Stack, records: int, start: Callable[[], Sequence[Process]]) -> Emptied:
    """Start whoever delivers, and wait until everything has arrived."""
    stack.receiver.reset()
    processes = start()
    until(lambda: stack.receiver.count().received > 0, READY_WITHIN_S, what="a first delivery")
    return wait_emptied(stack, processes, records)


def wait_emptied(
    stack: Stack, processes: Sequence[Process], records: int, *, fill: Callable[[], None] = lambda: None
) -> Emptied:
    """Wait until so many records have arrived, which `fill` writes where they are not there yet."""
    first, before = stack.receiver.count().received, [cpu_seconds(process.pid) for process in processes]
    fill()
    ends = time.monotonic() + _GIVE_UP_S
    while (there := stack.receiver.count().distinct) < records:
        for process in processes:
            if not process.running or time.monotonic() > ends:
                raise NotMeasuredError(process.complaint(f"{there} of {records} delivered by {len(processes)}"))
        time.sleep(0.05)
    used = [cpu_seconds(process.pid) - cpu for process, cpu in zip(processes, before, strict=True)]
    counted = stack.receiver.stats()
    each = max(1, counted.received - first)
    return Emptied(
        counted=counted,
        each_us=[cpu / each * 1e6 for cpu in used],
        mib=sum(peak_mib(process.pid) for process in processes),
    )


def warm_load(
    stack: Stack, kind: str, clients: Sequence[int], *, rate_per_s: float, seconds: float, resources: int = 500
) -> Load:
    """A load whose warm-up has gone the whole way, with the receiver's counts at zero; it waits for `go`."""
    stack.receiver.reset()
    load = stack.start_load(kind, clients, int(rate_per_s * seconds), rate_per_s=rate_per_s, resources=resources)
    load.process.wait_until(lambda: "warm" in load.process.log_text(), READY_WITHIN_S, what="warm")
    until(lambda: stack.receiver.count().distinct >= len(clients), READY_WITHIN_S, what="the warm-up delivered")
    stack.receiver.reset(keep=True)  # a warm-up may come again after a kill
    return load


def healthy_run(
    stack: Stack, kind: str, clients: Sequence[int], *, rate_per_s: float, seconds: float, of: Sequence[int]
) -> Received:
    """Run a load while everybody is well; what the clients `of` received: the yardstick of the run that follows.

    The first third of the time is not counted: compilers, connections and limits warm up then, and a yardstick that
    holds their slowness would forgive too much.
    """
    load = warm_load(stack, kind, clients, rate_per_s=rate_per_s, seconds=seconds)
    load.go()
    time.sleep(seconds / 3)
    stack.receiver.reset()
    load.wait(seconds + 60)
    settle(stack, of)
    return stack.receiver.stats(only=of)


def settle(stack: Stack, of: Sequence[int], *, quiet_s: float = 1.0) -> None:
    """Wait until these clients have received nothing for a while."""
    before, since = -1, time.monotonic()
    while time.monotonic() - since < quiet_s:
        now = stack.receiver.count(only=of).received
        if now != before:
            before, since = now, time.monotonic()
        time.sleep(0.1)


def wait_received(stack: Stack, clients: Sequence[int], distinct: int, deadline_s: float) -> float:
    """Wait until these clients have received so much, or for the deadline; the seconds that it took."""
    began = time.monotonic()
    while stack.receiver.count(only=clients).distinct < distinct and time.monotonic() - began < deadline_s:
        time.sleep(0.05)
    return time.monotonic() - began


def shared(records: int, clients: Sequence[int], of: Sequence[int]) -> int:
    """How many of a load's records go to the clients `of`: they take turns."""
    whole, rest = divmod(records, len(clients))
    return sum(whole + (position < rest) for position, client in enumerate(clients) if client in set(of))
