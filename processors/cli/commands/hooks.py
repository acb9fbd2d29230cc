"""`hookstream hooks`: what is registered, and whether it is delivered, through the API as any client of it would."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from hookstream.processors.cli.console import Json, say, say_json, say_table, shown_time
from hookstream.processors.cli.listing import list_items
from hookstream.processors.cli.open_api import open_api

from . import deliveries

app = typer.Typer(help="Show, ping, disable and enable hooks. Needs HOOKSTREAM_API_URL and HOOKSTREAM_API_TOKEN.")

HookId = Annotated[int, typer.Argument(metavar="ID", min=1)]


class Backlog(StrEnum):
    """What is done with a hook's pending deliveries."""

    RESUME = "resume"
    SKIP = "skip"


@app.command("list")
def list_(
    *,
    client: Annotated[str | None, typer.Option(help="Only those of this client; operators see every client.")] = None,
    event: Annotated[str | None, typer.Option(help="Only those of this event.")] = None,
    as_json: Json = False,
) -> None:
    """List hooks in the order of their creation."""
    with open_api() as api:
        hooks = list(list_items(api, "/hooks", "hooks", {"client": client, "event": event}))
    if as_json:
        say_json(hooks)
        return
    rows = [(hook["id"], hook["client"]["id"], hook["event"], hook["state"], hook["target"]) for hook in hooks]
    say_table(("id", "client", "event", "state", "target"), rows)


@app.command("show")
def show(hook_id: HookId, *, as_json: Json = False) -> None:
    """Show a hook; `effective` says whether every router uses it already."""
    with open_api() as api:
        _say_hook(api.get(f"/hooks/{hook_id}")["hook"], as_json=as_json)


@app.command("disable")
def disable(hook_id: HookId, *, as_json: Json = False) -> None:
    """Stop the deliveries of a hook; events that arrive meanwhile stay pending, for as long as Kafka has them."""
    with open_api() as api:
        _say_hook(api.post(f"/hooks/{hook_id}/disable", None)["hook"], as_json=as_json)


@app.command("enable")
def enable(
    hook_id: HookId,
    *,
    backlog: Annotated[
        Backlog,
        typer.Option(help="resume: deliver everything that is pending; skip: begin with what arrives from now on."),
    ],
    as_json: Json = False,
) -> None:
    """Deliver for a hook again, also where hookstream disabled it (410, or five days of failure)."""
    with open_api() as api:
        _say_hook(api.post(f"/hooks/{hook_id}/enable", {"backlog": backlog.value})["hook"], as_json=as_json)


@app.command("rotate-secret")
def rotate_secret(hook_id: HookId, *, as_json: Json = False) -> None:
    """Give a hook a new secret and print it, once; for 24 hours requests are signed with the old one too."""
    with open_api() as api:
        _say_hook(api.post(f"/hooks/{hook_id}/secret/rotate", None)["hook"], as_json=as_json)


app.command("attempts")(deliveries.list_attempts)
app.command("ping")(deliveries.ping)


def _say_hook(hook: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        say_json(hook)
        return
    shown = {**hook, "client": hook["client"]["id"]}
    width = max(len(name) for name in shown)
    for name, value in shown.items():
        say(f"{name.removesuffix('_ms').ljust(width)}  {_text(name, value)}")


def _text(name: str, value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return shown_time(value) if isinstance(value, int) and name.endswith("_ms") else str(value)
