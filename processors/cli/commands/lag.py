"""`hookstream lag`: the backlogs of endpoints, through the API as any client of it would."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hookstream.processors.cli.console import Json, as_cell, note, say, say_json, table_lines, terminal_width
from hookstream.processors.cli.listing import list_pages
from hookstream.processors.cli.open_api import open_api
from hookstream.processors.cli.times import DURATION, parse_duration_s, short_duration
from hookstream.subscriptions.choices import EndpointSort, EndpointState

if TYPE_CHECKING:
    from rich.text import Text

    from hookstream.processors.cli.api_client import ApiClient

_DEFAULT_LIMIT = 50
_LOOK_EVERY_S = 2.0
_HEAD = ("endpoint", "state", "behind", "oldest", "next attempt", "last success", "last error", "target")


def lag(
    *,
    client: Annotated[str | None, typer.Option(help="Only those of this client; operators see every client.")] = None,
    state: Annotated[EndpointState | None, typer.Option(help="Only those in this state.")] = None,
    older_than: Annotated[
        str | None,
        typer.Option(
            metavar="SECONDS", help=f"Only those whose oldest pending delivery is at least so old; or {DURATION}."
        ),
    ] = None,
    sort: Annotated[
        EndpointSort, typer.Option(help="What is first: the oldest pending delivery, or the largest backlog.")
    ] = EndpointSort.OLDEST,
    limit: Annotated[int, typer.Option(min=1, help="How many endpoints to show.")] = _DEFAULT_LIMIT,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Show the backlog of each endpoint: how many deliveries, since when, when the next is attempted. "~": an estimate.

    The numbers come from what the delivery workers have committed, also while none of them runs. Needs
    HOOKSTREAM_API_URL and HOOKSTREAM_API_TOKEN.
    """
    query: dict[str, object] = {
        "client": client,
        "state": None if state is None else state.value,
        "min_age_seconds": None if older_than is None else parse_duration_s(older_than, "--older-than"),
        "sort": sort.value,
    }
    with open_api() as api:

        def look() -> dict[str, Any]:
            return _look(api, query, limit)

        if watch:
            _watch(look, as_json=as_json)
        elif as_json:
            say_json(look())
        else:
            _say(look())


def _look(api: ApiClient, query: Mapping[str, object], limit: int) -> dict[str, Any]:
    """As many endpoints as are wanted; `more` says whether there are others."""
    pages = list(list_pages(api, "/endpoints", "endpoints", query, limit=limit))
    endpoints = [endpoint for page in pages for endpoint in page["endpoints"]]
    notes = {name: pages[-1].get(name, []) for name in ("unknown", "unrecorded")}  # an earlier API lacks the second
    return {"endpoints": endpoints, "more": pages[-1]["next_cursor"] is not None, **notes}


def _watch(look: Callable[[], dict[str, Any]], *, as_json: bool) -> None:
    """Look until interrupted: on a terminal in one place, else one look below the other, JSON a line each."""
    if as_json or not sys.stdout.isatty():
        while True:
            found = look()
            if as_json:
                say_json(found, indent=None)
            else:
                _say(found)
            sys.stdout.flush()
            time.sleep(_LOOK_EVERY_S)
    from rich.live import Live

    with Live(_screen(look()), auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(_LOOK_EVERY_S)
            live.update(_screen(look()), refresh=True)


def _say(found: Mapping[str, Any]) -> None:
    for line in lines(found, terminal_width()):
        say(line)
    for line in _notes(found):
        note(line)


def _screen(found: Mapping[str, Any]) -> Text:
    """The same for a terminal that is drawn again and again."""
    from rich.text import Text

    head, *others = map(as_cell, [*lines(found, terminal_width()), "", *_notes(found)])
    head.stylize("bold")
    return Text("\n").join([head, *others])


def lines(found: Mapping[str, Any], width: int | None) -> list[str]:
    """A line an endpoint; where that is too wide, a second one below it, with its last error and its target."""
    rows = list(_rows(found["endpoints"]))
    wide = table_lines(_HEAD, rows)
    if width is None or all(len(line) <= width for line in wide):
        return wide
    head, *narrow = table_lines(_HEAD[:-2], [row[:-2] for row in rows])
    below = [f"  {target}" if error == "-" else f"  {error}: {target}" for *_, error, target in rows]
    return [head, *(line for pair in zip(narrow, below, strict=True) for line in pair)]


def _rows(endpoints: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    now_ms = time.time_ns() // 1_000_000
    for endpoint in endpoints:
        behind = endpoint["behind"] + endpoint["replays_behind"]
        error = endpoint["last_error"]
        what = "-" if error is None else f"{error['status'] or error['result']} {ago(now_ms, error['at_ms'])}"
        yield (
            endpoint["id"],
            endpoint["state"],
            f"{'' if endpoint['behind_exact'] else '~'}{behind}",
            ago(now_ms, endpoint["oldest_undelivered_at_ms"]),
            _ahead(now_ms, endpoint["next_attempt_at_ms"]),
            ago(now_ms, endpoint["last_success_at_ms"]),
            what,
            "(unknown)" if endpoint["target"] is None else endpoint["target"].partition("?")[0],
        )


def _notes(found: Mapping[str, Any]) -> Iterator[str]:
    if found["more"]:
        yield "there are more: see --limit"
    for line in found["unknown"]:
        yield f"unknown: {line}"
    now_ms = time.time_ns() // 1_000_000
    for gap in found.get("unrecorded", ()):
        yield (
            f"unrecorded: {gap['attempts']} attempts of client {gap['client']['id']}, the last "
            f"{ago(now_ms, gap['last_at_ms'])} ago: what is said of its attempts may be out of date"
        )


def ago(now_ms: int, at_ms: int | None) -> str:
    """How long ago, in one unit: `90s`, `12m`, `5h`, `3d`; a dash where there is no time."""
    return "-" if at_ms is None else short_duration(max(0, now_ms - at_ms) / 1000)


def _ahead(now_ms: int, at_ms: int | None) -> str:
    if at_ms is None:
        return "-"
    return "now" if at_ms <= now_ms else f"in {short_duration((at_ms - now_ms) / 1000)}"
