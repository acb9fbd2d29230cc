"""JSON as Avro values: the way back from what a `Renderer` shows, for the data of events that are produced here.

Every type takes the form that it has in JSON (see `logical.py`), and Python's own value of it: a `Decimal`, a
`datetime` with a zone, `bytes`. In a union the first branch that takes the value is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hookstream.schemas.avro_schema import AvroSchema, Node
from hookstream.schemas.errors import InvalidValueError

from .data_scalars import Avro, NoScalarError, is_text, scalar
from .json_tree import MAX_DEPTH, shown_key

# Types that a default can be of, by what it is in JSON.
_OF_DEFAULT: Mapping[type, frozenset[str]] = {
    type(None): frozenset({"null"}),
    bool: frozenset({"boolean"}),
    int: frozenset({"int", "long", "float", "double"}),
    float: frozenset({"float", "double"}),
    str: frozenset({"string", "enum", "bytes", "fixed"}),
    list: frozenset({"array"}),
    dict: frozenset({"record", "map"}),
}


class _NoValueError(Exception):
    """A value that its type does not take: where, and what it takes."""

    def __init__(self, at: str, wanted: str) -> None:
        super().__init__(f"{at} {wanted}")
        self.at = at


class DataWriter:
    """Makes Avro values of one type of a schema. Immutable; may be used from any thread."""

    def __init__(self, schema: AvroSchema, node: Node) -> None:
        """`node` is the type, a part of the schema."""
        self._schema = schema
        self._node = node

    def value(self, tree: object, at: str) -> Avro:
        """The Avro value of a JSON tree; `at` is the path of its root.

        Raises:
            InvalidValueError: the type does not take it; with the path, and without the value.
        """
        try:
            return _Writing(self._schema).of(self._node, tree, at, 0)
        except _NoValueError as exc:
            raise InvalidValueError(str(exc), field=at) from None


class _Writing:
    """The writing of one tree."""

    def __init__(self, schema: AvroSchema) -> None:
        self._schema = schema
        # What a branch of a union makes of a value, or why it makes none. Where unions stand within each other, each
        # level would try both branches of the one below, and their number doubles with each level. The values are those
        # of one tree, which lives as long, so an id is of one value.
        self._tried: dict[tuple[int, int, int], Avro] = {}

    def of(self, node: Node, value: object, at: str, depth: int) -> Avro:
        _check_depth(at, depth)
        node = self._schema.resolved(node)
        kind = self._schema.kind(node)
        if kind == "union":
            return self._union(node, value, at, depth)
        if kind == "record":
            return self._record(node, value, at, depth + 1)
        if kind == "array":
            if not isinstance(value, list | tuple):
                raise _NoValueError(at, "must be an array")
            return [self.of(node["items"], item, f"{at}[{index}]", depth + 1) for index, item in enumerate(value)]
        if kind == "map":
            pairs = _object(value, at).items()
            return {key: self.of(node["values"], item, f"{at}{shown_key(key)}", depth + 1) for key, item in pairs}
        try:
            return scalar(kind, node, value)
        except NoScalarError as exc:
            raise _NoValueError(at, str(exc)) from None

    def _union(self, node: Node, value: object, at: str, depth: int) -> Avro:
        if value is None and any(self._schema.kind(branch) == "null" for branch in node):
            return None
        branches = [self._schema.resolved(branch) for branch in node if self._schema.kind(branch) != "null"]
        if len(branches) == 1:
            return self._name(branches[0]), self.of(branches[0], value, at, depth)
        for branch in branches:
            made = self._once(branch, value, at, depth)
            if not isinstance(made, _NoValueError):
                return self._name(branch), made
        raise _NoValueError(at, "is of none of the types that it may have")

    def _once(self, branch: Node, value: object, at: str, depth: int) -> Avro:
        """What a branch makes of a value, or its `_NoValueError`."""
        key = (id(branch), id(value), depth)
        if key not in self._tried:
            try:
                self._tried[key] = self.of(branch, value, at, depth)
            except _NoValueError as exc:
                self._tried[key] = exc.with_traceback(None)
        return self._tried[key]

    def _name(self, branch: Node) -> str:
        """What fastavro calls a branch."""
        branch = self._schema.resolved(branch)
        return str(branch["name"]) if isinstance(branch, dict) and "name" in branch else self._schema.kind(branch)

    def _record(self, node: Node, value: object, at: str, depth: int) -> Avro:
        given = _object(value, at)
        fields = {field["name"]: field for field in node["fields"]}
        for key in given:
            if key not in fields:
                raise _NoValueError(f"{at}{shown_key(key)}", "is not in the schema")
        made = {}
        for name, field in fields.items():
            if name in given:
                made[name] = self.of(field["type"], given[name], f"{at}.{name}", depth)
            elif "default" in field:
                made[name] = self._default(field["type"], field["default"], f"{at}.{name}", depth)
            else:
                raise _NoValueError(f"{at}.{name}", "is missing")
        return made

    def _default(self, node: Node, value: Any, at: str, depth: int) -> Avro:  # noqa: ANN401  # a schema's JSON
        """The Avro value of a default, in which bytes are a text of their code points: fastavro refuses to write it."""
        _check_depth(at, depth)
        node = self._schema.resolved(node)
        kind = self._schema.kind(node)
        if kind == "union":
            fitting = (each for each in node if self._schema.kind(each) in _OF_DEFAULT[type(value)])
            branch = next(fitting, node[0])
            return value if value is None else (self._name(branch), self._default(branch, value, at, depth))
        if kind == "record":
            said = {field["name"]: value.get(field["name"], field.get("default")) for field in node["fields"]}
            types = {field["name"]: field["type"] for field in node["fields"]}
            return {name: self._default(types[name], said[name], f"{at}.{name}", depth + 1) for name in types}
        if kind == "array":
            return [self._default(node["items"], item, at, depth + 1) for item in value]
        if kind == "map":
            return {key: self._default(node["values"], item, at, depth + 1) for key, item in value.items()}
        return value.encode("latin-1") if kind in ("bytes", "fixed") else value


def _check_depth(at: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _NoValueError(at, f"is nested more than {MAX_DEPTH} deep")


def _object(value: object, at: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) and is_text(key) for key in value):
        raise _NoValueError(at, "must be an object")
    return value
