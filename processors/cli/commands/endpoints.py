"""`hookstream pause|resume|retry-now|skip|drain`: what operators want of an endpoint, through the API.

The API answers when the settings are in the database. Kafka has them a moment later, and the worker that owns the
endpoint follows them, at once or when it runs again. The commands wait for Kafka, and say so where it takes long.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from hookstream.processors.cli.console import CommandError, Json, note, say, say_json, shown_time
from hookstream.processors.cli.open_api import open_api
from hookstream.processors.deadline import Deadline

if TYPE_CHECKING:
    from hookstream.processors.cli.api_client import ApiClient

_PUBLISHED_WITHIN_S = 10.0
_LOOK_EVERY_S = 0.1
_ENDED = ("delivered", "dead-lettered", "cancelled", "skipped")
_FIND_SKIPPED = "`hookstream dead-letters list --reason skipped` shows what is there"

Endpoint: TypeAlias = Annotated[
    str | None, typer.Argument(metavar="[ENDPOINT]", help="Its name in `hookstream lag`; or give --hook.")
]
Hook: TypeAlias = Annotated[int | None, typer.Option("--hook", metavar="ID", min=1, help="The endpoint of this hook.")]
Reason: TypeAlias = Annotated[str, typer.Option("--reason", help="Why; the audit and the dead letters keep it.")]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def pause(*, endpoint: Endpoint = None, hook: Hook = None, reason: Reason, as_json: Json = False) -> None:
    """Send nothing to an endpoint until it is resumed; what arrives stays pending, for as long as Kafka has it."""
    done = "nothing is sent to {endpoint} until `hookstream resume`; what arrives stays pending"
    _wanted("pause", endpoint, hook, {"reason": reason}, done, as_json=as_json)


def resume(*, endpoint: Endpoint = None, hook: Hook = None, reason: Reason, as_json: Json = False) -> None:
    """Send to a paused endpoint again: its backlog, in order, and then what arrives."""
    done = "{endpoint} is sent its backlog, in order, and then what arrives"
    _wanted("resume", endpoint, hook, {"reason": reason}, done, as_json=as_json)


def retry_now(*, endpoint: Endpoint = None, hook: Hook = None, reason: Reason, as_json: Json = False) -> None:
    """Attempt at once what an endpoint would wait with: a retry, a probe, a Retry-After."""
    done = "what {endpoint} would wait with is attempted now"
    _wanted("retry-now", endpoint, hook, {"reason": reason}, done, as_json=as_json)


def skip(
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY_ID", help="The webhook-id.")],
    *,
    endpoint: Annotated[str | None, typer.Option("--endpoint", help="Its name in `hookstream lag`.")] = None,
    hook: Hook = None,
    reason: Reason,
    as_json: Json = False,
) -> None:
    """Move one delivery to the dead letters, from where it can be resent; its resource's next ones follow.

    Without --endpoint and --hook, the API looks up its hook.
    """
    if endpoint is None and hook is None:
        with open_api() as api:
            found = api.get(f"/deliveries/{delivery}")["delivery"]
        hook = found["hook"]["id"]
        if found["state"] in _ENDED:
            note(f"{delivery} is {found['state']} already: there may be nothing left to skip")
    done = f"{delivery} goes to the dead letters if it is pending for {{endpoint}}, in its turn; {_FIND_SKIPPED}"
    _wanted("skip", endpoint, hook, {"delivery": delivery, "reason": reason}, done, as_json=as_json)


def drain(
    *,
    endpoint: Endpoint = None,
    hook: Hook = None,
    reason: Reason,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be drained, and do nothing.")] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Move the whole backlog of an endpoint to the dead letters, from where it can be resent.

    This includes every hook with this client and target, disabled ones too. What arrives later is delivered.
    """
    check_named(endpoint, hook)
    with open_api() as api:
        name = endpoint_name(api, endpoint, hook)
        _read(api, name)
        owed = _owed(api, name)
        if dry_run:
            if as_json:
                say_json({"endpoint": name, **owed})
            else:
                say(f"the backlog of {name} is {_count(owed)}: nothing was drained")
            return
        if not yes:
            note(f"the backlog of {name} is {_count(owed)}; all of it goes to the dead letters.")
            typer.confirm("Drain it?", abort=True, err=True)
        wanted = _published(api, api.post(f"/endpoints/{name}/drain", {"reason": reason})["settings"])
        before = shown_time(wanted["skip_before_ms"])
        done = f"the backlog of {name} at {before} goes to the dead letters: {_count(owed)}; {_FIND_SKIPPED}"
        _say({**wanted, **owed} if as_json else wanted, done, as_json=as_json)


