"""The JSON form of each logical type, made while fastavro reads.

fastavro calls a function for each value of a logical type that it knows; here it is given types of our own, one for
each form. A schema is marked with them (`marks`), and what is read by it is a JSON tree at once: in one pass, in C but
for these functions, and in a union by the branch that was written. Values that have no form become `Unshowable`. | Avro
| JSON | |---|---| | bytes, fixed | base64 | | decimal | text, exact, with its scale: "12.30" | | date · time-millis,
-micros | "2026-11-28" · "13:45:30.123", ".123456" | | timestamp-millis, -micros, -nanos · local-timestamp-… | RFC 3339
with Z · without; 3, 6 or 9 digits | | uuid | text | | duration | ISO 8601: "P1M2DT3.004S" | A logical type that does
not fit its type is none, as the specification wants it. Source: Apache Avro 1.12 specification, "Logical Types".
"""

from __future__ import annotations

import struct
from binascii import b2a_base64
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import TypeAlias
from uuid import UUID

from fastavro.read import LOGICAL_READERS

from hookstream.schemas.avro_schema import Node
from hookstream.schemas.errors import InvalidSchemaError

from .json_tree import Unshowable

Form: TypeAlias = Callable[[Node, Node, Node], "str | Unshowable"]
"""From a value that fastavro has read; its type, with its marks; the reader's type, of which there is none."""

MAX_DECIMAL_BYTES = 1000
"""Some 2,400 digits. Python refuses to write numbers of more than 4,300, and takes long for those before."""

MAX_SCALE = 1000
_PREFIX = "hookstream-"
_SIZES = {"duration": 12, "uuid": 16}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_DAY_S = 86_400
_DURATION = struct.Struct("<III")
_NO_DATE = Unshowable("a date outside of the years 1 to 9999")
_NO_TIME = Unshowable("a time outside of a day")
_TOO_MANY_DIGITS = Unshowable(f"a decimal of more than {MAX_DECIMAL_BYTES} bytes")


def marks(node: Node) -> Mapping[str, Node]:
    """What a primitive or fixed type is marked with, so that its values are read in their form; nothing of most.

    Raises:
        InvalidSchemaError: a decimal whose scale is beyond `MAX_SCALE`.
    """
    form = form_of(node)
    if form is None or (form == "uuid" and kind_of(node) == "string"):  # which is that text
        return {}
    scale = {"scale": node.get("scale", 0)} if form == "decimal" else {}
    return {"logicalType": f"{_PREFIX}{form}", **scale}


def form_of(node: Node) -> str | None:
    """The logical type whose form the values of a primitive or fixed type have, or `base64`; None: as they are.

    Raises:
        InvalidSchemaError: a decimal whose scale is beyond `MAX_SCALE`.
    """
    kind = kind_of(node)
    logical = node.get("logicalType") if isinstance(node, dict) else None
    if f"{kind}-{logical}" in _FORMS and _fits(node):
        return str(logical)
    return "base64" if kind in ("bytes", "fixed") else None


def kind_of(node: Node) -> str:
    """The type without what is said about it."""
    return str(node["type"] if isinstance(node, dict) else node)


def _fits(node: Node) -> bool:
    """Whether a type may have its logical type, as far as a schema's parser does not look."""
    if node["logicalType"] == "decimal":
        scale = node.get("scale", 0)
        if type(scale) is not int:  # null, which the parser takes for none
            return False
        if scale > MAX_SCALE:
            msg = f"a decimal with a scale beyond {MAX_SCALE}"
            raise InvalidSchemaError(msg)
        return bool(node.get("precision"))  # a number from 0, as the parser has seen to
    size = _SIZES.get(node["logicalType"]) if node["type"] == "fixed" else None
    return size is None or bool(node.get("size") == size)


def _base64(value: bytes, _writer: Node, _reader: Node) -> str:
    return b2a_base64(value, newline=False).decode()


