"""Every benchmark in order, or those that are named: `python -m benchmarks [--quick] [NAME...] [-- OPTIONS]`.

Each runs in a process of its own and is bounded; one that cannot be made does not stop the others. What they print is
also appended to `build/benchmarks.jsonl`. Options after `--` go to each: `python -m benchmarks worker -- --rounds 1`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.stack import end_by_signal

if TYPE_CHECKING:
    from collections.abc import Sequence

# In this order: parts first, then the whole, then what goes wrong.
ORDER = (
    "table", "router", "worker", "pipeline", "slow", "https", "rates", "idle", "demo", "hang", "fairness", "outage",
    "kill", "scale_out", "workers", "mixed", "dead", "flaky", "replay", "portal", "token_flood",
)  # fmt: skip
# Parts of parts, and what takes long: by name only.
PARTS = ("engine", "http_client", "source_mapping", "breakdown", "samples", "hops", "server", "size")
MODULES = {"table": "subscription_table", "server": "webhook_server"}
FIGURES = Path("build/benchmarks.jsonl")


def names(asked: Sequence[str]) -> list[str]:
    """The benchmarks to run, dashes allowed; all of `ORDER` where none is asked for.

    Raises:
        SystemExit: there is no such benchmark.
    """
    wanted = [name.replace("-", "_") for name in asked]
    unknown = [name for name in wanted if name not in (*ORDER, *PARTS)]
    if unknown:
        sys.exit(f"no benchmark {', '.join(unknown)}; there are {', '.join((*ORDER, *PARTS))}")
    return wanted or list(ORDER)


def run(name: str, options: Sequence[str]) -> tuple[int, list[str]]:
    """Run one; its exit code, and the lines that it printed, which are shown as they come."""
    command = [sys.executable, "-m", f"benchmarks.{MODULES.get(name, name)}", *options]
    lines: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own module
        try:
            assert process.stdout is not None  # noqa: S101 - it is piped
            for line in process.stdout:
                print(line, end="", flush=True)
                lines.append(line)
        except BaseException:
            process.terminate()  # it ends what it started; nothing new where it has had the same Ctrl-C
            raise
    return process.returncode, lines


def main() -> None:
    """Run them, then say once more how each went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ORDER)}; {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that everything works")
    own, more = split(sys.argv[1:])
    options = parser.parse_args(own)
    more = [*(["--quick"] if options.quick else []), *more]
    end_by_signal()
    FIGURES.parent.mkdir(exist_ok=True)
    verdicts: list[str] = []
    failed = False
    for name in names(options.names):
        print(f"== {name} {time.strftime('%H:%M:%S')}", flush=True)
        code, lines = run(name, more)
        with FIGURES.open("a") as kept:
            kept.writelines(line for line in lines if line.startswith("{"))
        failed |= code != 0
        verdicts.append(lines[-1] if lines and not code else f"{name}: not measured\n")
    if len(verdicts) > 1:
        print("".join(["\n", *verdicts]), end="")
    sys.exit(failed)


def split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is for us, and what after `--` is for the benchmarks."""
    place = list(argv).index("--") if "--" in argv else len(argv)
    return list(argv[:place]), list(argv[place + 1 :])


if __name__ == "__main__":
    main()
