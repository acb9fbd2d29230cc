"""What a parsed Avro schema has to look like, as far as fastavro's parser does not look.

It takes a size that is a text, a union without branches, symbols that are no list, aliases that are no names, and two
fields of one name. Whoever reads such a schema later would fail in a place that expects no fault, or lose one of two
values.

Source: Apache Avro 1.12 specification, "Complex Types".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .errors import InvalidSchemaError

_SHOWN = 100  # characters of a name


def check_shape(types: Iterable[Any]) -> None:
    """Check parsed types, and everything that stands in them.

    Raises:
        InvalidSchemaError: with the first fault.
    """
    waiting, seen = list(types), set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, list):
            if not node:
                raise InvalidSchemaError("a union without branches")
            waiting += node
        elif isinstance(node, dict):
            waiting += _parts(node)


def _parts(node: dict[str, Any]) -> list[Any]:
    """The types that stand in one type, which is checked."""
    kind, fields = node["type"], node.get("fields", [])
    _check_aliases(node)
    if kind == "fixed" and (type(node["size"]) is not int or node["size"] < 0):
        raise InvalidSchemaError(f"{_name(node)}: the size of a fixed type is a whole number from 0")
    if kind == "enum" and not isinstance(node["symbols"], list):
        raise InvalidSchemaError(f"{_name(node)}: the symbols of an enum are a list")
    if kind == "array":
        return [node["items"]]
    if kind == "map":
        return [node["values"]]
    if kind not in ("record", "error"):
        return []
    names = [field["name"] for field in fields]
    if not isinstance(fields, list) or not all(isinstance(name, str) for name in names):
        raise InvalidSchemaError(f"{_name(node)}: the fields of a record are a list, each with a name")
    if len(set(names)) != len(names):
        raise InvalidSchemaError(f"{_name(node)}: a record has one field of a name")
    for field in fields:
        _check_aliases(field)
    return [field["type"] for field in fields]


def _check_aliases(node: dict[str, Any]) -> None:
    aliases = node.get("aliases")
    if aliases is None:  # some libraries write null
        return
    if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
        raise InvalidSchemaError(f"{_name(node)}: aliases are a list of names")


def _name(node: dict[str, Any]) -> str:
    return str(node.get("name", node.get("type")))[:_SHOWN]
