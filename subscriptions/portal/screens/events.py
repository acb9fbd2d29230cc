"""The catalogue: every event that a hook can be registered for, with the JSON Schema of its body and an example."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.responses import Response

from hookstream.schemas.event_schema import NOTICES
from hookstream.subscriptions.api.bodies import EventTypeFields, EventTypesAnswer
from hookstream.subscriptions.portal.calls import Call
from hookstream.subscriptions.portal.navigation import EVERYONE
from hookstream.subscriptions.portal.visit import Screen, Visit

_CALL = Call.get("/event-types")
# More of a schema no person reads; the API has all of it.
_SHOWN_CHARS = 40_000


async def known_events(visit: Visit) -> list[EventTypeFields]:
    """Every event, in the order of the catalogue."""
    return (await visit.ask(EventTypesAnswer, _CALL)).event_types


@dataclass(frozen=True, slots=True)
class EventGroup:
    """The events of a namespace; `description` is what all of them say of themselves, where they say the same."""

    namespace: str
    events: list[EventTypeFields]
    description: str | None


def groups_of(events: Sequence[EventTypeFields]) -> list[EventGroup]:
    """Events by namespace, in the order of the catalogue; those about deliveries themselves at the end."""
    by_namespace: dict[str, list[EventTypeFields]] = {}
    for event in sorted(events, key=lambda event: event.namespace == NOTICES):
        by_namespace.setdefault(event.namespace, []).append(event)
    groups = []
    for namespace, own in by_namespace.items():
        said = {event.description for event in own}
        groups.append(EventGroup(namespace, own, said.pop() if len(said) == 1 and len(own) > 1 else None))
    return groups


async def list_events(visit: Visit) -> Response:
    """All of them, by namespace."""
    return await visit.page("events.html", calls=[_CALL], groups=groups_of(await known_events(visit)))


async def show_event(visit: Visit) -> Response:
    """One of them."""
    name = visit.path("event")
    event = next((each for each in await known_events(visit) if each.name == name), None)
    if event is None:
        raise HTTPException(404)
    return await visit.page(
        "event.html",
        calls=[_CALL],
        commands=[f"hookstream listen --event {name}"],
        event=event,
        example=None if event.example is None else _indented(event.example),
        json_schema=_indented(event.json_schema),
        shown_chars=_SHOWN_CHARS,
        may_add=not visit.is_operator,
    )


def _indented(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


EVENT_SCREENS = (
    Screen(path="/events", view=list_events, roles=EVERYONE),
    Screen(path="/events/{event}", view=show_event, roles=EVERYONE),
)