def _wanted(  # the settings, the endpoint, and what is printed
    action: str, endpoint: str | None, hook: int | None, body: Mapping[str, str], done: str, *, as_json: bool
) -> None:
    """Ask it of the API; `done` is what that does, in which {endpoint} stands for the endpoint's name."""
    check_named(endpoint, hook)
    with open_api() as api:
        name = endpoint_name(api, endpoint, hook)
        wanted = _published(api, api.post(f"/endpoints/{name}/{action}", body)["settings"])
        _say(wanted, done.format(endpoint=name), as_json=as_json)


def endpoint_name(api: ApiClient, endpoint: str | None, hook: int | None) -> str:
    """The endpoint's name.

    Raises:
        CommandError: the API does not know the hook.
    """
    from hookstream.schemas.control import endpoint_id, target_digest
    from hookstream.schemas.event import ClientId

    if endpoint is not None:
        return endpoint
    found = api.get(f"/hooks/{hook}")["hook"]
    return endpoint_id(ClientId(str(found["client"]["id"])), target_digest(found["target"]))


def check_named(endpoint: str | None, hook: int | None) -> None:
    """Check that one endpoint was named.

    Raises:
        BadParameter: it was not.
    """
    from hookstream.schemas.control import parse_endpoint_id

    if (endpoint is None) == (hook is None):
        message = "say which endpoint: its name or --hook, one of them"
        raise typer.BadParameter(message)
    if endpoint is not None and parse_endpoint_id(endpoint) is None:
        message = "an endpoint is named <client>-<16 hex digits>"
        raise typer.BadParameter(message)


def _read(api: ApiClient, name: str) -> dict[str, Any]:
    wanted: dict[str, Any] = api.get(f"/endpoints/{name}/settings")["settings"]
    return wanted


def _owed(api: ApiClient, name: str) -> dict[str, Any]:
    """How many deliveries are pending, replays included, and whether that is exact; None where unknown."""
    try:
        found = api.get(f"/endpoints/{name}")["endpoint"]
    except CommandError as exc:
        note(f"how large its backlog is cannot be said: {exc}")
        return {"behind": None, "behind_exact": False}
    return {"behind": found["behind"] + found["replays_behind"], "behind_exact": found["behind_exact"]}


def _count(owed: Mapping[str, Any]) -> str:
    if owed["behind"] is None:
        return "an unknown number of deliveries"
    about = "" if owed["behind_exact"] else "about "
    return f"{about}{owed['behind']} deliveries"


def _published(api: ApiClient, wanted: dict[str, Any]) -> dict[str, Any]:
    """Wait until Kafka has these settings, or later ones of the endpoint."""
    deadline = Deadline.after(_PUBLISHED_WITHIN_S)
    while not wanted["published"]:
        if deadline.over:
            note("Kafka does not have it yet: the API keeps it and goes on trying; see its /readyz")
            return wanted
        time.sleep(_LOOK_EVERY_S)
        wanted = _read(api, wanted["endpoint"])
    return wanted


def _say(wanted: Mapping[str, Any], done: str, *, as_json: bool) -> None:
    """Say what was done, and everything that is wanted of the endpoint now."""
    if as_json:
        say_json(wanted)
        return
    say(done)
    say_settings(wanted)


def say_settings(wanted: Mapping[str, Any]) -> None:
    """Say everything that is wanted of an endpoint."""
    state = "paused" if wanted["paused"] else "not paused"
    say(f"{wanted['endpoint']}  {state}")
    for what, at_ms in (("drained up to", wanted["skip_before_ms"]), ("last retried", wanted["retry_at_ms"])):
        if at_ms is not None:
            say(f"  {what} {shown_time(at_ms)}")
    if wanted["skipped"]:
        say(f"  skipped one by one: {len(wanted['skipped'])}")
    if wanted["asked_by"] is not None:
        say(f"  last change by {wanted['asked_by']}: {wanted['reason']}")
