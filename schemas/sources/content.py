"""What a record's value and headers hold, whatever they are written in: a tree, and texts by name.

A CloudEvent in structured mode is read as one in binary mode: its attributes are the headers `ce_…`, its `data` is the
value. So one mapping serves both.

Source: CloudEvents 1.0.2, JSON format, sections 2 and 3; Kafka protocol binding, section 3. Debezium, "Outbox Event
Router": the payload is the value, as JSON or as a text that is JSON.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from hookstream.schemas.errors import InvalidSchemaError, UndecodableError
from hookstream.schemas.rendering.json_tree import JsonTree
from hookstream.schemas.rendering.renderer import Renderer
from hookstream.schemas.trace_context import Headers
from hookstream.schemas.wire import HEADER_BYTES, WriterSchemas, schema_id_of

from .json_value import json_text, read_json
from .source import Preset, Source, ValueFormat

# Ids that the registry knows are few; where every record has its own, renderers are made anew now and then.
_MAX_RENDERERS = 1000
_STRUCTURED, _JSON = "application/cloudevents", "json"
_CONTENT_TYPE = "content-type"
_PREFIX, _VERSION = "ce_", "specversion"
# What Connect's JsonConverter puts around a value while `schemas.enable` is true.
_CONNECT = frozenset({"schema", "payload"})


class Content(NamedTuple):
    """`tree` is the value; `attributes` are headers that stand in it; `raw` are its very bytes where it is JSON."""

    tree: JsonTree
    attributes: Mapping[str, JsonTree]
    raw: bytes | None


ReadContent: TypeAlias = Callable[[bytes, Headers], Content]
"""Reads a record's value.

Raises:
    UndecodableError: it is none.
    Exception: whatever asking for a writer's schema raises.
"""


def content_reader(source: Source, writer_schemas: WriterSchemas) -> ReadContent:
    """How the values of a source's records are read."""
    read = _avro(writer_schemas) if source.value is ValueFormat.AVRO else _json
    if source.preset is Preset.CLOUDEVENTS:
        return _cloud_events(read)
    return _outbox(read) if source.preset is Preset.DEBEZIUM_OUTBOX else read


def header_of(headers: Headers, name: str) -> str | bytes | None:
    """The last header of that name; None where there is none, or it has no value."""
    found = None
    for each, value in headers.items() if isinstance(headers, dict) else headers or ():
        if each == name:
            found = value
    return found


def avro_reader(writer_schemas: WriterSchemas) -> Callable[[bytes], JsonTree]:
    """A function from Confluent wire format, of a schema of any type, to the tree that it is in JSON."""
    renderers: dict[bytes, Renderer | str] = {}

    def read(value: bytes) -> JsonTree:
        renderer = renderers.get(value[:HEADER_BYTES])
        if renderer is None:
            schema_id = schema_id_of(value)
            renderer = _renderer(schema_id, writer_schemas(schema_id))
            if len(renderers) >= _MAX_RENDERERS:
                renderers.clear()
            renderers[value[:HEADER_BYTES]] = renderer
        if isinstance(renderer, str):
            raise UndecodableError(renderer)
        return renderer.read(value, HEADER_BYTES)

    return read


def _renderer(schema_id: int, text: str) -> Renderer | str:
    """What renders values of a schema; why none can, which is remembered too: to look costs up to a second."""
    try:
        return Renderer(text)
    except InvalidSchemaError as exc:
        return f"schema {schema_id} cannot be read: {exc}"


def _avro(writer_schemas: WriterSchemas) -> ReadContent:
    read = avro_reader(writer_schemas)
    return lambda value, _headers: Content(read(value), {}, None)


def _json(value: bytes, _headers: Headers) -> Content:
    text = json_text(value)
    return Content(read_json(text), {}, text)


def _cloud_events(read: ReadContent) -> ReadContent:
    def read_either(value: bytes, headers: Headers) -> Content:
        kind = header_of(headers, _CONTENT_TYPE)
        named = (kind.decode("latin-1") if isinstance(kind, bytes) else kind or "").lower()
        if named.startswith(_STRUCTURED):
            if _JSON not in named:
                raise UndecodableError("a CloudEvent in structured mode that is not JSON")
            return _structured(_json(value, headers))
        content = read(value, headers)
        told = isinstance(content.tree, dict) and _VERSION in content.tree and content.raw is not None
        # Some write structured events without their content type.
        return _structured(content) if told and header_of(headers, f"{_PREFIX}{_VERSION}") is None else content

    return read_either


def _structured(content: Content) -> Content:
    event = content.tree
    if not isinstance(event, dict):
        raise UndecodableError("a CloudEvent in structured mode that is no object")
    return Content(_data(event), {f"{_PREFIX}{name}": event[name] for name in event}, content.raw)


def _data(event: Mapping[str, JsonTree]) -> JsonTree:
    encoded = event.get("data_base64")
    if encoded is None:
        return event.get("data")
    kind = event.get("datacontenttype", "application/json")
    if not isinstance(encoded, str) or not isinstance(kind, str) or _JSON not in kind:
        raise UndecodableError("a CloudEvent whose data is not JSON")
    try:
        return read_json(base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError):
        raise UndecodableError("a CloudEvent whose data_base64 is no base64") from None


def unwrapped(text: bytes) -> JsonTree:
    """A JSON text without what Connect's JsonConverter puts around it.

    Raises:
        UndecodableError: it is none.
    """
    tree = read_json(text)
    return tree["payload"] if _is_wrapped(tree) else tree


def _is_wrapped(tree: JsonTree) -> bool:
    return isinstance(tree, dict) and tree.keys() == _CONNECT


def _outbox(read: ReadContent) -> ReadContent:
    def read_payload(value: bytes, headers: Headers) -> Content:
        content = read(value, headers)
        tree, raw = content.tree, content.raw
        if _is_wrapped(tree):
            tree, raw = tree["payload"], None
        if isinstance(tree, str):  # a column of JSON, without `table.expand.json.payload`
            try:
                raw = tree.encode()
            except UnicodeEncodeError:
                raise UndecodableError("a payload with half of a surrogate pair") from None
            tree = read_json(raw)
        return Content(tree, content.attributes, raw)

    return read_payload