def _decimal(value: bytes, writer: Node, _reader: Node) -> str | Unshowable:
    if len(value) > MAX_DECIMAL_BYTES:
        return _TOO_MANY_DIGITS
    unscaled = int.from_bytes(value, "big", signed=True)
    scale: int = writer["scale"]
    if not scale:
        return str(unscaled)
    digits = str(abs(unscaled)).zfill(scale + 1)
    return f"{'-' if unscaled < 0 else ''}{digits[:-scale]}.{digits[-scale:]}"


def _as_it_is(value: str, _writer: Node, _reader: Node) -> str:
    return value


def _date(value: int, _writer: Node, _reader: Node) -> str | Unshowable:
    try:
        return date.fromordinal(_EPOCH_DAY + value).isoformat()
    except (ValueError, OverflowError):
        return _NO_DATE


def _time(per_s: int, digits: int) -> Form:
    def form(value: int, _writer: Node, _reader: Node) -> str | Unshowable:
        if not 0 <= value < _DAY_S * per_s:
            return _NO_TIME
        seconds, part = divmod(value, per_s)
        minutes, second = divmod(seconds, 60)
        hour, minute = divmod(minutes, 60)
        return f"{hour:02}:{minute:02}:{second:02}.{part:0{digits}}"

    return form


def _timestamp_millis(zone: str) -> Form:
    def form(value: int, _writer: Node, _reader: Node) -> str | Unshowable:
        try:
            return (_EPOCH + timedelta(0, 0, 0, value)).isoformat("T", "milliseconds") + zone
        except OverflowError:
            return _NO_DATE

    return form


def _timestamp_micros(zone: str) -> Form:
    def form(value: int, _writer: Node, _reader: Node) -> str | Unshowable:
        try:
            return (_EPOCH + timedelta(0, 0, value)).isoformat("T", "microseconds") + zone
        except OverflowError:
            return _NO_DATE

    return form


def _timestamp_nanos(zone: str) -> Form:
    def form(value: int, _writer: Node, _reader: Node) -> str:
        micros, nanos = divmod(value, 1000)
        # 2^63 nanoseconds are 292 years: every one is a date.
        return f"{(_EPOCH + timedelta(0, 0, micros)).isoformat('T', 'microseconds')}{nanos:03}{zone}"

    return form


def _uuid_bytes(value: bytes, _writer: Node, _reader: Node) -> str:
    return str(UUID(bytes=value))


def _duration(value: bytes, _writer: Node, _reader: Node) -> str:
    months, days, ms = _DURATION.unpack(value)
    seconds, part = divmod(ms, 1000)
    text = "P" + (f"{months}M" if months else "") + (f"{days}D" if days else "")
    if ms or text == "P":
        text += f"T{seconds}" + (f".{part:03}" if part else "") + "S"
    return text


_FORMS: dict[str, Form] = {
    "bytes-decimal": _decimal,
    "fixed-decimal": _decimal,
    "int-date": _date,
    "int-time-millis": _time(1000, 3),
    "long-time-micros": _time(1_000_000, 6),
    "long-timestamp-millis": _timestamp_millis("Z"),
    "long-timestamp-micros": _timestamp_micros("Z"),
    "long-timestamp-nanos": _timestamp_nanos("Z"),
    "long-local-timestamp-millis": _timestamp_millis(""),
    "long-local-timestamp-micros": _timestamp_micros(""),
    "long-local-timestamp-nanos": _timestamp_nanos(""),
    "string-uuid": _as_it_is,
    "fixed-uuid": _uuid_bytes,
    "fixed-duration": _duration,
}
_BASE64: dict[str, Form] = {"bytes-base64": _base64, "fixed-base64": _base64}

# fastavro's one table for a process. The names are ours alone, so nothing else that reads Avro here sees a change.
for _name, _form in (_FORMS | _BASE64).items():
    _kind, _, _logical = _name.partition("-")
    LOGICAL_READERS[f"{_kind}-{_PREFIX}{_logical}"] = _form
