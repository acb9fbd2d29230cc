"""Which Avro schemas can carry an event, and what they mean by its name and its time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from .avro_cost import is_recursive
from .avro_schema import AvroSchema, Node
from .errors import InvalidSchemaError
from .event import EventName
from .ids import IdKind, IdKinds
from .rendering.logical import marks
from .symbol_docs import symbol_docs

NAME_FIELD, TIME_FIELD, DATA_FIELD = "event", "occurred_at", "data"

NOTICES = "hookstream"
"""The namespace of hookstream's own events; no deployment describes it."""
RESERVED = f"the namespace {NOTICES} is hookstream's own; choose another name"

# Legal in a topic name, and free of the dot that ends the namespace in an event's name.
_NAMESPACE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_TEXT = frozenset({"null", "string"})
_ID = "long or string"
_EVENT_FIELDS: Mapping[str, str] = {
    "id": "string",
    NAME_FIELD: "enum",
    "client": _ID,
    "concept": "record",
    TIME_FIELD: "long",
}
_CONCEPT_FIELDS: Mapping[str, str] = {"id": _ID, "sub_namespace": "union"}
_TYPES = {"union": "null or string"}  # as people call it
_DATA_KINDS = frozenset({"record", "map", "array"})
_ID_KINDS = {"long": IdKind.INTEGER, "string": IdKind.STRING}

# How many of a logical type's unit are a millisecond; a plain long is milliseconds.
_PER_MS = {
    "timestamp-micros": 1000,
    "timestamp-nanos": 1_000_000,
    "local-timestamp-micros": 1000,
    "local-timestamp-nanos": 1_000_000,
}
_NO_INSTANT = frozenset({"date", "time-millis", "time-micros"})


class EventMeaning(NamedTuple):
    """What one writer's schema means: events by their index on the wire, and units of time in a millisecond."""

    names: tuple[EventName, ...]
    per_ms: int


def event_meaning(schema: AvroSchema, namespace: str, own: AvroSchema) -> EventMeaning:
    """What a writer's schema means by what the fields `event` and `occurred_at` of `own` are read from, if anything.

    Raises:
        InvalidSchemaError: its time is no instant.
    """
    fields = own.fields(own.root)
    names = tuple(event_name(namespace, symbol) for symbol in _symbols(schema, schema.field_like(fields[NAME_FIELD])))
    time = schema.field_like(fields[TIME_FIELD])
    logical = None if time is None else _logical_type(schema, time["type"])
    if logical in _NO_INSTANT:
        msg = f"{TIME_FIELD} is a {logical}, which is no instant"
        raise InvalidSchemaError(msg)
    return EventMeaning(names, _PER_MS.get(logical or "", 1))


def event_name(namespace: str, symbol: str) -> EventName:
    """The event that a symbol of a namespace's enum means. A notice has hyphens, which Avro's symbols cannot have."""
    return EventName(f"{namespace}.{symbol.replace('_', '-') if namespace == NOTICES else symbol}")


def is_namespace(text: str) -> bool:
    """Whether a namespace may be called so."""
    return _NAMESPACE.fullmatch(text) is not None


def event_symbols(schema: AvroSchema) -> tuple[str, ...]:
    """The symbols of the enum field `event`, by their index on the wire; empty where the schema has no such field."""
    return _symbols(schema, schema.fields(schema.root).get(NAME_FIELD))


def id_kinds(schema: AvroSchema) -> IdKinds:
    """What a schema that was checked declares its ids to be."""
    fields = schema.fields(schema.root)
    concept = schema.fields(fields["concept"]["type"])
    return IdKinds(_ID_KINDS[schema.kind(fields["client"]["type"])], _ID_KINDS[schema.kind(concept["id"]["type"])])


def check_event_schema(namespace: str, content: bytes) -> AvroSchema:
    """Parse one namespace's schema and check that an event fits into it, and into nothing less.

    Beyond the five fields of an event it may have `data`. Any other field is refused: it would never be delivered.

    Raises:
        InvalidSchemaError: the namespace cannot be one, or the schema is no Avro, or no event fits into it.
    """
    if not is_namespace(namespace):
        msg = f"{namespace}: a namespace is letters, digits, _ and -, and starts with a letter or _"
        raise InvalidSchemaError(msg)
    try:
        schema = AvroSchema(content)
        is_recursive(schema)
        _check_fields("the event", schema, schema.root, _EVENT_FIELDS, optional=DATA_FIELD)
        _check_data(schema)
        concept = schema.fields(schema.root)["concept"]["type"]
        _check_fields("concept", schema, concept, _CONCEPT_FIELDS)
        event_meaning(schema, namespace, schema)
        symbol_docs(schema.resolved(schema.fields(schema.root)[NAME_FIELD]["type"]))
    except InvalidSchemaError as exc:
        msg = f"{namespace}: {exc}"
        raise InvalidSchemaError(msg) from exc
    return schema


def _check_data(schema: AvroSchema) -> None:
    field = schema.fields(schema.root).get(DATA_FIELD)
    if field is None:
        return
    branches = field["type"] if schema.kind(field["type"]) == "union" else [field["type"]]
    kinds = sorted(schema.kind(branch) for branch in branches if schema.kind(branch) != "null")
    if len(kinds) != 1 or kinds[0] not in _DATA_KINDS:
        msg = f"the event: {DATA_FIELD} is a record, a map or an array, or a union of null and one of these"
        raise InvalidSchemaError(msg)
    schema.marked(marks, only=field)  # what could not be rendered would never be delivered


def _check_fields(
    where: str, schema: AvroSchema, record: Node, wanted: Mapping[str, str], *, optional: str | None = None
) -> None:
    fields = schema.fields(record)
    for name, kind in wanted.items():
        if name not in fields or not _is(schema, fields[name]["type"], kind):
            msg = f"{where}: needs a field {name} of type {_TYPES.get(kind, kind)}"
            raise InvalidSchemaError(msg)
    for name in fields:
        if name not in wanted and name != optional:
            msg = f"{where}: field {name} is none of an event's, and would never be delivered; put it into {DATA_FIELD}"
            raise InvalidSchemaError(msg)


def _is(schema: AvroSchema, node: Node, kind: str) -> bool:
    if kind == _ID:
        return schema.kind(node) in _ID_KINDS
    if schema.kind(node) != kind:
        return False
    return kind != "union" or {schema.kind(branch) for branch in node} == _TEXT


def _symbols(schema: AvroSchema, field: Node) -> tuple[str, ...]:
    if field is None or schema.kind(field["type"]) != "enum":
        return ()
    return tuple(schema.resolved(field["type"])["symbols"])


def _logical_type(schema: AvroSchema, node: Node) -> str | None:
    """The logical type of a number, or of the first branch of a union that says one."""
    branches = node if isinstance(node, list) else [node]
    found = (each.get("logicalType") for each in map(schema.resolved, branches) if isinstance(each, dict))
    return next((name for name in found if isinstance(name, str)), None)
