"""What reading one record of a schema may cost, known from the schema alone.

fastavro reads in C: what is nested too deeply overflows the C stack, and that ends the process instead of raising. A
type without bytes (null, a record without fields) can be repeated without end by a record of a few bytes. No event
needs either, so such schemas are refused. Only recursion is needed, and its depth is the record's: see `is_recursive`.
"""

from __future__ import annotations

from typing import NamedTuple

from .avro_schema import AvroSchema, Node
from .errors import InvalidSchemaError

MAX_DEPTH = 100
# Parts that are read for each byte, at most. With every part a byte or more it is 2.
_MAX_PARTS_PER_BYTE = 50
_WIDTHS = {"null": 0, "float": 4, "double": 8}  # everything else is a byte at least


class _Cost(NamedTuple):
    """Of the smallest value of a type: how deeply it is nested, how many parts are read, how many bytes they have."""

    depth: int
    parts: int
    width: int


def is_recursive(schema: AvroSchema) -> bool:
    """Whether a type contains itself, so that a record may be nested as deeply as it is long.

    Raises:
        InvalidSchemaError: its records could not be read within bounds.
    """
    costs = _Costs(schema)
    try:
        costs.of(schema.root, frozenset())
    except (RecursionError, TypeError, LookupError) as exc:
        msg = f"types that are nested too deeply, or are none ({type(exc).__name__})"
        raise InvalidSchemaError(msg) from exc
    return costs.recursive


class _Costs:
    """Costs by name, each found once."""

    def __init__(self, schema: AvroSchema) -> None:
        self.recursive = False
        self._schema = schema
        self._known: dict[str, _Cost] = {}
        self._under_way: set[str] = set()

    def of(self, node: Node, within: frozenset[str]) -> _Cost:
        """Cost of a type; `within`: the records that it stands in without a choice, so it cannot be one of them."""
        node = self._schema.resolved(node)
        kind = self._schema.kind(node)
        if kind == "record":
            return self._of_record(node, within)
        if kind == "union":
            branches = [self.of(branch, frozenset()) for branch in node]
            return self._checked(_Cost(1 + max((branch.depth for branch in branches), default=0), 2, 1))
        if kind in ("array", "map"):
            items = self.of(node["items" if kind == "array" else "values"], frozenset())
            if kind == "array" and not items.width:
                msg = "an array of items that have no bytes"
                raise InvalidSchemaError(msg)
            return self._checked(_Cost(1 + items.depth, 1, 1))
        return _Cost(1, 1, max(0, int(node["size"])) if kind == "fixed" else _WIDTHS.get(kind, 1))

    def _of_record(self, node: Node, within: frozenset[str]) -> _Cost:
        name = node["name"]
        if name in within:
            msg = f"the record {name[:100]} always contains itself"
            raise InvalidSchemaError(msg)
        if name in self._under_way:
            self.recursive = True
            return _Cost(1, 1, 1)
        known = self._known.get(name)
        if known is not None:
            return known
        self._under_way.add(name)
        fields = [self.of(field["type"], within | {name}) for field in node["fields"]]
        self._under_way.discard(name)
        cost = _Cost(
            1 + max((field.depth for field in fields), default=0),
            1 + sum(field.parts for field in fields),
            sum(field.width for field in fields),
        )
        self._known[name] = self._checked(cost)
        return cost

    def _checked(self, cost: _Cost) -> _Cost:
        if cost.depth > MAX_DEPTH:
            msg = f"types that are nested more than {MAX_DEPTH} deep"
            raise InvalidSchemaError(msg)
        if cost.parts > _MAX_PARTS_PER_BYTE * (1 + cost.width):
            msg = f"a record of {cost.parts} parts that may have {cost.width} bytes"
            raise InvalidSchemaError(msg)
        return cost
