"""An example of a schema's values, the same on every machine: what documents show, and what its JSON Schema allows.

It is made as Avro bytes and read by the `Renderer` that reads events, so an example looks like what is delivered. Bytes
say the branch of each union; a writer would have to guess it.

Source: Apache Avro 1.12 specification, "Binary Encoding".
"""

from __future__ import annotations

import struct

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
_UUID = "018cc251-f400-7000-8000-000000000001"
_DURATION = struct.pack("<III", 1, 2, 3004)
_UNSCALED = 1250
_NUMBER = 1.5
_SEVEN_BITS, _MORE = 0x7F, 0x80
# Records that name each other twice double an example with each name: thirty of them would be a gigabyte.
_MAX_PARTS, _MAX_FIXED_BYTES = 10_000, 10_000


def example(renderer: Renderer) -> JsonTree:
    """An example of the renderer's schema, as its `read` gives it.

    Raises:
        InvalidSchemaError: none can be made.
    """
    schema = renderer.schema
    try:
        return renderer.read(_Examples(schema).of(renderer.root))
    except RecursionError as exc:
        raise InvalidSchemaError(_ENDLESS) from exc


_ENDLESS = "no example can be made of a type that contains itself without end"
_TOO_LARGE = (
    f"no example is made of more than {_MAX_PARTS} parts, or of a fixed type of more than {_MAX_FIXED_BYTES} bytes"
)


class _Examples:
    """Examples of the types of one schema, as Avro bytes."""

    def __init__(self, schema: AvroSchema) -> None:
        self._schema = schema
        self._parts = 0
        self._within: list[str] = []
        """The records that are being made: an example of a recursive type ends where it would begin again."""

    def of(self, node: Node) -> bytes:
        node = self._schema.resolved(node)
        kind = self._schema.kind(node)
        self._parts += 1
        if self._parts > _MAX_PARTS or (kind == "fixed" and node["size"] > _MAX_FIXED_BYTES):
            raise InvalidSchemaError(_TOO_LARGE)
        if kind == "record":
            return self._record(node)
        if kind == "union":
            return self._union(node)
        if kind in ("array", "map"):
            items = node["items" if kind == "array" else "values"]
            key = b"" if kind == "array" else _sized(b"key")
            return _long(0) if self._is_within(items) else _long(1) + key + self.of(items) + _long(0)
        return _long(0) if kind == "enum" else _scalar(kind, node)

    def _record(self, node: Node) -> bytes:
        if len(self._within) > MAX_DEPTH:
            raise InvalidSchemaError(_ENDLESS)
        self._within.append(node["name"])
        made = b"".join(self.of(field["type"]) for field in node["fields"])
        self._within.pop()
        return made

    def _union(self, node: Node) -> bytes:
        """The first branch that says something, and does not begin again what is being made."""
        usable = [index for index, branch in enumerate(node) if not self._is_within(branch)] or [0]
        index = next((each for each in usable if self._schema.kind(node[each]) != "null"), usable[0])
        return _long(index) + self.of(node[index])

    def _is_within(self, node: Node) -> bool:
        node = self._schema.resolved(node)
        return self._schema.kind(node) == "record" and node["name"] in self._within


def _scalar(kind: str, node: Node) -> bytes:
    form = form_of(node)
    if kind == "fixed":
        return _fixed(form, node["size"])
    if kind in ("int", "long"):
        return _long(_NUMBERS.get(form or "", 1))
    if kind in ("bytes", "string"):
        text = _UUID.encode() if form == "uuid" else b"text"
        return _sized(_UNSCALED.to_bytes(2, "big") if form == "decimal" else text)
    return {"null": b"", "boolean": b"\1", "float": struct.pack("<f", _NUMBER), "double": struct.pack("<d", _NUMBER)}[
        kind
    ]


def _fixed(form: str | None, size: int) -> bytes:
    if form == "duration":
        return _DURATION
    if form == "uuid":
        return bytes.fromhex(_UUID.replace("-", ""))
    return (_UNSCALED.to_bytes(size, "big") if size > 1 else b"\x0c"[:size]) if form == "decimal" else bytes(size)


def _sized(raw: bytes) -> bytes:
    return _long(len(raw)) + raw


def _long(number: int) -> bytes:
    """A number from 0 in zigzag and variable length."""
    left, made = number << 1, bytearray()
    while left > _SEVEN_BITS:
        made.append(left & _SEVEN_BITS | _MORE)
        left >>= 7
    return bytes([*made, left])
