"""`hookstream audit`: who did what, through the API."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from hookstream.processors import wall_clock
from hookstream.processors.cli.console import (
    fitted,
    note,
    say,
    say_json,
    shown_time,
    table_lines,
    terminal_width,
)
from hookstream.processors.cli.listing import list_pages
from hookstream.processors.cli.open_api import open_api
from hookstream.processors.cli.times import TIME, parse_time
from hookstream.processors.printable import printable

_DEFAULT_LIMIT = 50
_HEAD = ("time", "actor", "action", "client", "hook", "detail")
# Columns of an actor where lines have to fit: the other columns take 60 of 80.
_ACTOR_COLUMNS = 20


def audit(  # noqa: PLR0913 - an option each
    *,
    client: Annotated[str | None, typer.Option(help="Only what concerns this client; operators see all.")] = None,
    hook: Annotated[int | None, typer.Option(min=1, help="Only what concerns this hook.")] = None,
    actor: Annotated[str | None, typer.Option(help="Only of this actor, as it is shown; or token:ID.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this, such as hook.delete.")] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help=f"Only at or after {TIME}.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Only before this time.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help=f"How many to show; {_DEFAULT_LIMIT} if not given, all with --json.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs, a line an entry.")] = False,
) -> None:
    """Show who did what, the newest first. Needs HOOKSTREAM_API_URL and HOOKSTREAM_API_TOKEN."""
    now_ms = wall_clock.now_ms()
    query: dict[str, object] = {
        "client": client,
        "hook": hook,
        "actor": actor,
        "action": action,
        "since_ms": None if since is None else parse_time(since, "--since", now_ms=now_ms),
        "until_ms": None if until is None else parse_time(until, "--until", now_ms=now_ms),
    }
    with open_api() as api:
        if as_json:
            for page in list_pages(api, "/audit", "audit", query, limit=limit):
                for entry in page["audit"]:
                    say_json(entry, indent=None)
            return
        pages = list(list_pages(api, "/audit", "audit", query, limit=limit or _DEFAULT_LIMIT))
    for line in lines([entry for page in pages for entry in page["audit"]], terminal_width()):
        say(line)
    if pages[-1]["next_cursor"] is not None:
        note("there are more: see --limit")


def lines(entries: Sequence[Mapping[str, Any]], width: int | None) -> list[str]:
    """A line an entry; where that is too wide, a second one below it, with the details."""
    rows = [_row(entry) for entry in entries]
    wide = table_lines(_HEAD, rows)
    if width is None or all(len(line) <= width for line in wide):
        return wide
    short = [(row[0], *fitted([row[1]], _ACTOR_COLUMNS), *row[2:-1]) for row in rows]
    head, *narrow = table_lines(_HEAD[:-1], short)
    shown = [head]
    for line, row in zip(narrow, rows, strict=True):
        shown += [line, f"  {row[-1]}"] if row[-1] else [line]
    return list(fitted(shown, width))


def _row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        shown_time(entry["at_ms"]),
        printable(entry["actor"]),
        entry["action"],
        "-" if entry["client"] is None else printable(str(entry["client"]["id"])),
        "-" if entry["hook"] is None else str(entry["hook"]["id"]),
        printable(_detail(entry)),
    )


def _detail(entry: Mapping[str, Any]) -> str:
    """The event, and what else is known, as `name=value`."""
    known = {"event": entry["event"], **entry["detail"]}
    return " ".join(f"{name}={_text(value)}" for name, value in known.items() if value is not None)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
