"""An example of a schema's values, the same on every machine: what documents show, and what its JSON Schema allows.

It is written as Avro and read by the `Renderer` that reads events, so an example looks like what is delivered.
"""

from __future__ import annotations

import struct
from io import BytesIO

import fastavro
from fastavro import schemaless_writer

from hookstream.schemas.avro_cost import MAX_DEPTH
from hookstream.schemas.avro_schema import AvroSchema, Node
from hookstream.schemas.errors import InvalidSchemaError

from .json_tree import JsonTree
from .logical import form_of
from .renderer import Renderer

# 2026-01-02T03:04:05.678Z, in days, in the time of that day, and since 1970.
_DAY, _TIME_MS, _AT_MS = 20_455, 11_045_678, 1_767_323_045_678
_NUMBERS = {
    "date": _DAY,
    "time-millis": _TIME_MS,
    "time-micros": _TIME_MS * 1000,
    "timestamp-millis": _AT_MS,
    "timestamp-micros": _AT_MS * 1000,
    "timestamp-nanos": _AT_MS * 1_000_000,
    "local-timestamp-millis": _AT_MS,
    "local-timestamp-micros": _AT_MS * 1000,
    "local-timestamp-nanos": _AT_MS * 1_000_000,
}
_PLAIN: dict[str, object] = {
    "null": None,
    "boolean": True,
    "int": 1,
    "long": 1,
    "float": 1.5,
    "double": 1.5,
    "string": "text",
    "bytes": b"bytes",
}
_UUID = "018cc251-f400-7000-8000-000000000001"
_DURATION = struct.pack("<III", 1, 2, 3004)
_UNSCALED = 1250


def example(renderer: Renderer) -> JsonTree:
    """An example of the renderer's schema, as its `read` gives it.

    Raises:
        InvalidSchemaError: no value of it is small enough to be shown.
    """
    schema = renderer.schema
    buffer = BytesIO()
    try:
        physical = fastavro.parse_schema(schema.physical())
        schemaless_writer(buffer, physical, _Examples(schema).of(schema.root))
    except (ValueError, TypeError, LookupError, RecursionError) as exc:
        msg = f"no example can be made ({type(exc).__name__})"
        raise InvalidSchemaError(msg) from exc
    return renderer.read(buffer.getvalue())


class _Examples:
    """Examples of the types of one schema, as fastavro writes them."""

    def __init__(self, schema: AvroSchema) -> None:
        self._schema = schema
        self._within: list[str] = []
        """The records that are being made: an example of a recursive type ends where it would begin again."""

    def of(self, node: Node) -> object:
        node = self._schema.resolved(node)
        kind = self._schema.kind(node)
        if kind == "record":
            return self._record(node)
        if kind == "union":
            return self._union(node)
        if kind == "array":
            return [] if self._is_within(node["items"]) else [self.of(node["items"])]
        if kind == "map":
            return {} if self._is_within(node["values"]) else {"key": self.of(node["values"])}
        if kind == "enum":
            return node["symbols"][0]
        return self._scalar(kind, node)

    def _scalar(self, kind: str, node: Node) -> object:
        form = form_of(node)
        if form == "decimal":
            return _decimal(node.get("size", 2))
        if form == "uuid":
            return _UUID if kind == "string" else bytes.fromhex(_UUID.replace("-", ""))
        if form == "duration":
            return _DURATION
        if kind == "fixed":
            return bytes(node["size"])
        return _NUMBERS[form] if form in _NUMBERS else _PLAIN[kind]

    def _record(self, node: Node) -> object:
        if len(self._within) > MAX_DEPTH:
            msg = "a type that contains itself without end"
            raise InvalidSchemaError(msg)
        self._within.append(node["name"])
        made = {field["name"]: self.of(field["type"]) for field in node["fields"]}
        self._within.pop()
        return made

    def _union(self, node: Node) -> object:
        """The first branch that says something, and does not begin again what is being made."""
        usable = [branch for branch in node if not self._is_within(branch)]
        branch = next((each for each in usable if self._schema.kind(each) != "null"), usable[0] if usable else node[0])
        made = self.of(branch)
        resolved = self._schema.resolved(branch)
        named = isinstance(resolved, dict) and "name" in resolved
        return (resolved["name"], made) if named else made  # which says the branch where two would do

    def _is_within(self, node: Node) -> bool:
        node = self._schema.resolved(node)
        if self._schema.kind(node) in ("array", "map", "union"):
            return False
        return isinstance(node, dict) and node.get("name") in self._within


def _decimal(size: int) -> bytes:
    return _UNSCALED.to_bytes(size, "big") if size > 1 else bytes([_UNSCALED % 100])
