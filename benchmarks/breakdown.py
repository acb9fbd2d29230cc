"""Where the CPU time of a delivery goes in the worker, by part: `make bench-breakdown`.

The whole is measured on a running worker that empties a backlog, as `worker` does: user and system time of each of its
threads from /proc, per delivery. The kernel's part is the system time of all threads (on loopback it holds half of what
the receiver's side of a connection costs), librdkafka's is the user time of its threads, and the poll thread's is what
hands records over. The main thread's user time is divided by measuring its parts alone (`benchmarks.worker_parts`);
the rest is what they leave of it: the event loop and turns. It is a difference and not measured, and it is too large
by what a busy worker's cold caches cost the parts, of which the best of some runs counts: so the last line says how
much of the whole was measured by itself. On a machine with other work the rest grows first.
Both builds are measured where there is a compiled one (`make compiled`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.builds import builds, printed, remarks
from benchmarks.figures import Figure, median_of
from benchmarks.load import DELIVERIES
from benchmarks.running import Size, arguments, main
from benchmarks.stack import READY_WITHIN_S, NotMeasuredError, Stack, broker, until
from benchmarks.usage import threads_of
from benchmarks.worker import TARGETS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from benchmarks.builds import Build
    from benchmarks.usage import ThreadUsage

SIZES = (
    Size("records", 100_000, 10_000, "deliveries a round"),
    Size("rounds", 3, 1, "rounds of each build; medians count"),
)
GIVE_UP_S = 240.0
KERNEL, LIBRDKAFKA, POLL, REST, WHOLE, MEASURED = (
    "kernel", "librdkafka", "poll thread", "rest of the main thread", "whole", "measured by itself",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Used:
    """Microseconds of CPU per delivery."""

    kernel: float
    librdkafka: float
    poll: float
    main: float

    @property
    def whole(self) -> float:
        """All of it."""
        return self.kernel + self.librdkafka + self.poll + self.main


def one_round(servers: str, build: Build, records: int) -> Used:
    """Let the worker of a build deliver everything once."""
    with Stack(servers, environment=build.environment) as stack:
        stack.publish_hooks(TARGETS)
        stack.fill(DELIVERIES, TARGETS, records)
        stack.receiver.reset()
        process = stack.role("deliver").process
        until(lambda: stack.receiver.count().received > 0, READY_WITHIN_S, what="a first delivery")
        before, first = stack.receiver.count().received, threads_of(process.pid)
        until(lambda: not process.running or stack.receiver.count().distinct >= records, GIVE_UP_S, what="all of them")
        if not process.running:
            raise NotMeasuredError(process.complaint("it ended"))
        after, last = stack.receiver.count().received, threads_of(process.pid)
        process.terminate(60.0)
    return used(process.pid, first, last, after - before)


def used(pid: int, first: Mapping[int, ThreadUsage], last: Mapping[int, ThreadUsage], deliveries: int) -> Used:
    """What the threads of a process have used between two looks at them, per delivery."""
    kernel = librdkafka = poll = main_s = 0.0
    for thread, now in last.items():
        then = first.get(thread)
        kernel += now.system_s - (then.system_s if then else 0.0)
        user = now.user_s - (then.user_s if then else 0.0)
        if thread == pid:
            main_s += user
        elif now.name.startswith("rdk:"):
            librdkafka += user
        else:
            poll += user
    each = 1e6 / max(1, deliveries)
    return Used(kernel * each, librdkafka * each, poll * each, main_s * each)


def table(build: Build, rounds: Sequence[Used], alone: Mapping[str, float]) -> dict[str, float]:
    """Microseconds per delivery by part, the whole last."""
    main_us = median_of(rounds, lambda each: each.main)
    rows = {
        KERNEL: median_of(rounds, lambda each: each.kernel),
        LIBRDKAFKA: median_of(rounds, lambda each: each.librdkafka),
        POLL: median_of(rounds, lambda each: each.poll),
        **alone,
        REST: main_us - sum(alone.values()),
    }
    rows[WHOLE] = median_of(rounds, lambda each: each.whole)
    rows[MEASURED] = sum(value for name, value in rows.items() if name not in {REST, WHOLE})
    print(f"{build.name}, µs of CPU a delivery, {len(rounds)} rounds")
    for name, value in rows.items():
        print(f"  {name:24}{value:7.1f} {value / rows[WHOLE]:6.0%}", flush=True)
    return rows


def measure(options: argparse.Namespace) -> tuple[Sequence[Figure], Sequence[str]]:
    """Rounds of the builds in turn, then the parts alone."""
    found = builds()
    rounds: dict[str, list[Used]] = {build.name: [] for build in found}
    with broker() as servers:
        for _ in range(options.rounds):
            for build in found:
                rounds[build.name].append(one_round(servers, build, options.records))
    figures = []
    for build in found:
        rows = table(build, rounds[build.name], json.loads(printed(build, "benchmarks.worker_parts")))
        figures += [Figure(name=f"{build.name}: {name}", value=value, unit="µs") for name, value in rows.items()]
    return figures, remarks()


if __name__ == "__main__":
    chosen = arguments(__doc__, SIZES)
    main("breakdown", chosen, lambda: measure(chosen))
