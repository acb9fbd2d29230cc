"""`hookstream dead-letters`: what could not be delivered, and sending it again, through the API."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from hookstream.processors import wall_clock
from hookstream.processors.cli.console import (
    CommandError,
    Json,
    can_be_asked,
    note,
    say,
    say_json,
    say_table,
    shown_time,
)
from hookstream.processors.cli.json_shapes import client_object, with_client
from hookstream.processors.cli.listing import Item, list_items
from hookstream.processors.cli.open_api import open_api
from hookstream.processors.cli.progress import counting
from hookstream.processors.cli.times import TIME, parse_time

if TYPE_CHECKING:
    from hookstream.processors.cli.api_client import ApiClient

app = typer.Typer(
    help="Show what could not be delivered, and send it again. Needs HOOKSTREAM_API_URL and HOOKSTREAM_API_TOKEN."
)

# More than this is asked about first.
_ASK_ABOVE = 1000
_BATCH = 100
_FAILED = 1
# What is kept of each dead letter that is to be resent: there may be a million.
_NEEDED = ("id", "client", "hook_id", "resendable")

Client: TypeAlias = Annotated[str | None, typer.Option(help="Only those of this client.")]
Hook: TypeAlias = Annotated[int | None, typer.Option(min=1, help="Only those of this hook.")]
Event: TypeAlias = Annotated[str | None, typer.Option(help="Only those of this event.")]
Reason: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Of this reason: schedule, expired, skipped, refused, undecodable, unroutable or too-large."),
]
Since: TypeAlias = Annotated[str | None, typer.Option(metavar="TIME", help=f"Only those kept at or after {TIME}.")]
Until: TypeAlias = Annotated[str | None, typer.Option(metavar="TIME", help="Only those kept before this time.")]


@app.command("list")
def list_(  # noqa: PLR0913 - an option each
    *,
    client: Client = None,
    hook: Hook = None,
    event: Event = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to show.")] = 100,
    as_json: Json = False,
) -> None:
    """List dead letters by partition, in each from the oldest on."""
    query = _query(client=client, hook=hook, event=event, reason=reason, since=since, until=until)
    with open_api() as api:
        found = list(list_items(api, "/dead-letters", "dead_letters", query, limit=limit))
    if as_json:
        say_json([with_client(dead_letter) for dead_letter in found])
        return
    head = ("id", "kept", "client", "hook", "event", "reason", "status", "delivery", "detail")
    say_table(head, [_row(dead_letter) for dead_letter in found])


@app.command("show")
def show(dead_letter: Annotated[str, typer.Argument(metavar="ID")], *, as_json: Json = False) -> None:
    """Show a dead letter, with the start of its last answer."""
    with open_api() as api:
        found = api.get(f"/dead-letters/{dead_letter}")["dead_letter"]
    if as_json:
        say_json(with_client(found))
        return
    width = max(len(name) for name in found)
    for name, value in found.items():
        shown = shown_time(value) if name.endswith("_ms") else value
        say(f"{name.removesuffix('_ms').ljust(width)}  {'-' if shown is None or shown == '' else shown}")


@app.command("resend")
def resend(  # noqa: PLR0913 - an option each
    dead_letters: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Resend these; or give a filter.")
    ] = None,
    *,
    client: Client = None,
    hook: Hook = None,
    event: Event = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    everything: Annotated[bool, typer.Option("--all", help="Resend every dead letter.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count per hook, and send nothing.")] = False,
    rate: Annotated[float | None, typer.Option(min=0.01, help="How many to send in a second, at most.")] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help=f"Do not ask; else above {_ASK_ABOVE:,}, or for several clients.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Send dead letters again, with the same webhook-ids, after the first deliveries that were routed by now.

    They stay among the dead letters: resending twice delivers twice. Ctrl-C stops between two batches and says what was
    sent. What cannot be read cannot be resent: it is counted, and `show` says why.
    """
    query = _query(client=client, hook=hook, event=event, reason=reason, since=since, until=until)
    if bool(dead_letters) + bool(query) + everything != 1:
        message = "say which: ids, a filter, or --all"
        raise typer.BadParameter(message)
    with open_api() as api:
        chosen = (
            (_one(api, dead_letter) for dead_letter in dead_letters)
            if dead_letters
            else list_items(api, "/dead-letters", "dead_letters", query)
        )
        found = [{name: dead_letter[name] for name in _NEEDED} for dead_letter in chosen]
        fit = [dead_letter for dead_letter in found if dead_letter["resendable"]]
        if dry_run:
            _say_plan(fit, len(found) - len(fit), as_json=as_json)
            return
        if not yes and _must_ask(fit):
            _say_plan(fit, len(found) - len(fit), as_json=False, say=note)
            typer.confirm(f"Send {len(fit):,} again?", abort=True, err=True)
        sent = _send(api, [dead_letter["id"] for dead_letter in fit], rate)
    left = len(fit) - sent
    if as_json:
        say_json({"resent": sent, "unfit": len(found) - len(fit), "left": left})
    else:
        say(f"resent {sent:,}, cannot be resent {len(found) - len(fit):,}, left {left:,}")
    if left:
        raise typer.Exit(_FAILED)


