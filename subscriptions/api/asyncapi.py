"""The deliveries of every event as an AsyncAPI document: one channel for each, whose address a hook names.

Source: AsyncAPI 3.0.0; HTTP bindings 0.3.0.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPMethod
from typing import Any, Final

from hookstream.schemas.event_types import EventType
from hookstream.schemas.rendering.json_schema import COMPONENTS

from .delivery_headers import DELIVERY_HEADERS

_HEADERS: Final = "delivery-headers"  # no dot, so no definition of a namespace is called so
_BINDING: Final = {"bindingVersion": "0.3.0"}


def document(event_types: Iterable[EventType], *, version: str) -> dict[str, Any]:
    """The document; the definitions of `event_types` are shared."""
    events = tuple(event_types)
    schemas: dict[str, Any] = {_HEADERS: _headers()}
    for event in events:
        schemas |= event.body.definitions
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "hookstream deliveries",
            "version": version,
            "description": "What hookstream POSTs to the target of a hook. Register hooks with `POST /hooks`.",
        },
        "defaultContentType": "application/json",
        "channels": {event.name: _channel(event) for event in events},
        "operations": {f"deliver {event.name}": _operation(event) for event in events},
        "components": {"schemas": schemas, "messages": {event.name: _message(event) for event in events}},
    }


def _headers() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {each.name: {**each.schema, "description": each.description} for each in DELIVERY_HEADERS},
        "required": [each.name for each in DELIVERY_HEADERS if each.required],
    }


def _channel(event: EventType) -> dict[str, Any]:
    return {
        "address": None,
        "title": event.name,
        "description": f"The target of a hook that is registered for {event.name}.",
        "messages": {event.name: {"$ref": f"#/components/messages/{event.name}"}},
    }


def _operation(event: EventType) -> dict[str, Any]:
    return {
        "action": "send",
        "summary": f"POST {event.name} to the target.",
        "channel": {"$ref": f"#/channels/{event.name}"},
        "messages": [{"$ref": f"#/channels/{event.name}/messages/{event.name}"}],
        "tags": [{"name": event.namespace}],
        "bindings": {"http": {"method": HTTPMethod.POST.value, **_BINDING}},
    }


def _message(event: EventType) -> dict[str, Any]:
    headers = {each.name: each.example for each in DELIVERY_HEADERS if each.required}
    example = {} if event.example is None else {"payload": event.example}
    since = {} if event.since is None else {"x-since": event.since}
    return {
        "name": event.name,
        "title": event.name,
        **({"description": event.description} if event.description else {}),
        "contentType": "application/json",
        "correlationId": {"location": "$message.header#/webhook-id"},
        "headers": {"$ref": f"{COMPONENTS}{_HEADERS}"},
        "payload": event.body.schema,
        "examples": [{"headers": headers, **example}],
        **since,
    }
