"""Run simulated worlds on fresh seeds, and append what they found to a ledger.

    python -m tests.soak [--world engine|routers|relays|settings|resyncs|outbox|replayers] [--minutes 10] [--worlds N]
        [--processes 2] [--ledger docs/soak.jsonl] [--first SEED]

A line of the ledger names the commit and a digest of the sources that are tested (the same one for every commit that
does not change them), whether the engine was compiled, the seeds (first and number), the hours that passed in the
worlds, and the seeds that were red. A red seed is repeated by `python -m tests.soak --world KIND --first SEED --worlds
1`, and belongs into the test of its world. Exit code 1 where one was red. An interrupted run writes its line for what
it has done.
"""

from __future__ import annotations

import argparse
import json
import logging
import secrets
import signal
import subprocess
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from hookstream.processors.cli.console import say
from hookstream.processors.cli.version import is_compiled
from tests.soak.worlds import KINDS
from tests.support.repository import ROOT

LEDGER = Path("docs/soak.jsonl")
_BATCH = 20  # worlds that a process takes at once
_SECOND = 1.0


@dataclass
class Found:
    """What a run has found so far."""

    worlds: int = 0
    simulated_s: float = 0.0
    red: dict[int, str] = field(default_factory=dict)

    def add(self, other: Found) -> None:
        """Count what a batch found."""
        self.worlds += other.worlds
        self.simulated_s += other.simulated_s
        self.red |= other.red


def batch(world: str, first: int, count: int) -> Found:
    """Run some worlds of a kind."""
    found = Found()
    for seed in range(first, first + count):
        passed_s, violation = KINDS[world].run(seed)
        found.worlds += 1
        found.simulated_s += passed_s
        if violation is not None:
            found.red[seed] = violation
    return found


def quiet() -> None:
    """Log nothing of what happens in a world."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def run(options: argparse.Namespace, first: int, found: Found) -> None:
    """Run worlds in order of their seeds until the time or the number is over; what is done is in `found`."""
    ends = time.monotonic() + options.minutes * 60
    most = options.worlds or sys.maxsize
    columns = (
        TextColumn("worlds"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[red]} red"),
        TimeElapsedColumn(),
    )
    with (
        ProcessPoolExecutor(options.processes, initializer=quiet) as pool,
        Progress(*columns, console=Console(stderr=True)) as progress,
    ):
        shown = progress.add_task("", total=options.worlds, red=0)
        waiting: set[Future[Found]] = set()
        asked = 0
        while True:
            while len(waiting) < options.processes and asked < most and time.monotonic() < ends:
                count = min(_BATCH, most - asked)
                waiting.add(pool.submit(batch, options.world, first + asked, count))
                asked += count
            if not waiting:
                return
            done, waiting = wait(waiting, timeout=_SECOND, return_when=FIRST_COMPLETED)
            for each in done:
                found.add(each.result())
            progress.update(shown, completed=found.worlds, red=len(found.red))


def line(world: str, first: int, found: Found, took_s: float) -> str:
    """One line of the ledger."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607 - the developer's own git
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return json.dumps(
        {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit.stdout.strip() or "unknown",
            world: KINDS[world].digest(),
            "compiled": is_compiled(),
            "first_seed": first,
            "worlds": found.worlds,
            "simulated_hours": round(found.simulated_s / 3600, 1),
            "red": sorted(found.red),
            "took_s": round(took_s),
        }
    )


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Simulated worlds on fresh seeds.")
    parser.add_argument("--world", choices=KINDS, default="engine", help="what is simulated (engine)")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to go on (10)")
    parser.add_argument("--worlds", type=int, default=None, help="stop after so many worlds")
    parser.add_argument("--processes", type=int, default=2, help="processes side by side (2)")
    parser.add_argument("--first", type=int, default=None, help="the first seed (random: fresh seeds)")
    parser.add_argument("--ledger", type=Path, default=ROOT / LEDGER, help=f"the file to append to ({LEDGER})")
    return parser.parse_args()


def main() -> int:
    """Run, and write the ledger whatever ends the run."""
    options = arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as ^C: the ledger is written
    first = secrets.randbelow(2**48) if options.first is None else options.first
    found, began = Found(), time.monotonic()
    try:
        run(options, first, found)
    except KeyboardInterrupt:
        say("interrupted: the ledger says what was done")
    finally:
        if found.worlds:
            with options.ledger.open("a") as ledger:
                ledger.write(entry := line(options.world, first, found, time.monotonic() - began) + "\n")
            say(entry.rstrip())
    for seed, violation in sorted(found.red.items()):
        say(f"seed {seed}: {violation.splitlines()[0]}")
    if found.red:
        say(f"what was a fault belongs into {KINDS[options.world].test_file}")
    return 1 if found.red else 0


if __name__ == "__main__":
    sys.exit(main())
