"""Which Avro schemas can carry an event, and what they mean by its name and its time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from .avro_cost import is_recursive
from .avro_schema import AvroSchema, Node
from .errors import InvalidEnvelopeError, InvalidSchemaError
from .event import EventName
from .ids import IdKind, IdKinds
from .rendering.logical import marks
from .symbol_docs import symbol_doc_faults

NAME_FIELD, TIME_FIELD, DATA_FIELD = "event", "occurred_at", "data"
WHAT_A_NAMESPACE_IS = "a namespace is letters, digits, _ and -, and starts with a letter or _"

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


def undelivered_fields(schema: AvroSchema, own: AvroSchema) -> tuple[str, ...]:
    """The fields of a writer's schema that no event has: nothing of them is delivered."""
    fields = own.fields(own.root)
    lost = _unread(schema, None, (*fields.values(), {"name": DATA_FIELD}))
    concept = schema.field_like(fields["concept"])
    if concept is None:
        return tuple(lost)
    inner = own.fields(fields["concept"]["type"]).values()
    return (*lost, *(f"concept.{name}" for name in _unread(schema, concept["type"], inner)))


def _unread(schema: AvroSchema, record: Node, wanted: Iterable[Node]) -> list[str]:
    found = [schema.field_like(field, record) for field in wanted]
    read = {field["name"] for field in found if field is not None}
    return [name for name in schema.fields(schema.root if record is None else record) if name not in read]


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
        InvalidEnvelopeError: with everything that is wrong with the namespace's name and the schema.
    """
    faults = [] if is_namespace(namespace) else [WHAT_A_NAMESPACE_IS]
    try:
        schema = AvroSchema(content)
        faults += _faults(namespace, schema)
    except InvalidSchemaError as exc:
        faults.append(str(exc))
        raise InvalidEnvelopeError(namespace, faults) from exc
    if faults:
        raise InvalidEnvelopeError(namespace, faults)
    return schema


def _faults(namespace: str, schema: AvroSchema) -> Iterator[str]:
    """Everything that keeps a parsed schema from being an envelope."""
    fields = schema.fields(schema.root)
    unbounded = list(_fault_of(lambda: is_recursive(schema)))
    yield from unbounded
    yield from _field_faults("the event", schema, schema.root, _EVENT_FIELDS, optional=DATA_FIELD)
    if DATA_FIELD in fields:
        yield from _data_faults(schema, fields[DATA_FIELD])
        if not unbounded:  # which is what a copy of the schema relies on
            yield from _fault_of(lambda: schema.marked(marks, only=fields[DATA_FIELD]))  # what cannot be rendered
    if NAME_FIELD in fields and schema.kind(fields[NAME_FIELD]["type"]) == "enum":
        yield from symbol_doc_faults(schema.resolved(fields[NAME_FIELD]["type"]))
        if TIME_FIELD in fields:
            yield from _fault_of(lambda: event_meaning(schema, namespace, schema))
    if "concept" in fields and schema.kind(fields["concept"]["type"]) == "record":
        yield from _field_faults("concept", schema, fields["concept"]["type"], _CONCEPT_FIELDS)


def _fault_of(check: Callable[[], object]) -> Iterator[str]:
    try:
        check()
    except InvalidSchemaError as exc:
        yield str(exc)


def _data_faults(schema: AvroSchema, field: Node) -> Iterator[str]:
    branches = field["type"] if schema.kind(field["type"]) == "union" else [field["type"]]
    kinds = sorted(schema.kind(branch) for branch in branches if schema.kind(branch) != "null")
    if len(kinds) != 1 or kinds[0] not in _DATA_KINDS:
        yield f"the event: {DATA_FIELD} is a record, a map or an array, or a union of null and one of these"


def _field_faults(
    where: str, schema: AvroSchema, record: Node, wanted: Mapping[str, str], *, optional: str | None = None
) -> Iterator[str]:
    fields = schema.fields(record)
    for name, kind in wanted.items():
        if name not in fields or not _is(schema, fields[name]["type"], kind):
            yield f"{where}: needs a field {name} of type {_TYPES.get(kind, kind)}"
    for name in fields:
        if name not in wanted and name != optional:
            yield f"{where}: field {name} is none of an event's, and would never be delivered; put it into {DATA_FIELD}"


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
