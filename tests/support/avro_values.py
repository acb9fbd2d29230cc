"""Random Avro schemas with values, and the JSON that each value is: written a second time, slowly, from the table.

The second reader takes what fastavro itself reads with logical types: decimals, dates, times and UUIDs of Python.
"""

from __future__ import annotations

import base64
import math
import struct
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from typing import Any, TypeAlias
from uuid import UUID

from hypothesis import strategies as st

Schema: TypeAlias = Any
Value: TypeAlias = Any

_WIDE = Context(prec=100)


@dataclass
class Names:
    """Named types of a schema that is being drawn: those that can be referred to by now, and those under way."""

    made: list[Schema] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    count: int = 0

    def new(self) -> str:
        self.count += 1
        return f"n{self.count}"


# A name without a namespace cannot be referred to from inside of one.
NAMESPACES = st.sampled_from(["com", "com.example", "com.example.deep"])
PRIMITIVES = st.sampled_from(["null", "boolean", "int", "long", "float", "double", "bytes", "string"])
LOGICAL = st.sampled_from(
    [
        ("int", "date"),
        ("int", "time-millis"),
        ("long", "time-micros"),
        ("long", "timestamp-millis"),
        ("long", "timestamp-micros"),
        ("long", "local-timestamp-millis"),
        ("long", "local-timestamp-micros"),
        ("string", "uuid"),
        ("string", "of-another-library"),
    ]
).map(lambda pair: {"type": pair[0], "logicalType": pair[1]})
DECIMALS = st.integers(0, 9).map(lambda s: {"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": s})


@st.composite
def record_schemas(draw: st.DrawFn) -> Schema:
    """A record; its types refer to each other and to themselves."""
    return _record(draw, Names(), 3)


def _type(draw: st.DrawFn, names: Names, depth: int, *, in_union: bool = False) -> Schema:  # noqa: PLR0911 - one a kind
    choices = ["primitive", "logical", "decimal", "fixed", "enum"]
    if names.made:
        choices.append("again")
    if depth:
        choices += ["array", "map", "record"] + ([] if in_union else ["union", "union"])
    choice = draw(st.sampled_from(choices))
    if choice == "primitive":
        return draw(PRIMITIVES)
    if choice == "logical":
        return draw(LOGICAL)
    if choice == "decimal":
        return draw(DECIMALS)
    if choice == "again":
        return draw(st.sampled_from(names.made))["full"]
    if choice == "array":
        items = _type(draw, names, depth - 1)
        return {"type": "array", "items": "int" if items == "null" else items}  # which has no bytes: refused
    if choice == "map":
        return {"type": "map", "values": _type(draw, names, depth - 1)}
    if choice == "union":
        return _union(draw, names, depth)
    return _record(draw, names, depth - 1) if choice == "record" else _named(draw, names, choice)


def _head(draw: st.DrawFn, names: Names) -> tuple[Schema, str]:
    name, namespace = names.new(), draw(NAMESPACES)
    return {"name": name, "namespace": namespace}, f"{namespace}.{name}"


def _named(draw: st.DrawFn, names: Names, choice: str) -> Schema:
    head, full = _head(draw, names)
    if choice == "enum":
        made = {**head, "type": "enum", "symbols": ["A", "B", "C"]}
    else:
        said: Schema = {**draw(st.sampled_from([{}, {"logicalType": "duration"}, {"logicalType": "decimal"}]))}
        if said.get("logicalType") == "duration":
            said["size"] = 12
        elif said:
            said |= {"size": 12, "precision": 20, "scale": draw(st.integers(0, 9))}
        made = {**head, "type": "fixed", "size": 3, **said}
    names.made.append({"full": full})
    return made


def _record(draw: st.DrawFn, names: Names, depth: int) -> Schema:
    head, full = _head(draw, names)
    count = draw(st.integers(1, 4))
    fields = [{"name": f"f{n}", "type": _type(draw, names, depth), "doc": f"field {n}"} for n in range(count)]
    again = draw(st.sampled_from([None, "union", "array", "map"]))
    if again is not None:
        kinds = {
            "union": ["null", full],
            "array": {"type": "array", "items": full},
            "map": {"type": "map", "values": full},
        }
        fields.append({"name": "again", "type": kinds[again]})
    fields.append({"name": "end", "type": "boolean"})  # a byte at least, so that it may be in arrays
    names.made.append({"full": full})
    return {**head, "type": "record", "fields": fields, "aliases": ["old_name"]}


