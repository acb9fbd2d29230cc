"""`hookstream hooks`: what is registered, and whether it is delivered, through the API as any client of it would."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from hookstream.processors.cli.console import CommandError, Json, note, say, say_json, say_table, shown_time
from hookstream.processors.cli.effective import wait_effective
from hookstream.processors.cli.listing import list_items
from hookstream.processors.cli.open_api import open_api

from . import deliveries

app = typer.Typer(help="Register, show and change hooks. Needs HOOKSTREAM_API_URL and HOOKSTREAM_API_TOKEN.")

# Some more than `whsec_` and 64 bytes in base64 take; what is longer is none.
_LONGEST_SECRET_CHARS = 200

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


@app.command("create")
def create(
    *,
    event: Annotated[list[str], typer.Option(help="An event, such as lead.new; repeat it, or '*' for every event.")],
    target: Annotated[str, typer.Option(metavar="URL", help="Where the deliveries are sent.")],
    client: Annotated[str | None, typer.Option(help="Whose hooks these will be; operators have to name it.")] = None,
    secret_file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A file with a secret that you have already, `whsec_…`; - is stdin."),
    ] = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Do not wait until every router works by the hooks, ten seconds at most.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Register a target for events, all of them or none, and print their secret, once.

    It ends when what is published from then on is delivered to them: when every router works by them.
    """
    wanted: dict[str, object] = {"events": event, "target": target}
    if client is not None:
        wanted["client"] = client
    if secret_file is not None:
        wanted["secret"] = _read_secret(secret_file)
    with open_api() as api:
        made = api.post("/hooks", {"hooks": wanted})
        _say_made(made, as_json=as_json)  # before it waits: the API gives the secret once
        if no_wait:
            return
        try:
            wait_effective(api, [int(hook["id"]) for hook in made["hooks"]], hint=" (--no-wait goes on at once)")
        except CommandError as exc:  # they are registered: a script that does it again would be refused
            note(f"registered, but whether every router works by it is not known: {exc}")


@app.command("change")
def change(
    hook_id: HookId,
    *,
    target: Annotated[
        str | None, typer.Option(metavar="URL", help="Where its deliveries are sent from now on, pending ones too.")
    ] = None,
    rate_limit: Annotated[
        float | None, typer.Option(metavar="PER_SECOND", help="Send at most so many deliveries a second.")
    ] = None,
    no_rate_limit: Annotated[bool, typer.Option("--no-rate-limit", help="Send as many as the endpoint bears.")] = False,
    as_json: Json = False,
) -> None:
    """Give a hook another target or rate limit; id, secret and pending deliveries stay."""
    if rate_limit is not None and no_rate_limit:
        message = "--rate-limit and --no-rate-limit contradict each other"
        raise typer.BadParameter(message)
    changes: dict[str, object] = {} if target is None else {"target": target}
    if rate_limit is not None or no_rate_limit:
        changes["rate_limit_per_second"] = rate_limit
    if not changes:
        message = "say what to change: --target, --rate-limit or --no-rate-limit"
        raise typer.BadParameter(message)
    with open_api() as api:
        _say_hook(api.patch(f"/hooks/{hook_id}", {"hook": changes})["hook"], as_json=as_json)


@app.command("delete")
def delete(
    hook_id: HookId,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete a hook and cancel its pending deliveries. To send them elsewhere, change its target instead."""
    with open_api() as api:
        hook = api.get(f"/hooks/{hook_id}")["hook"]
        if not yes:
            note(f"hook {hook_id} sends {hook['event']} of client {hook['client']['id']} to {hook['target']};")
            note("what is pending for it will be cancelled.")
            typer.confirm("Delete it?", abort=True, err=True)
        api.delete(f"/hooks/{hook_id}")
    if as_json:
        say_json({"id": hook_id, "deleted": True})
    else:
        say(f"hook {hook_id} is deleted; what was pending for it is cancelled")


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


def _say_made(made: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        say_json(made)
    else:
        rows = [(hook["id"], hook["client"]["id"], hook["event"], hook["target"]) for hook in made["hooks"]]
        say_table(("id", "client", "event", "target"), rows)
        say(f"secret  {made['secret']}")
    sys.stdout.flush()  # a pipe has it now


def _read_secret(path: str) -> str:
    """The secret in a file, without the end of its line.

    Raises:
        CommandError: it cannot be read.
    """
    try:
        if path == "-":
            return sys.stdin.readline(_LONGEST_SECRET_CHARS).strip()
        with Path(path).open(encoding="utf-8") as file:
            return file.readline(_LONGEST_SECRET_CHARS).strip()
    except (OSError, UnicodeDecodeError) as exc:
        message = f"the file of the secret cannot be read: {type(exc).__name__}"
        raise CommandError(message) from None


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
