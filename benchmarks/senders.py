"""Who delivers in a benchmark that compares: hookstream's worker, or parallel-consumer with a buffer of some size."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import parallel_consumer
from benchmarks.load import BODIES, DELIVERIES
from benchmarks.stack import Stack

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from tests.support.processes import Process

BUFFER = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """A name for its figures, the kind of records it reads, and for a peer the size of its buffer."""

    name: str
    kind: str
    buffer: int = 0

    @contextmanager
    def stage(self, servers: str, clients: Sequence[int]) -> Iterator[tuple[Stack, Process]]:
        """A stack on which it runs."""
        with Stack(servers) as stack:
            if self.kind == DELIVERIES:
                stack.publish_hooks(clients)
                yield stack, stack.role("deliver").wait_ready().process
            else:
                stack.make_bodies_topic()
                yield stack, parallel_consumer.start(stack, buffer=self.buffer)


OURS = Sender(name="", kind=DELIVERIES)
PEERS = (
    Sender(name="parallel-consumer ", kind=BODIES),
    Sender(name=f"parallel-consumer buffer {BUFFER} ", kind=BODIES, buffer=BUFFER),
)


def peers(options: argparse.Namespace) -> tuple[Sequence[Sender], Sequence[str]]:
    """Whom to compare with, and why with none."""
    if options.no_peer:
        return (), ["parallel-consumer left out"]
    reason = parallel_consumer.missing()
    return (PEERS, ()) if reason is None else ((), [reason])


def add_no_peer(parser: argparse.ArgumentParser) -> None:
    """The option that leaves them out."""
    parser.add_argument("--no-peer", action="store_true", help="leave parallel-consumer out")
