"""Run real parts under a nemesis and judge the history; or judge a history again.

    python -m tests.nemesis [--minutes 10] [--seed S] [--rate 40] [--ledger docs/nemesis.jsonl]
    python -m tests.nemesis check FILE
    python -m tests.nemesis plan [--minutes 10] --seed S

The plan of faults and of operators' commands is a function of seed and minutes. A line of the ledger names the commit,
whether the engine was compiled, the seed, the faults by kind, and what the checker counted. Exit code 1 where a promise
was broken. The history, and the logs of all parts, stay in `build/nemesis/`.
"""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from hookstream.processors.cli.console import say
from hookstream.processors.cli.version import is_compiled
from tests.nemesis.checker import Verdict, check
from tests.nemesis.history import read_history
from tests.nemesis.plan import faults, told
from tests.support.repository import ROOT

if TYPE_CHECKING:
    from tests.nemesis.run import Shown

LEDGER = Path("docs/nemesis.jsonl")
DIRECTORY = Path("build/nemesis")
_SEEDS = 2**32
_PRINT_EVERY_S = 60.0


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.nemesis", description="Real parts under a nemesis.")
    parser.add_argument("what", nargs="?", choices=("run", "check", "plan"), default="run")
    parser.add_argument("file", nargs="?", type=Path, help="a history, for `check`")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long things are broken (10)")
    parser.add_argument("--seed", type=int, default=None, help="of the plan (random)")
    parser.add_argument("--rate", type=float, default=40.0, help="events a second (40)")
    parser.add_argument("--settle", type=float, default=300.0, help="seconds to wait at the end, at most (300)")
    parser.add_argument("--ledger", type=Path, default=ROOT / LEDGER, help=f"the file to append to ({LEDGER})")
    options = parser.parse_args()
    if options.what == "check" and options.file is None:
        parser.error("check needs the file of a history")
    if options.seed is None:
        options.seed = secrets.randbelow(_SEEDS)
    return options


def line(options: argparse.Namespace, commit: str, verdict: Verdict) -> str:
    """One line of the ledger."""
    return json.dumps(
        {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit,
            "compiled": is_compiled(),
            "seed": options.seed,
            "minutes": options.minutes,
            "rate": options.rate,
            **verdict.figures(),
        }
    )


class Screen:
    """Progress: a bar on a terminal, else a line a minute."""

    def __init__(self, minutes: float) -> None:
        """Nothing is shown before the first `show`."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(20),
            TextColumn("{task.fields[told]}"),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._task = self._progress.add_task("starts", total=minutes * 60, told="")
        self._printed = 0.0

    def __enter__(self) -> Self:
        """Draw."""
        if self._progress.console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was."""
        self._progress.stop()

    def show(self, shown: Shown) -> None:
        """Show how far it is."""
        counts = f"{shown.acknowledged:,} events, {shown.acknowledged - shown.arrived:,} pending, {shown.faults} faults"
        broken = "; ".join(shown.broken)
        if self._progress.console.is_terminal:
            self._progress.update(
                self._task, completed=shown.elapsed_s, description=shown.phase, told=f"{counts} {broken}"
            )
        elif shown.elapsed_s - self._printed >= _PRINT_EVERY_S:
            self._printed = shown.elapsed_s
            say(f"{shown.elapsed_s:6.0f} s  {shown.phase}: {counts}; {broken}")


def run_and_judge(options: argparse.Namespace) -> int:
    """Run, judge, and write the ledger; an interrupted run is judged by what it has."""
    from tests.nemesis.run import Options, commit_of_code, run  # noqa: PLC0415 - `check` needs no real part

    directory = ROOT / DIRECTORY / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{options.seed}"
    directory.mkdir(parents=True)
    path, commit = directory / "history.jsonl.gz", commit_of_code()
    say(f"seed {options.seed}, history and logs in {directory.relative_to(ROOT)}")
    asked = Options(
        seed=options.seed,
        minutes=options.minutes,
        rate=options.rate,
        settle_s=options.settle,
        directory=directory,
    )
    try:
        with Screen(options.minutes) as screen:
            run(asked, path, screen.show)
    except KeyboardInterrupt:
        say("interrupted: what there is is judged")
    finally:
        for node in directory.glob("kafka/node*/data"):
            shutil.rmtree(node, ignore_errors=True)
    verdict = check(read_history(path))
    with options.ledger.open("a") as ledger:
        ledger.write(line(options, commit, verdict) + "\n")
    return tell(verdict)


def tell(verdict: Verdict) -> int:
    """Print a verdict; gives the exit code."""
    for each in verdict.lines():
        say(each)
    return 1 if verdict.violations else 0


def main() -> int:
    """Run, check or show a plan."""
    options = arguments()
    if options.what == "check":
        return tell(check(read_history(options.file)))
    if options.what == "plan":
        for each in told(list(faults(options.seed, options.minutes))):
            say(each)
        return 0
    return run_and_judge(options)


if __name__ == "__main__":
    sys.exit(main())
