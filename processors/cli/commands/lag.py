"""`hookstream lag`: the backlogs of endpoints, through the API as any client of it would."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hookstream.processors import wall_clock
from hookstream.processors.cli.console import Json, as_cell, note, say, say_json, say_styled, terminal_width
from hookstream.processors.cli.listing import list_pages
from hookstream.processors.cli.open_api import open_api
from hookstream.processors.cli.times import DURATION, parse_duration_s
from hookstream.subscriptions.choices import EndpointSort, EndpointState

from . import lag_view

if TYPE_CHECKING:
    from rich.text import Text

    from hookstream.processors.cli.api_client import ApiClient

_DEFAULT_LIMIT = 50
_LOOK_EVERY_S = 2.0


def lag(
    *,
    client: Annotated[str | None, typer.Option(help="Only those of this client; operators see every client.")] = None,
    state: Annotated[EndpointState | None, typer.Option(help="Only those in this state.")] = None,
    older_than: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help=f"Only those whose oldest pending delivery is at least so old: seconds, or {DURATION}.",
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

    Below are the time, and the totals of all endpoints that the token may see, or of --client. The numbers come from
    what the delivery workers have committed, also while none of them runs. Colours are for terminals; NO_COLOR=1 turns
    them off. Needs HOOKSTREAM_API_URL and HOOKSTREAM_API_TOKEN.
    """
    query: dict[str, object] = {
        "client": client,
        "state": None if state is None else state.value,
        "min_age_seconds": None
        if older_than is None
        else parse_duration_s(older_than.removeprefix("-"), "--older-than"),
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
    """As many endpoints as are wanted, and the totals of all; `more` says whether there are others."""
    pages = list(list_pages(api, "/endpoints", "endpoints", query, limit=limit, first_page={"totals": "true"}))
    endpoints = [endpoint for page in pages for endpoint in page["endpoints"]]
    notes = {name: pages[-1].get(name, []) for name in ("unknown", "unrecorded")}  # an earlier API lacks the second
    totals = pages[0].get("totals")  # and this
    more = pages[-1]["next_cursor"] is not None
    return {"at_ms": wall_clock.now_ms(), "endpoints": endpoints, "more": more, "totals": totals, **notes}


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
    """The table, then the totals, which a long table does not scroll away."""
    width = terminal_width()
    for line in lag_view.table(found, width, now_ms=found["at_ms"]):
        say_styled(line.text if width is None else line.styled())
    for text in lag_view.summary(found, width, now_ms=found["at_ms"]):
        say(text)
    for text in lag_view.notes(found, now_ms=found["at_ms"]):
        note(text)


def _screen(found: Mapping[str, Any]) -> Text:
    """The same for a terminal that is drawn again and again: the totals are first, as what does not fit is below."""
    from rich.text import Text

    width, now_ms = terminal_width(), found["at_ms"]
    above = [as_cell(text) for text in lag_view.summary(found, width, now_ms=now_ms)]
    table = [line.styled() for line in lag_view.table(found, width, now_ms=now_ms)]
    below = [as_cell(text) for text in ("", *lag_view.notes(found, now_ms=now_ms))]
    return Text("\n").join([*above, as_cell(""), *table, *below])
