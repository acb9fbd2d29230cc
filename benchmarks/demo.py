"""`hookstream demo`, from the start of the command to its end, which comes after the last delivery."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.figures import Figure, median_of
from benchmarks.running import Size, arguments, main
from benchmarks.stack import NotMeasuredError
from tests.support.processes import Processes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

BAR_S = 10.0
SIZES = (Size("rounds", 3, 1, "rounds; the median counts"),)


def one_round() -> float:
    """Seconds of one demo."""
    with TemporaryDirectory(prefix="hookstream-bench-") as directory:
        processes = Processes(Path(directory))
        try:
            began = time.monotonic()
            process = processes.start([Path(sys.executable).with_name("hookstream"), "demo"], name="demo")
            code = process.wait(120.0)
            if code:
                raise NotMeasuredError(process.complaint(f"ended with {code}"))
            return time.monotonic() - began
        finally:
            processes.close()


def measure(options: argparse.Namespace) -> tuple[Sequence[Figure], Sequence[str]]:
    """Some demos, one after the other."""
    rounds = [one_round() for _ in range(options.rounds)]
    return [Figure(name="demo", value=median_of(rounds, float), unit="s", at_most=BAR_S)], []


if __name__ == "__main__":
    chosen = arguments(__doc__, SIZES)
    main("demo", chosen, lambda: measure(chosen))
