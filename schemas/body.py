"""The body of a delivery: the JSON that an integrator gets, rendered once, when the event is routed."""

from __future__ import annotations

import orjson

from .event import Event


def thin_body(event: Event) -> bytes:
    """What happened to which resource of which client; ids are numbers or strings, as the event has them."""
    concept = event.concept
    return orjson.dumps(
        {
            "event": event.name,
            "client": event.client,
            "concept": {"id": concept.id, "namespace": concept.namespace, "sub_namespace": concept.sub_namespace},
        }
    )
