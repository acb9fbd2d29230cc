"""Avro schemas with their names resolved: what stands in a field, and copies that mean the same.

fastavro resolves the names. What is done here is done on its result, so that a type which is used again by name keeps
its definition, whichever of its uses is changed.

Source: Apache Avro 1.12 specification, "Names" and "Schema Record".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import fastavro
import orjson
from fastavro.schema import SchemaParseException, UnknownType

from .avro_shape import check_shape
from .errors import InvalidSchemaError

Node: TypeAlias = Any  # a parsed schema, or a part of one: JSON
Marks: TypeAlias = Callable[[Node], Mapping[str, Node]]
"""What is added to the physical form of a primitive or fixed type: its properties by name; none leave it as it is."""

MAX_SCHEMA_BYTES = 1_048_576
"""A schema and everything that it refers to, as text."""

_SHOWN = 200  # characters of a parser's complaint, which may repeat the schema
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NAMED = frozenset({"record", "error", "enum", "fixed"})
# All that the bytes of a type depend on; documentation, logical types and properties of other tools are left out.
_PHYSICAL_KEYS = ("type", "name", "aliases", "symbols", "size", "default")
# What fastavro raises for JSON that is no schema.
_NO_SCHEMA = (ValueError, TypeError, LookupError, AttributeError, SchemaParseException, UnknownType, RecursionError)


class AvroSchema:
    """One record schema. `references` are the texts of schemas whose types it uses, each before those that use it."""

    __slots__ = ("_named", "_root")

    def __init__(self, text: str | bytes, references: Iterable[str | bytes] = ()) -> None:
        """Parse it.

        Raises:
            InvalidSchemaError: it is no Avro schema, no record, or too long.
        """
        self._named: dict[str, Node] = {}
        try:
            for reference in references:
                fastavro.parse_schema(_json(reference), self._named)
            parsed: Node = fastavro.parse_schema(_json(text), self._named)
            check_shape(self._named.values())
        except InvalidSchemaError:
            raise
        except _NO_SCHEMA as exc:
            msg = f"not an Avro schema: {type(exc).__name__}: {str(exc)[:_SHOWN]}"
            raise InvalidSchemaError(msg) from exc
        if not isinstance(parsed, dict) or "fields" not in parsed:
            msg = "not the schema of a record"
            raise InvalidSchemaError(msg)
        self._root: Node = self._named[parsed["name"]]

    @property
    def root(self) -> Node:
        """The record."""
        return self._root

    def fields(self, record: Node) -> dict[str, Node]:
        """The fields of a record by name; none where it is no record."""
        record = self.resolved(record)
        return {field["name"]: field for field in record["fields"]} if self.kind(record) == "record" else {}

    def resolved(self, node: Node) -> Node:
        """The definition where the node is a name, and the node where it is not."""
        return self._named.get(node, node) if isinstance(node, str) else node

    def kind(self, node: Node) -> str:
        """Its type without what is said about it: `long`, `record`, `union`."""
        node = self.resolved(node)
        if isinstance(node, list):
            return "union"
        kind = node["type"] if isinstance(node, dict) else node
        return "record" if kind == "error" else str(kind)

    def without(self, name: str | None) -> AvroSchema:
        """The same without that field of the root; what it defines stays known."""
        made = object.__new__(AvroSchema)
        fields = [field for field in self._root["fields"] if field["name"] != name]
        made._root = {**self._root, "fields": fields}
        made._named = {**self._named, self._root["name"]: made._root}
        return made

    def field_like(self, own: Node, record: Node = None) -> Node:
        """The field that a reader's field is read from: of its name, or one of its aliases; None without one.

        It is one of `record`, or of the root where that is None.
        """
        fields = self.fields(self._root if record is None else record)
        return next((fields[name] for name in (own["name"], *own.get("aliases", ())) if name in fields), None)

    def has_fields_of(self, own: AvroSchema, *, indexed: Node | None, own_indexed: Node | None) -> bool:
        """Whether every field of `own` is here under its name, and its bytes are the same.

        The `indexed` ones are ints in both.
        """
        fields = self.fields(self._root)
        return all(
            (name in fields)
            and (
                fields[name] is indexed
                if field is own_indexed
                else _Copy(self._named, physical=True).of(fields[name]["type"])
                == _Copy(own._named, physical=True).of(field["type"])
            )
            for name, field in own.fields(own.root).items()
        )

    def whole(self) -> str:
        """The text of a schema that means the same and refers to nothing outside of itself.

        Raises:
            InvalidSchemaError: it would be too long, or too deep.
        """
        try:
            text = orjson.dumps(_Copy(self._named).of(self._root))
        except (TypeError, RecursionError) as exc:  # orjson's errors are TypeErrors
            msg = f"not a schema that can be written out ({type(exc).__name__})"
            raise InvalidSchemaError(msg) from exc
        return _bounded(text).decode()

    def physical(self, indexed: Node | None = None) -> Node:
        """What its bytes are, for fastavro: without logical types, and the enum of the field `indexed` as an int.

        Only that field is changed. An enum that is used elsewhere too is defined where it is used first then.
        """
        return _Copy(self._named, physical=True).of_record(self._root, indexed)

    def marked(self, marks: Marks, *, indexed: Node | None = None, only: Node | None = None) -> Node:
        """The physical form, see there, with `marks` on primitive and fixed types; with `only` in that field alone.

        A named type that is used in that field and outside of it has one definition: that of its first use.
        """
        return _Copy(self._named, physical=True, marks=marks, only=only).of_record(self._root, indexed)


class _Copy:
    """Copies parsed types, and defines each named one where it is met first."""

    def __init__(
        self,
        named: dict[str, Node],
        *,
        physical: bool = False,
        marks: Marks = lambda _: {},
        only: Node | None = None,
    ) -> None:
        self._named = named
        self._physical = physical
        self._marks = marks
        self._only = only
        self._marking = only is None
        self._defined: set[str] = set()

    def of(self, node: Node) -> Node:
        if isinstance(node, list):
            return [self.of(branch) for branch in node]
        if isinstance(node, str):
            return self._of_name(node)
        kind = node["type"]
        if kind in _NAMED:
            return self._of_named(node)
        if kind == "array":
            return self._said(node) | {"items": self.of(node["items"])}
        if kind == "map":
            return self._said(node) | {"values": self.of(node["values"])}
        return (self._marked(node, {"type": kind}) or kind) if self._physical else node

    def of_record(self, node: Node, indexed: Node | None = None) -> Node:
        name = node["name"]
        self._defined.add(name)
        # A name without a dot would get the namespace of what is around it.
        copy = self._said(node) | {"type": "record"} | ({} if "." in name else {"namespace": ""})
        copy["fields"] = [self._of_field(field, indexed) for field in node["fields"]]
        return copy

    def _of_name(self, name: str) -> Node:
        """Of a type that is referred to, or of a primitive one."""
        if name in self._named:
            return name if name in self._defined else self.of(self._named[name])
        return self._marked(name, {"type": name}) or name

    def _of_named(self, node: Node) -> Node:
        name = node["name"]
        if name in self._defined:
            return name
        if "fields" in node:
            return self.of_record(node)
        self._defined.add(name)
        marked = self._marked(node, {}) if "size" in node else {}
        return self._said(node) | marked | ({} if "." in name else {"namespace": ""})

    def _of_field(self, field: Node, indexed: Node | None) -> Node:
        if indexed is not None and field is indexed:
            return {"name": field["name"], "type": "int", "aliases": field.get("aliases", [])}
        if field is self._only:
            self._marking = True
        copy = self._said(field) | {"type": self.of(field["type"])}
        if field is self._only:
            self._marking = False
        return copy

    def _marked(self, node: Node, base: dict[str, Node]) -> dict[str, Node]:
        """The type with its marks; nothing where it has none."""
        marks = self._marks(node) if self._marking else {}
        return {**base, **marks} if marks else {}

    def _said(self, node: Node) -> Node:
        return {key: node[key] for key in _PHYSICAL_KEYS if key in node} if self._physical else dict(node)


def wrapped(text: str | bytes, field: str) -> bytes:
    """The schema of a record whose one field, without a name that anything could refer to, is of the schema `text`.

    So a schema of any type is one of a record, and the bytes of a value are the same.

    Raises:
        InvalidSchemaError: it is no JSON, too long, or too deep.
    """
    try:
        wrapper = {"type": "record", "name": "hookstream_wrapper", "fields": [{"name": field, "type": _json(text)}]}
        return orjson.dumps(wrapper)
    except _NO_SCHEMA as exc:  # orjson reads what is 1,024 deep, and writes 254
        msg = f"not an Avro schema: {type(exc).__name__}"
        raise InvalidSchemaError(msg) from exc


def whole_text(text: str | bytes, references: Iterable[str | bytes]) -> str:
    """The text of a schema of any type, unions too, that means the same and refers to nothing outside of itself.

    Raises:
        InvalidSchemaError: the texts do not fit together, or would be too long.
    """
    whole = orjson.loads(AvroSchema(wrapped(text, "value"), references).whole())
    return orjson.dumps(whole["fields"][0]["type"]).decode()


def compact_json(text: bytes) -> str:
    """The same JSON without what is only for people; editors on Windows put a byte order mark before it."""
    return orjson.dumps(orjson.loads(text.removeprefix(_BYTE_ORDER_MARK))).decode()


def _json(text: str | bytes) -> Node:
    read = orjson.loads(_bounded(text.encode() if isinstance(text, str) else text).removeprefix(_BYTE_ORDER_MARK))
    if isinstance(read, dict):  # what fastavro writes into schemas that it has parsed would be believed
        return {key: value for key, value in read.items() if not key.startswith("__fastavro")}
    return read


def _bounded(text: bytes) -> bytes:
    if len(text) > MAX_SCHEMA_BYTES:
        msg = f"a schema of {len(text)} bytes; it may have {MAX_SCHEMA_BYTES}"
        raise InvalidSchemaError(msg)
    return text