def _must_ask(fit: Sequence[Item]) -> bool:
    """Whether it is much, or a person at a terminal is about to send to more than one client."""
    return len(fit) > _ASK_ABOVE or (can_be_asked() and len({dead_letter["client"] for dead_letter in fit}) > 1)


def _send(api: ApiClient, ids: Sequence[str], rate: float | None) -> int:
    """Send in batches, oldest first; give how many were sent. Ctrl-C, or an answer that is none, ends it."""
    sent = 0
    size = _BATCH if rate is None else max(1, min(_BATCH, int(rate)))
    next_at = time.monotonic()
    try:
        with counting("dead letters", len(ids)) as progress:
            for start in range(0, len(ids), size):
                time.sleep(max(0.0, next_at - time.monotonic()))
                batch = ids[start : start + size]
                next_at = time.monotonic() + (0.0 if rate is None else len(batch) / rate)
                answer = api.post("/dead-letters/resend", {"ids": batch})
                sent += len(answer["resent"])
                progress(start + len(batch))
    except KeyboardInterrupt:
        note("stopped; the last batch may have been sent")
    except CommandError as exc:
        note(f"stopped: {exc}; the last batch may have been sent")
    if sent < len(ids):
        note(f"the first that was not sent: {ids[sent]}")
    return sent


def _say_plan(fit: Sequence[Item], unfit: int, *, as_json: bool, say: Callable[[str], None] = say) -> None:
    counts = Counter((dead_letter["client"], dead_letter["hook_id"]) for dead_letter in fit)
    if as_json:
        hooks = [
            {"client": client_object(client), "hook_id": hook, "dead_letters": count}
            for (client, hook), count in counts.items()
        ]
        say_json({"resendable": len(fit), "unfit": unfit, "hooks": hooks})
        return
    for (client, hook), count in sorted(counts.items(), key=str):
        say(f"client {client}, hook {hook}: {count:,}")
    say(f"{len(fit):,} can be sent again, {unfit:,} cannot; nothing was sent")


def _one(api: ApiClient, dead_letter: str) -> Item:
    found: Item = api.get(f"/dead-letters/{dead_letter}")["dead_letter"]
    return found


def _query(
    *,
    client: str | None,
    hook: int | None,
    event: str | None,
    reason: str | None,
    since: str | None,
    until: str | None,
) -> dict[str, object]:
    """The filter as the API takes it; what is None is left out.

    Raises:
        BadParameter: a time is none.
    """
    now_ms = wall_clock.now_ms()
    given = {
        "client": client,
        "hook": hook,
        "event": event,
        "reason": reason,
        "since_ms": None if since is None else parse_time(since, "--since", now_ms=now_ms),
        "until_ms": None if until is None else parse_time(until, "--until", now_ms=now_ms),
    }
    return {name: value for name, value in given.items() if value is not None}


def _row(dead_letter: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        dead_letter["id"],
        shown_time(dead_letter["kept_at_ms"]),
        dead_letter["client"],
        dead_letter["hook_id"],
        dead_letter["event"],
        dead_letter["reason"],
        dead_letter["last_status"],
        dead_letter["delivery_id"],
        dead_letter["detail"],
    )
