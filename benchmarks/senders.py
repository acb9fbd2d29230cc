"""Who delivers in a benchmark that compares: hookstream's worker, or parallel-consumer in two settings.

A comparison runs the same scene for each, one after the other, on the same broker. A ratio is the peer's figure over
ours; it is told for what more of is worse, so above 1 hookstream does better.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import parallel_consumer
from benchmarks.figures import of_peer, ratios
from benchmarks.load import BODIES, DELIVERIES
from benchmarks.stack import Stack

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.figures import Figure
    from tests.support.processes import Process

# As many requests at once as our worker makes without a setting, and a buffer that holds their records.
AT_ONCE = 4096
BUFFER = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """A name for its figures, the kind of records it reads, and a peer's buffer and requests at once."""

    name: str
    kind: str
    buffer: int = 0
    at_once: int = parallel_consumer.AT_ONCE

    @contextmanager
    def stage(self, servers: str, clients: Sequence[int]) -> Iterator[tuple[Stack, Process]]:
        """A stack on which it runs."""
        with Stack(servers) as stack:
            if self.kind == DELIVERIES:
                stack.publish_hooks(clients)
            else:
                stack.make_bodies_topic()
            yield stack, self.start(stack)

    def start(self, stack: Stack) -> Process:
        """One process of it; ours is ready, a peer is when its first record has arrived."""
        if self.kind == DELIVERIES:
            return stack.role("deliver").wait_ready().process
        return parallel_consumer.start(stack, buffer=self.buffer, at_once=self.at_once)


OURS = Sender(name="", kind=DELIVERIES)
PEERS = (
    Sender(name="parallel-consumer ", kind=BODIES),
    Sender(name=f"parallel-consumer {AT_ONCE} at once ", kind=BODIES, buffer=BUFFER, at_once=AT_ONCE),
)


def peers(options: argparse.Namespace) -> tuple[Sequence[Sender], Sequence[str]]:
    """Whom to compare with, and why with none; in a quick run, one peer."""
    if options.no_peer:
        return (), ["parallel-consumer left out"]
    reason = parallel_consumer.missing()
    if reason is not None:
        return (), [reason]
    return PEERS[:1] if options.quick else PEERS, ()


def compared(
    others: Sequence[Sender], scene: Callable[[Sender], list[Figure]], ratio_of: Sequence[str]
) -> list[Figure]:
    """Ours, then each peer's under its name with the ratios of the figures that are named."""
    own = scene(OURS)
    found = list(own)
    for sender in others:
        theirs = scene(sender)
        found += of_peer(sender.name, [*theirs, *ratios(own, theirs, ratio_of)])
    return found


def add_no_peer(parser: argparse.ArgumentParser) -> None:
    """The option that leaves them out."""
    parser.add_argument("--no-peer", action="store_true", help="leave parallel-consumer out")
