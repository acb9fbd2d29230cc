"""`GET /event-types`: what a hook can be registered for, and what its deliveries say, for everyone with a token."""

from __future__ import annotations

from functools import lru_cache

from fastapi import APIRouter

from hookstream.schemas.event_types import EventType, event_types
from hookstream.subscriptions.models import Role

from .authentication import route_for
from .bodies import EventTypeFields, EventTypesAnswer
from .dependencies import ApiDependencies
from .documents import KnownSchemas, known_schemas
from .openapi import BEARER


def event_type_routes(deps: ApiDependencies) -> APIRouter:
    """The catalogue."""
    router = APIRouter(tags=["events"], route_class=route_for(deps, *Role))

    @lru_cache(maxsize=1)
    def answer(known: KnownSchemas) -> EventTypesAnswer:
        return EventTypesAnswer(event_types=[_fields(event) for event in event_types(deps.catalogue, dict(known))])

    @router.get("/event-types", **BEARER)
    def list_event_types() -> EventTypesAnswer:
        """List the events that a hook can be registered for, each with the JSON Schema of its body and an example.

        The schema of a topic that another service writes is the latest one that is known; an older record may lack
        fields of it, a newer one may have more.
        """
        return answer(known_schemas(deps))

    return router


def _fields(event: EventType) -> EventTypeFields:
    return EventTypeFields(
        name=event.name,
        namespace=event.namespace,
        description=event.description,
        since=event.since,
        json_schema=event.body.whole(),
        example=event.example,
    )
