"""Which Avro schemas can carry an event, and what their enum says."""

from __future__ import annotations

import re
from collections.abc import Mapping

import fastavro
import orjson
from fastavro.schema import SchemaParseException, UnknownType

from .errors import InvalidSchemaError

# Legal in a topic name, and free of the dot that ends the namespace in an event's name.
_NAMESPACE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_EVENT_FIELDS: Mapping[str, object] = {
    "id": "string",
    "event": "enum",
    "client": "long",
    "concept": "record",
    "occurred_at": "long",
}
_CONCEPT_FIELDS: Mapping[str, object] = {"id": "long", "sub_namespace": ["null", "string"]}


def event_symbols(schema: object) -> tuple[str, ...]:
    """The symbols of the enum field `event`, by their index on the wire; empty where the schema has no such field."""
    enum = _type_of(schema, "event")
    if isinstance(enum, dict) and enum.get("type") == "enum":
        return tuple(enum["symbols"])
    return ()


def check_event_schema(namespace: str, content: bytes) -> object:
    """Parse one namespace's schema and prove that an event fits into it, and into nothing less.

    A field beyond the five of an event needs a default: the codec writes events, and knows no more than they hold.

    Raises:
        InvalidSchemaError: the namespace cannot be one, or the schema is no Avro, or no event fits into it.
    """
    if not _NAMESPACE.fullmatch(namespace):
        msg = f"{namespace}: a namespace is letters, digits, _ and -, and starts with a letter or _"
        raise InvalidSchemaError(msg)
    try:
        schema: object = orjson.loads(content)
        fastavro.parse_schema(schema)  # type: ignore[arg-type]  # whatever the file holds
    except (ValueError, TypeError, LookupError, AttributeError, SchemaParseException, UnknownType) as exc:
        msg = f"{namespace}: not an Avro schema: {exc}"
        raise InvalidSchemaError(msg) from exc
    _check_fields(namespace, schema, _EVENT_FIELDS)
    _check_fields(f"{namespace}: concept", _type_of(schema, "concept"), _CONCEPT_FIELDS)
    enum = _type_of(schema, "event")
    if isinstance(enum, dict) and "default" in enum:
        msg = f"{namespace}: the enum of event must have no default, which would pass one event for another"
        raise InvalidSchemaError(msg)
    return schema


def _check_fields(where: str, schema: object, wanted: Mapping[str, object]) -> None:
    fields = _fields(schema)
    for name, kind in wanted.items():
        if name not in fields or _kind(_type_of(schema, name)) != kind:
            msg = f"{where}: wants a field {name} of type {kind}"
            raise InvalidSchemaError(msg)
    for name, field in fields.items():
        if name not in wanted and "default" not in field:
            msg = f"{where}: field {name} is none of an event's, so it needs a default"
            raise InvalidSchemaError(msg)


def _fields(schema: object) -> dict[str, dict[str, object]]:
    if isinstance(schema, dict) and schema.get("type") == "record":
        return {field["name"]: field for field in schema.get("fields", [])}
    return {}


def _type_of(schema: object, name: str) -> object:
    return _fields(schema).get(name, {}).get("type")


def _kind(avro_type: object) -> object:
    return avro_type.get("type") if isinstance(avro_type, dict) else avro_type
