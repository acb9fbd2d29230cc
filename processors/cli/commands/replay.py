"""`hookstream replay`: a window of the log again. Counted first, shown, then sent by the replayer, and watched.

The replay lives in the deployment, not in this command: whoever ends the command leaves the replay as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hookstream.processors import wall_clock
from hookstream.processors.cli.console import (
    CommandError,
    Json,
    note,
    say,
    say_json,
    say_table,
    shown_time,
    terminal_width,
)
from hookstream.processors.cli.json_shapes import with_client
from hookstream.processors.cli.listing import list_items
from hookstream.processors.cli.open_api import open_api
from hookstream.processors.cli.times import TIME, parse_time
from hookstream.schemas.ids import is_id
from hookstream.subscriptions.choices import ReplayOnly, ReplaySource

from .replay_plan import ASK_ABOVE, agreed, plan_lines

if TYPE_CHECKING:
    from hookstream.processors.cli.api_client import ApiClient

app = typer.Typer(
    help="Send a window of the log again. Needs HOOKSTREAM_API_URL and HOOKSTREAM_API_TOKEN, and a running replayer.",
    invoke_without_command=True,
)

ReplayId = Annotated[int, typer.Argument(metavar="ID", min=1)]


@app.callback()
def replay(  # noqa: PLR0913  # what a command line may say
    ctx: typer.Context,
    *,
    from_: Annotated[str | None, typer.Option("--from", metavar="TIME", help=f"Begin of the window: {TIME}.")] = None,
    to: Annotated[
        str, typer.Option("--to", metavar="TIME", help="End of the window, which it does not include.")
    ] = "now",
    client: Annotated[str | None, typer.Option(help="Only this client; operators may replay every client.")] = (None),
    hook: Annotated[int | None, typer.Option(min=1, help="Only this hook.")] = None,
    event: Annotated[str | None, typer.Option(help="Only this event.")] = None,
    namespace: Annotated[str | None, typer.Option(help="Only events of this namespace.")] = None,
    resource: Annotated[str | None, typer.Option(metavar="NAMESPACE:ID", help="Only this resource.")] = None,
    source: Annotated[
        ReplaySource,
        typer.Option(help="events: routed again, to the hooks of today; deliveries: what was routed then."),
    ] = ReplaySource.EVENTS,
    only: Annotated[
        ReplayOnly,
        typer.Option(
            help="undelivered: never answered 2xx; failed: tried, and never answered 2xx; by the attempt log."
        ),
    ] = ReplayOnly.ALL,
    rate: Annotated[float, typer.Option(min=0.01, help="Deliveries a second, in total.")] = 1000.0,
    rate_per_endpoint: Annotated[float, typer.Option(min=0.01, help="Deliveries a second for each endpoint.")] = 100.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count, send nothing, and leave no replay that waits.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help=f"Do not ask; else above {ASK_ABOVE:,}, or for several clients.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Count what a window would send, show it, and send it. Ctrl-C leaves the replay running."""
    if ctx.invoked_subcommand is not None:
        return
    if from_ is None:
        message = "needs --from, or a command: list, show, pause, resume, cancel"
        raise typer.BadParameter(message, ctx)
    now_ms = wall_clock.now_ms()
    asked = {
        "from_ms": parse_time(from_, "--from", now_ms=now_ms),
        "to_ms": None if to == "now" else parse_time(to, "--to", now_ms=now_ms),
        "client": client,
        "hook_id": hook,
        "event": event,
        "source": source.value,
        "only": only.value,
        "rate_per_second": rate,
        "rate_per_second_per_endpoint": rate_per_endpoint,
        **_resource(namespace, resource),
    }
    with open_api() as api:
        found = api.post("/replays", {"replay": asked})["replay"]
        found = _counted(api, found, dry_run=dry_run)
        if found["state"] == "failed":
            message = f"replay {found['id']} failed: {found['reason']}"
            raise CommandError(message)
        if dry_run or not as_json:
            _say_plan(found, as_json=as_json)
        if dry_run:
            note("nothing was sent, and nothing waits: the same command without --dry-run counts again")
            return
        if found["state"] != "planned" or not agreed(api, found, yes=yes):
            if as_json:
                say_json(with_client(api.get(f"/replays/{found['id']}")["replay"]))
            return
        found = api.patch(f"/replays/{found['id']}", {"replay": {"state": "running"}})["replay"]
        _say_end(_watched(api, found, "running"), as_json=as_json)


