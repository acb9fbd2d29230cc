"""The JSON Schema (draft 2020-12) of what a `Renderer` makes of an Avro schema's values.

A field with a default is not required: an event that was written before the field was added does not have it. Nothing
is said about further fields, since a newer writer's are delivered too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from hookstream.schemas.avro_schema import AvroSchema, Node

from .logical import form_of

JsonSchema: TypeAlias = dict[str, Node]

DEFINITIONS = "#/$defs/"
COMPONENTS = "#/components/schemas/"
"""Where OpenAPI and AsyncAPI documents keep the schemas of everything that they describe."""

_TEXT = {"type": "string"}
_PRIMITIVE: dict[str, JsonSchema] = {
    "null": {"type": "null"},
    "boolean": {"type": "boolean"},
    "int": {"type": "integer"},
    "long": {"type": "integer"},
    # What is no number, and the infinities, are null.
    "float": {"type": ["number", "null"]},
    "double": {"type": ["number", "null"]},
    "string": _TEXT,
}
_DATE, _CLOCK = "[0-9]{4}-[0-9]{2}-[0-9]{2}", "[0-9]{2}:[0-9]{2}:[0-9]{2}"
_DIGITS = {"millis": 3, "micros": 6, "nanos": 9}
_NAMED = ("record", "enum", "fixed")


class JsonSchemas:
    """JSON Schemas of the types of one Avro schema. Records, enums and fixed types are in `definitions`, by name."""

    def __init__(self, schema: AvroSchema, *, refer_to: str = DEFINITIONS) -> None:
        """`refer_to` is where the definitions will stand in the document, as a reference begins."""
        self.definitions: dict[str, JsonSchema] = {}
        self._schema = schema
        self._refer_to = refer_to
        self._kinds: dict[str, Callable[[Node], JsonSchema]] = {
            "record": self._record,
            "enum": lambda node: {"type": "string", "enum": list(node["symbols"])},
            "fixed": _of_form,
            "bytes": _of_form,
            "union": self._union,
            "array": lambda node: {"type": "array", "items": self.of(node["items"])},
            "map": lambda node: {"type": "object", "additionalProperties": self.of(node["values"])},
        }

    def of(self, node: Node) -> JsonSchema:
        """The JSON Schema of a type of this schema; a reference where it has a name."""
        node = self._schema.resolved(node)
        kind = self._schema.kind(node)
        if kind in _NAMED:
            name: str = node["name"]
            if name not in self.definitions:
                self.definitions[name] = {}  # the name is taken: a recursive type refers to it
                self.definitions[name] = {**self._kinds[kind](node), **_description(node)}
            return {"$ref": f"{self._refer_to}{name}"}
        make = self._kinds.get(kind)
        return make(node) if make is not None else _of_form(node) or dict(_PRIMITIVE[kind])

    def _record(self, node: Node) -> JsonSchema:
        fields = node["fields"]
        made: JsonSchema = {
            "type": "object",
            "properties": {field["name"]: {**self.of(field["type"]), **_description(field)} for field in fields},
        }
        required = [field["name"] for field in fields if "default" not in field]
        return {**made, "required": required} if required else made

    def _union(self, node: Node) -> JsonSchema:
        branches = [self.of(branch) for branch in node]
        if len(branches) == 1:
            return branches[0]
        return {"anyOf": branches} if branches else {"not": {}}


def _description(said: Node) -> JsonSchema:
    doc = said.get("doc")
    return {"description": doc} if isinstance(doc, str) and doc else {}


def _of_form(node: Node) -> JsonSchema:
    """Of a type whose values have a form of their own; empty where they have none."""
    form = form_of(node)
    if form is None:
        return {}
    if form == "decimal":
        scale = node.get("scale", 0)
        fraction = rf"\.[0-9]{{{scale}}}" if scale else ""
        return {**_TEXT, "pattern": f"^-?[0-9]+{fraction}$"}
    if form.startswith("time-"):
        return {**_TEXT, "pattern": rf"^{_CLOCK}\.[0-9]{{{_DIGITS[form.removeprefix('time-')]}}}$"}
    if form.startswith("local-"):
        digits = _DIGITS[form.removeprefix("local-timestamp-")]
        return {**_TEXT, "pattern": rf"^{_DATE}T{_CLOCK}\.[0-9]{{{digits}}}$"}
    if form.startswith("timestamp-"):
        return {**_TEXT, "format": "date-time"}
    return {**_TEXT, **_OTHER[form]}


_OTHER: dict[str, JsonSchema] = {
    "base64": {"contentEncoding": "base64"},
    "date": {"format": "date"},
    "uuid": {"format": "uuid"},
    # JSON Schema's own format has no fractions of a second.
    "duration": {"pattern": r"^P([0-9]+M)?([0-9]+D)?(T[0-9]+(\.[0-9]{3})?S)?$"},
}