def _union(draw: st.DrawFn, names: Names, depth: int) -> Schema:
    branches: list[Schema] = []
    seen: set[str] = set()
    for _ in range(draw(st.integers(1, 4))):
        known = len(names.made)
        branch = _type(draw, names, depth - 1, in_union=True)
        kind = branch if isinstance(branch, str) else branch["type"]
        key = branch["name"] if isinstance(branch, dict) and "name" in branch else kind
        if key.rpartition(".")[2] not in seen:
            seen.add(key.rpartition(".")[2])
            branches.append(branch)
        else:
            del names.made[known:]  # with what is left out, what it defines
    return branches


class Expected:
    """What a value of a schema is in JSON, by the table of the documents; `named` are the schema's named types."""

    def __init__(self, named: dict[str, Schema]) -> None:
        self._named = named

    def of(self, node: Schema, drawn: Value, read: Value) -> Value:
        """`drawn` says the branches of unions, `read` is what fastavro makes of the bytes."""
        node = self._named.get(node, node) if isinstance(node, str) else node
        if isinstance(node, list):
            branch, inner = drawn
            return self.of(node[branch], inner, read)
        kind = node if isinstance(node, str) else node["type"]
        if kind == "record":
            names = [each["name"] for each in node["fields"]]
            types = [each["type"] for each in node["fields"]]
            return {n: self.of(t, drawn[n], read[n]) for n, t in zip(names, types, strict=True)}
        if kind == "array":
            return [self.of(node["items"], *pair) for pair in zip(drawn, read, strict=True)]
        if kind == "map":
            return {key: self.of(node["values"], drawn[key], each) for key, each in read.items()}
        return _scalar(node, kind, read)


def _scalar(node: Schema, kind: str, value: Value) -> Value:  # noqa: PLR0911 - one a form
    logical = node.get("logicalType") if isinstance(node, dict) else None
    if logical == "decimal":
        assert isinstance(value, Decimal)
        return f"{value.quantize(Decimal(1).scaleb(-node['scale']), context=_WIDE):f}"
    if logical == "duration":
        months, days, ms = struct.unpack("<III", value)
        return _duration(months, days, ms)
    if isinstance(value, datetime):
        assert logical is not None
        digits = "milliseconds" if logical.endswith("millis") else "microseconds"
        zone = "" if logical.startswith("local") else "Z"
        return f"{value.replace(tzinfo=None).isoformat(timespec=digits)}{zone}"
    if isinstance(value, time):
        return value.isoformat(timespec="milliseconds" if logical == "time-millis" else "microseconds")
    if isinstance(value, date | UUID):
        return str(value)
    if kind in ("bytes", "fixed"):
        return base64.b64encode(value).decode()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _duration(months: int, days: int, ms: int) -> str:
    if not (months or days or ms):
        return "PT0S"
    seconds = f"{ms / 1000:.3f}".removesuffix(".000")
    return f"P{f'{months}M' if months else ''}{f'{days}D' if days else ''}{f'T{seconds}S' if ms else ''}"


class Values:
    """Draws values: with the branch of each union, for the second reader, and as fastavro writes them."""

    def __init__(self, draw: st.DrawFn, named: dict[str, Schema]) -> None:
        self._draw = draw
        self._named = named

    def of(self, node: Schema, depth: int = 6) -> Value:
        node = self._named.get(node, node) if isinstance(node, str) else node
        if isinstance(node, list):
            return self._union(node, depth)
        kind = node if isinstance(node, str) else node["type"]
        few = 0 if depth <= 0 else 2
        if kind == "record":
            return {each["name"]: self.of(each["type"], depth - 1) for each in node["fields"]}
        if kind == "array":
            return [self.of(node["items"], depth - 1) for _ in range(self._draw(st.integers(0, few)))]
        if kind == "map":
            keys = self._draw(st.lists(st.text(max_size=3), max_size=few, unique=True))
            return {key: self.of(node["values"], depth - 1) for key in keys}
        if kind == "enum":
            return self._draw(st.sampled_from(node["symbols"]))
        return self._draw(_scalars(node, kind))

    def _union(self, node: Schema, depth: int) -> Value:
        index = self._draw(st.integers(0, len(node) - 1))
        if depth <= 0 and "null" in node:
            index = node.index("null")
        return index, self.of(node[index], depth - 1)


