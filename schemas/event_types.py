"""What integrators get to know of each event: what it means, the JSON Schema of its body, and an example of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import orjson

from .body import MAX_BODY_BYTES, thin_tree
from .catalogue import Catalogue
from .errors import SchemaError
from .event import EventName
from .event_schema import DATA_FIELD
from .rendering.body_schema import BodySchema, EnvelopeBodies
from .rendering.json_schema import COMPONENTS, DEFINITIONS
from .rendering.json_tree import JsonTree, is_too_deep
from .sources.source import BodyKind, Source
from .sources.source_bodies import SourceBodies

# Of one event. A schema of a topic may have a megabyte, and every event of it is told with all that it refers to.
_MAX_SCHEMA_BYTES = 262_144


@dataclass(frozen=True, slots=True, kw_only=True)
class EventType:
    """One event. `example` is None where none can be made; of what cannot be described the schema says nothing."""

    name: EventName
    namespace: str
    body: BodySchema
    description: str | None = None
    since: str | None = None
    example: JsonTree = None


class Bodies(Protocol):
    """Says what the bodies of one namespace look like."""

    def description(self, name: EventName, /) -> str | None:
        """What the event means."""
        ...

    def since(self, name: EventName, /) -> str | None:
        """Since when there is the event."""
        ...

    def example(self, name: EventName, /) -> bytes:
        """An example of its body."""
        ...

    def json_schema(self, name: EventName, refer_to: str = DEFINITIONS, /) -> BodySchema:
        """The JSON Schema of its body."""
        ...


def event_types(catalogue: Catalogue, latest: Mapping[str, str], *, shared: bool = False) -> tuple[EventType, ...]:
    """Every event of a catalogue, in its order; `latest` are the schemas of sources that are known, by namespace.

    With `shared` the definitions of all events will stand among the `COMPONENTS` of one document; each one's name
    begins with its namespace then. Without it each event's schema is one for itself.
    """
    names: dict[str, list[EventName]] = {}
    for name in catalogue.event_names:
        names.setdefault(name.partition(".")[0], []).append(name)
    sources = {source.namespace: source for source in catalogue.sources}
    made: list[EventType] = []
    for namespace, own in names.items():
        bodies = _bodies(namespace, catalogue, sources.get(namespace), latest.get(namespace))
        made += (_described(namespace, name, bodies, shared=shared) for name in own)
    return tuple(made)


def described(namespace: str, name: EventName, bodies: Bodies) -> EventType:
    """One event with all that there is to say of it.

    Raises:
        SchemaError: no example of its body can be made, or no schema.
    """
    return EventType(
        name=name,
        namespace=namespace,
        description=bodies.description(name),
        since=bodies.since(name),
        example=orjson.loads(bodies.example(name)),
        body=bodies.json_schema(name),
    )


def example_body(
    name: EventName, catalogue: Catalogue, latest: Mapping[str, str], *, client: str, concept_id: str
) -> bytes:
    """A body as deliveries of this event have it, of this client and resource; everything beside the ids is made up.

    It is valid by the event's JSON Schema as far as one can be made, and the thin one otherwise.
    """
    namespace = name.partition(".")[0]
    kinds = catalogue.id_kinds(namespace)
    thin = thin_tree(name, kinds.client.shown(client), kinds.concept.shown(concept_id), None)
    source = next((each for each in catalogue.sources if each.namespace == namespace), None)
    bodies = _bodies(namespace, catalogue, source, latest.get(namespace))
    example = None if bodies is None else _example(name, bodies)
    if source is not None and source.body is BodyKind.RECORD:
        body = orjson.dumps(example)
    else:
        data = {DATA_FIELD: example[DATA_FIELD]} if isinstance(example, dict) and DATA_FIELD in example else {}
        body = orjson.dumps({**thin, **data})
    return body if len(body) <= MAX_BODY_BYTES else orjson.dumps(thin)


def _bodies(namespace: str, catalogue: Catalogue, source: Source | None, latest: str | None) -> Bodies | None:
    """What says what the bodies look like; None where the schema cannot be rendered, which the registry may hold."""
    try:
        if source is None:
            return EnvelopeBodies(namespace, catalogue.schema_text(namespace))
        return SourceBodies(source, latest)
    except SchemaError:
        return None


def _described(namespace: str, name: EventName, bodies: Bodies | None, *, shared: bool) -> EventType:
    prefix = f"{namespace}." if shared else ""
    schema = None if bodies is None else _schema(name, bodies, f"{COMPONENTS}{prefix}" if shared else DEFINITIONS)
    if bodies is None or schema is None:
        return EventType(name=name, namespace=namespace, body=BodySchema({}, {}))
    return EventType(
        name=name,
        namespace=namespace,
        description=bodies.description(name),
        since=bodies.since(name),
        example=_example(name, bodies),
        body=BodySchema(schema.schema, {f"{prefix}{of}": each for of, each in schema.definitions.items()}),
    )


def _schema(name: EventName, bodies: Bodies, refer_to: str) -> BodySchema | None:
    """None where it would be too much for a document that has many."""
    try:
        schema = bodies.json_schema(name, refer_to)
    except (SchemaError, RecursionError):
        return None
    whole = schema.whole()
    return None if is_too_deep(whole) or len(orjson.dumps(whole)) > _MAX_SCHEMA_BYTES else schema


def _example(name: EventName, bodies: Bodies) -> JsonTree:
    try:
        tree = orjson.loads(bodies.example(name))
    except SchemaError:
        return None
    return None if is_too_deep(tree) else tree
