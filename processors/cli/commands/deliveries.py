"""`hookstream deliveries`, and what `hookstream hooks` shows of attempts, through the API as any client of it would."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from hookstream.processors import wall_clock
from hookstream.processors.cli.console import CommandError, Json, note, say, say_json, say_table, shown_time
from hookstream.processors.cli.listing import list_items, list_pages
from hookstream.processors.cli.open_api import open_api
from hookstream.processors.cli.times import DURATION, TIME, duration_parser, parse_time
from hookstream.processors.deadline import Deadline

if TYPE_CHECKING:
    from hookstream.processors.cli.api_client import ApiClient

app = typer.Typer(
    help="Show the state of a delivery, and send it again. Needs HOOKSTREAM_API_URL and HOOKSTREAM_API_TOKEN."
)

DeliveryId = Annotated[
    str, typer.Argument(metavar="ID", help="The `webhook-id`, such as msg_711b1117d551609b1e5b19e83c7f5f11.")
]
Client = Annotated[str | None, typer.Option(help="Its client; with it, an operator's search is shorter.")]
_HEAD = ("started", "delivery", "concept", "attempt", "outcome", "status", "ms", "replay")
_LOOK_S = 0.3
_LONGEST_PAGE = 100  # the most that the API gives at once


@app.command("show")
def show(
    delivery_id: DeliveryId,
    *,
    client: Client = None,
    limit: Annotated[int, typer.Option(min=1, help="How many attempts to show, the newest first.")] = 50,
    as_json: Json = False,
) -> None:
    """Show the state of a delivery, and its attempts. One that was never attempted is searched in Kafka's log."""
    with open_api() as api:
        path, query = f"/deliveries/{delivery_id}", {"client": client}
        pages = list(list_pages(api, path, "attempts", query, limit=limit, longest_page=_LONGEST_PAGE))
    delivery = pages[0]["delivery"]
    attempts = [attempt for page in pages for attempt in page["attempts"]]
    if as_json:
        say_json({"delivery": delivery, "attempts": attempts})
        return
    say(f"{delivery['id']}  {_state(delivery)}")
    concept, arrived = delivery["concept"], shown_time(delivery["arrived_at_ms"])
    say(f"{delivery['event']} of {concept['namespace']} {concept['id']}, arrived {arrived}")
    say(f"hook {delivery['hook']['id']} of client {delivery['client']['id']}")
    if attempts:
        say("")
        say_attempts(attempts)


@app.command("resend")
def resend(delivery_id: DeliveryId, *, client: Client = None, as_json: Json = False) -> None:
    """Send a delivery again, whatever its state; it waits until nothing of its resource is pending."""
    with open_api() as api:
        sent = api.post(f"/deliveries/{delivery_id}/resend{'' if client is None else f'?client={quote(client)}'}", None)
    say_sent(sent["delivery"], as_json=as_json)


def list_attempts(
    hook_id: Annotated[int, typer.Argument(metavar="ID", min=1)],
    *,
    outcome: Annotated[
        str | None,
        typer.Option(help="Only those that ended so: failed, delivered, timeout, error-status, … as the list shows."),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help=f"Only those begun at or after {TIME}.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Only those begun before this time.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to show.")] = 50,
    as_json: Json = False,
) -> None:
    """List the requests that were made for a hook, the newest first."""
    now_ms = wall_clock.now_ms()
    query = {
        "outcome": outcome,
        "from_ms": None if since is None else parse_time(since, "--from", now_ms=now_ms),
        "to_ms": None if until is None else parse_time(until, "--to", now_ms=now_ms),
    }
    with open_api() as api:
        path = f"/hooks/{hook_id}/attempts"
        attempts = list(list_items(api, path, "attempts", query, limit=limit, longest_page=_LONGEST_PAGE))
    if as_json:
        say_json(attempts)
    else:
        say_attempts(attempts)


def ping(
    hook_id: Annotated[int, typer.Argument(metavar="ID", min=1)],
    *,
    wait: Annotated[
        float,
        typer.Option(
            metavar="DURATION",
            parser=duration_parser(),
            help=f"How long to wait for the answer: seconds, or {DURATION}; 0: do not wait.",
        ),
    ] = 20,
    as_json: Json = False,
) -> None:
    """Send a hook's target a test delivery, and show how it answers."""
    with open_api() as api:
        sent = api.post(f"/hooks/{hook_id}/ping", None)["delivery"]
        attempt = _first_attempt(api, sent["id"], wait) if wait else None
    if as_json:
        say_json({"delivery": sent, "attempt": attempt})
    elif attempt is None:
        say_sent(sent, as_json=False)
    else:
        say_attempts([attempt])
    if wait and attempt is None:
        raise CommandError(f"no answer within {wait:g} s; later: hookstream deliveries show {sent['id']}")
    if attempt is not None and attempt["outcome"] != "delivered":
        raise CommandError(f"the target did not take it: {attempt['outcome']}")


def say_sent(sent: Mapping[str, Any], *, as_json: bool) -> None:
    """What is on its way."""
    if as_json:
        say_json(sent)
        return
    say(sent["id"])
    note(f"on its way to hook {sent['hook']['id']} as {sent['job']}: hookstream deliveries show {sent['id']}")


def say_attempts(attempts: Sequence[Mapping[str, Any]]) -> None:
    """A line an attempt."""
    rows = [
        (
            shown_time(attempt["started_at_ms"]),
            attempt["delivery_id"],
            f"{attempt['concept']['namespace']} {attempt['concept']['id']}",
            "probe" if attempt["probe"] else attempt["number"],
            attempt["outcome"],
            attempt["status"],
            round(attempt["duration_ms"]),
            attempt["replay"],
        )
        for attempt in attempts
    ]
    say_table(_HEAD, rows)


def _first_attempt(api: ApiClient, delivery_id: str, wait_s: float) -> dict[str, Any] | None:
    deadline = Deadline.after(wait_s)
    while not deadline.over:
        time.sleep(_LOOK_S)
        attempts: list[dict[str, Any]] = api.get(f"/deliveries/{delivery_id}")["attempts"]
        if attempts:
            return attempts[-1]
    return None


def _state(delivery: Mapping[str, Any]) -> str:
    dead_letter = delivery["dead_letter"]
    if dead_letter is None:
        return str(delivery["state"])
    at = shown_time(dead_letter["died_at_ms"])
    return f"{delivery['state']} ({dead_letter['reason']}, {at}: {dead_letter['detail']})"
