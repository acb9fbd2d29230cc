"""The section `webhooks` of the OpenAPI document: the request that a target gets, for each event.

Source: OpenAPI 3.1.0, "OpenAPI Object" and "Path Item Object".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from hookstream.schemas.event_types import EventType

from .delivery_headers import DELIVERY_HEADERS, DeliveryHeader

_PARAMETERS: Final = "#/components/parameters/"
_RESPONSES: Final[dict[str, Any]] = {
    "2XX": {"description": "Delivered. Answer as soon as the delivery is stored, and process it afterwards."},
    "410": {"description": "The hook is disabled; nothing more is sent until it is enabled."},
    "429": {"description": "The whole endpoint gets no request for as long as `Retry-After` says."},
    "default": {
        "description": "Attempted again on a schedule; a delivery that is always rejected is a dead letter. With a"
        " header `webhook-delivery: abort` it is a dead letter at once, with any status but 2xx.",
        "headers": {
            "webhook-delivery": {
                "description": "`abort`: this delivery is not attempted again.",
                "schema": {"type": "string", "enum": ["abort"]},
            }
        },
    },
}


def add_webhooks(document: dict[str, Any], event_types: Iterable[EventType]) -> None:
    """Add what is sent to integrators to a document; the definitions of `event_types` are shared."""
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    components["parameters"] = {each.name: _parameter(each) for each in DELIVERY_HEADERS}
    webhooks = document["webhooks"] = {}
    for event in event_types:
        schemas |= event.body.definitions
        webhooks[event.name] = {"post": _operation(event)}


def _parameter(header: DeliveryHeader) -> dict[str, Any]:
    return {
        "name": header.name,
        "in": "header",
        "description": header.description,
        "required": header.required,
        "schema": header.schema,
        "example": header.example,
    }


def _operation(event: EventType) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": event.body.schema}
    if event.example is not None:
        content["example"] = event.example
    return {
        "summary": event.name,
        **({"description": event.description} if event.description else {}),
        "tags": ["deliveries"],
        "parameters": [{"$ref": f"{_PARAMETERS}{each.name}"} for each in DELIVERY_HEADERS],
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": _RESPONSES,
        "security": [],
        **({} if event.since is None else {"x-since": event.since}),
    }
