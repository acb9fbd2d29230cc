"""How every benchmark is called: its options, full or `--quick`, its two lines of output, and its exit code."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.figures import Report
from benchmarks.stack import NotMeasuredError, end_by_signal
from benchmarks.usage import loop_ms, machine
from tests.support.processes import ProcessFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.figures import Figure

_STEADY = 1.2


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured, in full and in a quick run, which only shows that everything works."""

    name: str
    full: float
    quick: float
    text: str


def arguments(
    doc: str,
    sizes: Sequence[Size],
    argv: Sequence[str] | None = None,
    *,
    more: Callable[[argparse.ArgumentParser], None] | None = None,
) -> argparse.Namespace:
    """Parse a command line; a size that is not given is the full one, or the quick one with `--quick`."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that it works; bars mean nothing")
    for size in sizes:
        text = f"{size.text} ({size.full:,g}; quick {size.quick:,g})"
        parser.add_argument(f"--{size.name}", type=type(size.full), help=text)
    if more is not None:
        more(parser)
    options = parser.parse_args(argv)
    for size in sizes:
        name = size.name.replace("-", "_")
        if getattr(options, name) is None:
            setattr(options, name, type(size.full)(size.quick if options.quick else size.full))
    return options


def main(name: str, options: argparse.Namespace, measure: Callable[[], tuple[Sequence[Figure], Sequence[str]]]) -> None:
    """Measure, print a line of JSON and one for people; exit 1 only where nothing could be measured."""
    end_by_signal()
    setting = {
        key: value for key, value in vars(options).items() if value is not None and value is not False
    } | machine()
    before_ms = loop_ms()
    began = time.time()
    try:
        figures, remarks = measure()
    except (NotMeasuredError, ProcessFailedError) as error:
        sys.exit(f"{name}: not measured: {error}")
    setting["took_s"] = round(time.time() - began)
    after_ms = loop_ms()
    setting["loop_ms"] = [before_ms, after_ms]
    report = Report(
        benchmark=name, figures=figures, setting=setting, remarks=[*remarks, *changed_speed(before_ms, after_ms)]
    )
    print(report.json_line())
    print(report.line(), flush=True)


def changed_speed(before_ms: float, after_ms: float) -> list[str]:
    """What is to be said where a core was not as fast at the end as it was at the beginning."""
    if max(before_ms, after_ms) <= _STEADY * min(before_ms, after_ms):
        return []
    return [f"the machine has changed: a loop took {before_ms:g} ms of CPU before, {after_ms:g} ms after"]
