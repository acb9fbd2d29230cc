"""What commands print: results on stdout, everything that is not a result on stderr.

All of it goes through here, and nothing that comes from outside (endpoints, integrators, other parts, files) reaches
the terminal as it is: `printable` shows what a terminal would obey, `as_cell` keeps markup from being read into it.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from hookstream.processors.printable import printable

from .times import DURATION, duration_parser

if TYPE_CHECKING:
    from rich.text import Text

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Wait: TypeAlias = Annotated[
    float,
    typer.Option(
        "--wait",
        metavar="DURATION",
        parser=duration_parser(),
        help=f"How long to wait for Kafka, the registry or the database: seconds, or {DURATION}.",
    ),
]
DEFAULT_WAIT_S = 30.0


class CommandError(Exception):
    """A command failed for a reason that only the command line knows; the message is one line."""


def say(text: str) -> None:
    """A result, in one line."""
    typer.echo(printable(text))


def say_styled(line: Text | str) -> None:
    """A result, in one line; parts of `as_cell` have their styles on a terminal, and NO_COLOR is respected."""
    if isinstance(line, str) or not sys.stdout.isatty():
        say(str(line))
        return
    from rich.console import Console

    Console(file=sys.stdout, highlight=False).print(line, soft_wrap=True)


def note(text: str) -> None:
    """One line that a person may want to know, and no program reads."""
    typer.echo(printable(text), err=True)


def say_json(value: object, *, indent: int | None = 2) -> None:
    """A result for programs, in ASCII; without `indent` in one line."""
    typer.echo(json.dumps(value, indent=indent))


def complain(text: str, code: int) -> int:
    """One line of error; gives the exit code back."""
    note(f"hookstream: {' '.join(text.split())}")
    return code


def as_cell(value: object, style: str = "") -> Text:
    """Text for a part of rich's, which would take a plain string for its own markup; `style` is our own."""
    from rich.text import Text

    return Text(printable(str(value)), style)


def escape_unencodable() -> None:
    """Let streams show as escapes what their encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def say_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print aligned columns."""
    for line in table_lines(head, rows):
        say(line)


def table_lines(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Aligned columns, as wide as they have to be; the last one is left ragged. Printable."""
    cells = [list(head), *([("" if cell is None else printable(str(cell))) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def terminal_width() -> int | None:
    """Columns of the terminal; None where there is none, and lines are for programs."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def can_be_asked() -> bool:
    """Whether a person at a terminal may answer."""
    return sys.stdin.isatty()


def fitted(lines: Iterable[str], columns: int | None) -> Iterator[str]:
    """Lines that a terminal shows in one: what is too much ends in an ellipsis."""
    for line in lines:
        yield line if columns is None or len(line) <= columns else f"{line[: columns - 1]}…"


def shown_day(unix_ms: int) -> str:
    """The day in UTC, for tables that have no place for the time."""
    return shown_time(unix_ms).partition("T")[0]


def shown_time(unix_ms: int | None) -> str:
    """UTC to the second; a dash where there is none, the number where no calendar has it."""
    if unix_ms is None:
        return "-"
    try:
        return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{unix_ms} ms"
