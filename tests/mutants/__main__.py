"""Plant each bug in a copy of the packages, and see whether its tests turn red.

    python -m tests.mutants [--only ID ...] [--package NAME] [--list] [--again] [--processes 2]

First the tests run without any bug: one that fails by itself finds nothing. Verdicts go to build/mutants.jsonl, and a
run that was interrupted goes on from there as long as neither packages nor tests change. A bug with which a test does
not end in its time is found, and named: on a machine that is too busy, that may be the machine. Exit code 1 where less
than 95 % are found or a text to replace does not stand exactly once.
"""

from __future__ import annotations

import argparse
import queue
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from hookstream.processors.cli.console import say, say_table
from tests.mutants.ledger import BAR, Ledger, shares, state_of_the_tree
from tests.mutants.plan import PlantedBug, edited, planned
from tests.mutants.planting import Copy, Verdict
from tests.support.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

LEDGER = ROOT / "build" / "mutants.jsonl"
_CLEAN_S = 1800
_ROUNDING = 1e-9


class Run:
    """Plants the bugs that have no verdict yet, some side by side, each process of tests with a copy of its own."""

    def __init__(self, bugs: Sequence[PlantedBug], ledger: Ledger, processes: int) -> None:
        """Nothing is copied or started yet."""
        self._bugs, self._ledger, self._processes = bugs, ledger, processes
        self._lock = threading.Lock()
        self._done = 0

    def run(self) -> bool:
        """Fill the ledger; False where a test fails without a bug."""
        with tempfile.TemporaryDirectory(prefix="hookstream-mutants-") as name:
            copies: queue.Queue[Copy] = queue.Queue()
            pool = ThreadPoolExecutor(self._processes)
            try:
                for number in range(self._processes):
                    copies.put(Copy(Path(name) / f"copy-{number}"))
                if not self._clean(copies):
                    return False
                for each in [pool.submit(self._plant, bug, copies) for bug in self._bugs]:
                    each.result()
            finally:
                pool.shutdown(cancel_futures=True)
                while not copies.empty():
                    copies.get().close()
        return True

    def _clean(self, copies: queue.Queue[Copy]) -> bool:
        tests = sorted({test for bug in self._bugs for test in bug.finds})
        say(f"{len(tests)} tests without a bug")
        copy = copies.get()
        try:
            ran = copy.pytest(tests, _CLEAN_S)
        finally:
            copies.put(copy)
        clean = ran.verdict is Verdict.UNNOTICED
        say(f"all pass, {ran.took_s:.0f} s" if clean else ran.output)
        return clean

    def _plant(self, bug: PlantedBug, copies: queue.Queue[Copy]) -> None:
        copy = copies.get()
        try:
            ran = copy.run(bug)
        finally:
            copies.put(copy)
        with self._lock:
            self._ledger.add(bug, ran)
            self._done += 1
            say(f"[{self._done}/{len(self._bugs)}] {ran.verdict}, {ran.took_s:.0f} s: {bug.package}/{bug.id}")
            if not ran.verdict.is_found:
                say(f"    {bug.meaning}\n    {bug.file}; {', '.join(bug.finds)}")
                if ran.verdict is Verdict.BROKEN:
                    say(ran.output)


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description="Bugs planted outside the engine.")
    parser.add_argument("--only", metavar="ID", nargs="+", default=[], help="these bugs, again if need be")
    parser.add_argument("--package", help="the bugs of one package")
    parser.add_argument("--list", action="store_true", help="print the bugs and plant none")
    parser.add_argument("--again", action="store_true", help="plant also what has a verdict")
    parser.add_argument("--processes", type=int, default=2, help="processes of tests side by side (2)")
    return parser.parse_args()


def chosen(options: argparse.Namespace) -> list[PlantedBug]:
    """The bugs that are asked for."""
    bugs = [bug for bug in planned() if options.package in (None, bug.package)]
    return [bug for bug in bugs if not options.only or bug.id in options.only]


def main() -> int:
    """Plant, and print the share found by package."""
    options = arguments()
    bugs = chosen(options)
    if options.list or not bugs:
        say_table(("package", "bug", "kind", "meaning"), [(b.package, b.id, b.kind, b.meaning) for b in bugs])
        return 0 if bugs else 2
    for bug in bugs:
        edited(bug)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as ^C: what was started is ended
    ledger, began = Ledger(LEDGER, state_of_the_tree()), time.monotonic()
    again = options.again or bool(options.only)
    due = [bug for bug in bugs if again or bug.id not in ledger.verdicts]
    try:
        if due and not Run(due, ledger, options.processes).run():
            return 1
    except KeyboardInterrupt:
        say("interrupted: the next run goes on from here")
        return 130
    found = shares(bugs, ledger.verdicts)
    say_table(("package", "planted", "found", ""), [(n, s.planted, s.found, f"{s.part:.1%}") for n, s in found.items()])
    hung = [bug.id for bug in bugs if ledger.verdicts.get(bug.id) is Verdict.OUT_OF_TIME]
    say(f"{time.monotonic() - began:.0f} s; found because a test did not end: {', '.join(hung) or 'none'}")
    return 0 if found["all"].part >= BAR - _ROUNDING else 1


if __name__ == "__main__":
    sys.exit(main())
