"""The body of a delivery: the JSON that an integrator gets, rendered once, when the event is routed."""

from __future__ import annotations

import orjson

from .event import Event, EventName

MAX_BODY_BYTES = 262_144
"""What a body may have, where a deployment says nothing else."""


def thin_tree(
    name: EventName, client: int | str, concept_id: int | str, sub_namespace: str | None
) -> dict[str, object]:
    """What happened to which resource of which client, as JSON."""
    concept = {"id": concept_id, "namespace": name.partition(".")[0], "sub_namespace": sub_namespace}
    return {"event": name, "client": client, "concept": concept}


def thin_body(event: Event) -> bytes:
    """What happened to which resource of which client; ids are numbers or strings, as the event has them."""
    concept = event.concept
    return orjson.dumps(thin_tree(event.name, event.client, concept.id, concept.sub_namespace))
