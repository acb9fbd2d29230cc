"""What commands print: results on stdout, everything that is not a result on stderr."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, TypeAlias

import typer

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Wait: TypeAlias = Annotated[
    float, typer.Option("--wait", metavar="SECONDS", min=0, help="How long to wait for what is away.")
]
DEFAULT_WAIT_S = 30.0


class CommandError(Exception):
    """A command failed for a reason that only the command line knows; the message is one line."""


def say(text: str) -> None:
    """A result."""
    typer.echo(text)


def note(text: str) -> None:
    """Something that a person may want to know, and no program reads."""
    typer.echo(text, err=True)


def say_json(value: object) -> None:
    """A result for programs."""
    typer.echo(json.dumps(value, indent=2))


def complain(text: str, code: int) -> int:
    """One line of error; gives the exit code back."""
    typer.echo(f"hookstream: {text}", err=True)
    return code


def say_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Aligned columns, as wide as they have to be; the last one is left ragged."""
    cells = [list(head), *([("" if cell is None else str(cell)) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for row in cells:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def shown_time(unix_ms: int | None) -> str:
    """UTC to the second; a dash where there is none."""
    return "-" if unix_ms is None else datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