@app.command("list")
def list_(
    *,
    client: Annotated[str | None, typer.Option(help="Only those of this client; operators see every client.")] = None,
    state: Annotated[str | None, typer.Option(help="Only those in this state.")] = None,
    as_json: Json = False,
) -> None:
    """List replays, the newest first."""
    with open_api() as api:
        replays = list(list_items(api, "/replays", "replays", {"client": client, "state": state}))
    if as_json:
        say_json([with_client(each) for each in replays])
        return
    rows = [
        (
            each["id"],
            each["state"],
            _or_dash(each["client"]),
            shown_time(each["from_ms"]),
            shown_time(each["to_ms"]),
            each["progress"]["sent"],
            _or_dash((each["count"] or {}).get("deliveries")),
        )
        for each in replays
    ]
    say_table(("id", "state", "client", "from", "to", "sent", "of"), rows)


@app.command("show")
def show(replay_id: ReplayId, *, as_json: Json = False) -> None:
    """Show a replay, and how far it is."""
    with open_api() as api:
        _say_replay(api.get(f"/replays/{replay_id}")["replay"], as_json=as_json)


@app.command("pause")
def pause(replay_id: ReplayId, *, as_json: Json = False) -> None:
    """Send nothing more until it is resumed; what was sent is delivered."""
    with open_api() as api:
        _say_replay(api.patch(f"/replays/{replay_id}", {"replay": {"state": "paused"}})["replay"], as_json=as_json)


@app.command("resume")
def resume(replay_id: ReplayId, *, as_json: Json = False) -> None:
    """Let a replay run that was paused, or only counted, and watch it. Ctrl-C leaves it running."""
    with open_api() as api:
        found = api.patch(f"/replays/{replay_id}", {"replay": {"state": "running"}})["replay"]
        _say_end(_watched(api, found, "running"), as_json=as_json)


@app.command("cancel")
def cancel(replay_id: ReplayId, *, as_json: Json = False) -> None:
    """End a replay; what was sent is delivered."""
    with open_api() as api:
        api.delete(f"/replays/{replay_id}")
        found = api.get(f"/replays/{replay_id}")["replay"]
    if as_json:
        say_json(with_client(found))
    else:
        say(f"replay {replay_id}: {found['state']}; the {found['progress']['sent']:,} that were sent are delivered")


def _counted(api: ApiClient, found: dict[str, Any], *, dry_run: bool) -> dict[str, Any]:
    """Watch it being counted; a dry run leaves it cancelled, also where it is interrupted."""
    if not dry_run:
        return _watched(api, found, "counting")
    from .replay_watch import watch

    def look() -> dict[str, Any]:
        replay: dict[str, Any] = api.get(f"/replays/{found['id']}")["replay"]
        return replay

    try:
        watch(look, found, "counting")
    finally:
        if look()["state"] in ("counting", "planned"):
            api.delete(f"/replays/{found['id']}")
    return look()


def _watched(api: ApiClient, found: dict[str, Any], state: str) -> dict[str, Any]:
    """Watch it while it is in that state; an interrupt leaves it there, and says so."""
    from .replay_watch import watch

    try:
        return watch(lambda: api.get(f"/replays/{found['id']}")["replay"], found, state)
    except KeyboardInterrupt:
        goes_on = "is counted, and nothing sent" if state == "counting" else "goes on"
        note(f"replay {found['id']} {goes_on}: see `hookstream replay show|pause|cancel {found['id']}`")
        raise


def _say_plan(found: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        say_json(with_client(found))
        return
    for line in plan_lines(found, terminal_width()):
        say(line)


def _say_end(found: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        say_json(with_client(found))
    else:
        say(f"replay {found['id']}: {found['state']}, sent {found['progress']['sent']:,}")
    if found["state"] in ("failed", "cancelled"):
        message = f"replay {found['id']} {found['state']}: {found['reason'] or 'it was ended by a request'}"
        raise CommandError(message)


def _say_replay(found: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        say_json(with_client(found))
        return
    count = found["count"] or {}
    shown = {
        name: value
        for name, value in found.items()
        if name not in ("count", "window", "progress") and value is not None
    }
    shown |= {"deliveries": count.get("deliveries", "-"), **found["progress"]}
    width = max(len(name) for name in shown)
    for name, value in shown.items():
        text = shown_time(value) if name.endswith("_ms") else value
        say(f"{name.removesuffix('_ms').ljust(width)}  {text}")


def _resource(namespace: str | None, resource: str | None) -> dict[str, object]:
    if resource is None:
        return {"namespace": namespace}
    name, _, text = resource.partition(":")
    if not name or not is_id(text) or namespace not in (None, name):
        message = "--resource needs NAMESPACE:ID, such as property:888999"
        raise typer.BadParameter(message)
    return {"namespace": name, "concept_id": text}


def _or_dash(value: object) -> object:
    return "-" if value is None else value