def _scalars(node: Schema, kind: str) -> st.SearchStrategy[Any]:
    logical = node.get("logicalType") if isinstance(node, dict) else None
    if logical == "decimal":
        unscaled = st.integers(-(10**18), 10**18) | st.integers(-200, 200)
        return unscaled.map(lambda n: Decimal(n).scaleb(-node["scale"], context=_WIDE))
    if logical is not None and logical in _LOGICAL_VALUES:
        return _LOGICAL_VALUES[logical]
    if kind == "fixed":
        return st.binary(min_size=node["size"], max_size=node["size"])
    return _PLAIN_VALUES[kind]


_DAY_MS = 86_400_000
_MILLIS = st.datetimes().map(lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000))
_LOGICAL_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "date": st.dates(),
    "time-millis": st.integers(0, _DAY_MS - 1).map(lambda ms: (datetime.min + timedelta(milliseconds=ms)).time()),  # noqa: DTZ901
    "time-micros": st.times(),
    "timestamp-millis": _MILLIS.map(lambda at: at.replace(tzinfo=UTC)),
    "timestamp-micros": st.datetimes().map(lambda at: at.replace(tzinfo=UTC)),
    "local-timestamp-millis": _MILLIS,
    "local-timestamp-micros": st.datetimes(),
    "uuid": st.uuids(),
}
_PLAIN_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32),
    "double": st.floats(),
    "bytes": st.binary(max_size=8),
    "string": st.text(max_size=8),
}


class Encoded:
    """The Avro bytes of a drawn value: the branch is the drawn one, which a writer that guesses might not take."""

    def __init__(self, named: dict[str, Schema]) -> None:
        self._named = named

    def of(self, node: Schema, value: Value) -> bytes:
        node = self._named.get(node, node) if isinstance(node, str) else node
        if isinstance(node, list):
            branch, inner = value
            return _long(branch) + self.of(node[branch], inner)
        kind = node if isinstance(node, str) else node["type"]
        if kind == "record":
            return b"".join(self.of(each["type"], value[each["name"]]) for each in node["fields"])
        if kind == "array":
            return _block([self.of(node["items"], each) for each in value])
        if kind == "map":
            return _block([_sized(key.encode()) + self.of(node["values"], each) for key, each in value.items()])
        return _encoded_scalar(node, kind, value)


def _encoded_scalar(node: Schema, kind: str, value: Value) -> bytes:  # noqa: PLR0911 - one a kind
    if isinstance(value, Decimal):
        unscaled = int(value.scaleb(node["scale"], context=_WIDE))
        size = node.get("size", unscaled.bit_length() // 8 + 1)
        raw = unscaled.to_bytes(size, "big", signed=True)
        return raw if kind == "fixed" else _sized(raw)
    if kind == "enum":
        return _long(node["symbols"].index(value))
    if kind in ("int", "long"):
        return _long(_number(node, value))
    if kind in ("float", "double"):
        return struct.pack("<f" if kind == "float" else "<d", value)
    if kind in ("null", "boolean"):
        return bytes([value] if kind == "boolean" else [])
    if kind == "fixed":
        return bytes(value)
    return _sized(value if isinstance(value, bytes) else str(value).encode())


def _number(node: Schema, value: Value) -> int:
    if isinstance(value, datetime):
        unit = timedelta(milliseconds=1) if node["logicalType"].endswith("millis") else timedelta(microseconds=1)
        return (value.replace(tzinfo=None) - datetime(1970, 1, 1)) // unit  # noqa: DTZ001 - a local time
    if isinstance(value, date):
        return value.toordinal() - date(1970, 1, 1).toordinal()
    if isinstance(value, time):
        micros = ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond
        return micros // 1000 if node["logicalType"] == "time-millis" else micros
    return int(value)


def _long(number: int) -> bytes:
    left, made = (number << 1) ^ (number >> 63), bytearray()
    while left & ~0x7F:
        made.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*made, left])


def _sized(raw: bytes) -> bytes:
    return _long(len(raw)) + raw


def _block(items: list[bytes]) -> bytes:
    return b"".join([_long(len(items)), *items, _long(0)]) if items else _long(0)
