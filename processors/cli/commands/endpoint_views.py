"""`hookstream endpoints`: which endpoints there are, how each is doing, what operators want of it, through the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from hookstream.processors.cli.console import Json, say, say_json, say_table, shown_time
from hookstream.processors.cli.listing import list_items
from hookstream.processors.cli.open_api import open_api
from hookstream.subscriptions.choices import EndpointState

from .endpoints import Endpoint, Hook, check_named, endpoint_name, say_settings

app = typer.Typer(
    help="Show endpoints (a client's hooks that share a target). Needs HOOKSTREAM_API_URL and HOOKSTREAM_API_TOKEN."
)


@app.command("list")
def list_(
    *,
    client: Annotated[str | None, typer.Option(help="Only those of this client; operators see every client.")] = None,
    state: Annotated[EndpointState | None, typer.Option(help="Only those in this state.")] = None,
    as_json: Json = False,
) -> None:
    """List endpoints, those with the oldest pending delivery first; `hookstream lag` shows more of their backlogs."""
    query = {"client": client, "state": None if state is None else state.value}
    with open_api() as api:
        endpoints = list(list_items(api, "/endpoints", "endpoints", query))
    if as_json:
        say_json(endpoints)
        return
    rows = [
        (each["id"], each["client"]["id"], each["state"], len(each["hooks"]), _behind(each), each["target"])
        for each in endpoints
    ]
    say_table(("endpoint", "client", "state", "hooks", "behind", "target"), rows)


@app.command("show")
def show(*, endpoint: Endpoint = None, hook: Hook = None, as_json: Json = False) -> None:
    """Show an endpoint: its state, its backlog, its last answers and its hooks."""
    check_named(endpoint, hook)
    with open_api() as api:
        found = api.get(f"/endpoints/{endpoint_name(api, endpoint, hook)}")["endpoint"]
    if as_json:
        say_json(found)
        return
    error = found["last_error"]
    failed = "-" if error is None else f"{shown_time(error['at_ms'])} {error['result']} {error['status'] or ''}".strip()
    shown = {
        "endpoint": found["id"],
        "client": found["client"]["id"],
        "target": found["target"] or "-",
        "state": found["state"],
        "behind": _behind(found),
        "oldest": shown_time(found["oldest_undelivered_at_ms"]),
        "next attempt": shown_time(found["next_attempt_at_ms"]),
        "failing since": shown_time(found["failing_since_ms"]),
        "last success": shown_time(found["last_success_at_ms"]),
        "last error": failed,
    }
    for name, value in shown.items():
        say(f"{name:13}  {value}")
    say("")
    hooks = [(each["id"], each["event"], each["state"], each["behind"]) for each in found["hooks"]]
    say_table(("hook", "event", "state", "behind"), hooks)


@app.command("settings")
def settings(*, endpoint: Endpoint = None, hook: Hook = None, as_json: Json = False) -> None:
    """Show what operators want of an endpoint; `hookstream pause`, `resume`, `drain` and `skip` change it."""
    check_named(endpoint, hook)
    with open_api() as api:
        wanted = api.get(f"/endpoints/{endpoint_name(api, endpoint, hook)}/settings")["settings"]
    if as_json:
        say_json(wanted)
    else:
        say_settings(wanted)


@app.command("rotate-secret")
def rotate_secret(*, endpoint: Endpoint = None, hook: Hook = None, as_json: Json = False) -> None:
    """Give all hooks of an endpoint one new secret and print it, once; the old ones sign beside it for 24 hours."""
    check_named(endpoint, hook)
    with open_api() as api:
        rotated = api.post(f"/endpoints/{endpoint_name(api, endpoint, hook)}/secret/rotate", None)["endpoint"]
    if as_json:
        say_json(rotated)
        return
    say_table(("hook", "event"), [(each["id"], each["event"]) for each in rotated["hooks"]])
    say(f"secret  {rotated['secret']}")
    say(f"the old secrets are used until {shown_time(rotated['old_secrets_until_ms'])}")


def _behind(endpoint: Mapping[str, Any]) -> str:
    """The backlog, replays included; estimated where it has a tilde."""
    count = endpoint["behind"] + endpoint["replays_behind"]
    return str(count) if endpoint["behind_exact"] else f"~{count}"
