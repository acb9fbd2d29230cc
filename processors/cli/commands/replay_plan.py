"""What a replay would send, as `hookstream replay` shows it, and whether it is asked about before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import typer

from hookstream.processors.cli.console import CommandError, can_be_asked, fitted, note, shown_time, table_lines
from hookstream.processors.cli.times import clock_duration

if TYPE_CHECKING:
    from hookstream.processors.cli.api_client import ApiClient

# More deliveries than this are not sent without being asked.
ASK_ABOVE: Final = 1_000
_HOOKS_SHOWN: Final = 20
_HEAD: Final = ("hook", "deliveries", "client", "event", "target")


def plan_lines(found: Mapping[str, Any], width: int | None) -> Iterator[str]:
    """The window, each hook with its client, event and target, and the sum."""
    count, left_from = found["count"], found["window"]["left_from_ms"]
    yield f"replay {found['id']}: {shown_time(found['from_ms'])} to {shown_time(found['to_ms'])}"
    if left_from is not None and left_from >= found["to_ms"]:
        yield "retention has taken part of the window: nothing is certain to be whole"
    elif left_from is not None:
        yield f"retention has taken part of the window: it is whole from {shown_time(left_from)} on"
    hooks = count["hooks"]
    if hooks:
        rows = [_row(each) for each in hooks[:_HOOKS_SHOWN]]
        yield from fitted(table_lines(_HEAD, rows), width)
    if count["hook_count"] > _HOOKS_SHOWN:
        yield f"and {count['hook_count'] - _HOOKS_SHOWN:,} hooks more"
    yield f"deliveries {count['deliveries']:,}, at least {clock_duration(count['estimate_s'])}"


def _row(hook: Mapping[str, Any]) -> tuple[object, ...]:
    """A hook that is gone has only its number."""
    client, event, target = (hook.get(name) for name in ("client", "event", "target"))
    shown = "-" if target is None else target.partition("?")[0]
    return hook["id"], hook["deliveries"], "-" if client is None else client, event or "-", shown


def concerns_several_clients(found: Mapping[str, Any]) -> bool:
    """Whether more than one client gets deliveries, or may get them: not every hook of many is told."""
    if found["client"] is not None or found["hook_id"] is not None:
        return False
    hooks = found["count"]["hooks"]
    clients = {hook.get("client") for hook in hooks}
    return found["count"]["hook_count"] > len(hooks) or len(clients) > 1 or (None in clients and len(hooks) > 1)


def agreed(api: ApiClient, found: Mapping[str, Any], *, yes: bool) -> bool:
    """Ask where it is much, where part of the window is gone, and a person also where it is not one client's.

    Raises:
        CommandError: there is no terminal, and it is much or part of the window is gone.
    """
    deliveries, left_from = found["count"]["deliveries"], found["window"]["left_from_ms"]
    if not deliveries:
        note(f"nothing to send: replay {found['id']} is cancelled")
        api.delete(f"/replays/{found['id']}")
        return False
    several = concerns_several_clients(found)
    must_ask = deliveries > ASK_ABOVE or left_from is not None
    if yes or not (must_ask or (several and can_be_asked())):
        return True
    waits = f"replay {found['id']} waits: `hookstream replay resume {found['id']}` sends it, `cancel` ends it"
    whose = " of several clients" if several else ""
    if not can_be_asked():
        message = f"not sent without --yes: {waits}"
        raise CommandError(message)
    if typer.confirm(f"Send {deliveries:,} deliveries{whose}?", err=True):
        return True
    note(waits)
    return False
