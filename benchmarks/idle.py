"""A worker and a router with nothing to do, after some work: CPU in percent of a core."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.figures import Figure
from benchmarks.load import EVENTS
from benchmarks.running import Size, arguments, main
from benchmarks.stack import READY_WITHIN_S, Stack, broker, until

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

CLIENTS = range(1, 51)
RECORDS = 1_000
SETTLE_S = 5.0
BAR_PERCENT = 2.0
SIZES = (Size("seconds", 30.0, 5.0, "how long nothing happens"),)


def measure(options: argparse.Namespace) -> tuple[Sequence[Figure], Sequence[str]]:
    """Work, rest, and count."""
    with broker() as servers, Stack(servers) as stack:
        stack.publish_hooks(CLIENTS)
        router, worker = (stack.role(name).wait_ready() for name in ("router", "deliver"))
        stack.fill(EVENTS, CLIENTS, RECORDS)
        until(lambda: stack.receiver.count().distinct >= RECORDS, READY_WITHIN_S, what="everything delivered")
        time.sleep(SETTLE_S)
        routers, workers, began = router.cpu_s, worker.cpu_s, time.monotonic()
        time.sleep(options.seconds)
        routers, workers, seconds = router.cpu_s - routers, worker.cpu_s - workers, time.monotonic() - began
        memory = worker.peak_mib
    return [
        Figure(name="worker", value=workers / seconds * 100, unit="% of a core", at_most=BAR_PERCENT),
        Figure(name="router", value=routers / seconds * 100, unit="% of a core"),
        Figure(name="worker's memory", value=memory, unit="MiB"),
    ], []


if __name__ == "__main__":
    chosen = arguments(__doc__, SIZES)
    main("idle", chosen, lambda: measure(chosen))
