"""JSON as Avro's scalars: numbers, texts, bytes, and every logical type in the form that it has in JSON."""

from __future__ import annotations

import re
import struct
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any, Final, TypeAlias
from uuid import UUID

from hookstream.schemas.avro_schema import Node

from .logical import form_of

Avro: TypeAlias = Any
"""What fastavro writes by the physical form of a schema."""

_INT, _LONG = 2**31, 2**63
_FLOAT = 3.4028235677973366e38  # what rounds to more is no float
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PER_S = {"millis": 1000, "micros": 1_000_000, "nanos": 1_000_000_000}
_RFC_3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)?", re.ASCII | re.IGNORECASE)
_CLOCK = re.compile(r"(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?", re.ASCII)
_DURATION = re.compile(r"P(?:(\d{1,10})M)?(?:(\d{1,10})D)?(?:T(\d{1,7})(?:\.(\d{3}))?S)?", re.ASCII)
_MAX_DIGITS = 2000

_REFUSED: Final = object()


class NoScalarError(Exception):
    """A value that its type does not take; the message says what it takes."""


def scalar(kind: str, node: Node, value: object) -> Avro:
    """The Avro value of a scalar; `kind` is the node's.

    Raises:
        NoScalarError: the type does not take it.
    """
    form = form_of(node)
    take, wanted = (_PLAIN if form is None else _FORMS)[kind if form is None else form]
    try:
        made = take(node, value)
    except (ValueError, TypeError, OverflowError, InvalidOperation, Base64Error):
        made = _REFUSED
    if made is _REFUSED:
        raise NoScalarError(f"must be {wanted}")
    return made


def is_text(value: str) -> bool:
    """Whether UTF-8 can write it."""
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False


def _null(_node: Node, value: object) -> Avro:
    return None if value is None else _REFUSED


def _boolean(_node: Node, value: object) -> Avro:
    return value if isinstance(value, bool) else _REFUSED


def _integer(limit: int, _node: Node, value: object) -> Avro:
    return value if type(value) is int and -limit <= value < limit else _REFUSED


def _number(limit: float, _node: Node, value: object) -> Avro:
    if type(value) not in (int, float):
        return _REFUSED
    number = float(value)  # type: ignore[arg-type]
    return number if number in (float("inf"), float("-inf")) or not abs(number) >= limit else _REFUSED


def _string(_node: Node, value: object) -> Avro:
    return value if isinstance(value, str) and is_text(value) else _REFUSED


def _enum(node: Node, value: object) -> Avro:
    return value if value in node["symbols"] else _REFUSED


def _bytes(node: Node, value: object) -> Avro:
    raw = a2b_base64(value.encode("ascii"), strict_mode=True) if isinstance(value, str) else value
    return raw if isinstance(raw, bytes) and len(raw) == node_size(node, raw) else _REFUSED


def node_size(node: Node, raw: bytes) -> int:
    """The size that a value of bytes has to have."""
    size: int = node["size"] if isinstance(node, dict) and "size" in node else len(raw)
    return size


def _decimal(node: Node, value: object) -> Avro:
    if isinstance(value, bool | float) or not isinstance(value, str | int | Decimal):
        return _REFUSED
    if isinstance(value, str) and (len(value) > _MAX_DIGITS or not re.fullmatch(r"-?\d+(\.\d+)?", value, re.ASCII)):
        return _REFUSED
    sign, digits, exponent = Decimal(value).as_tuple()
    scale = node.get("scale", 0)
    if not isinstance(exponent, int) or abs(exponent) > _MAX_DIGITS or len(digits) > _MAX_DIGITS:
        return _REFUSED
    unscaled, shift = int("".join(map(str, digits))), exponent + scale
    if shift < 0:
        unscaled, lost = divmod(unscaled, 10**-shift)
        if lost:
            return _REFUSED
    else:
        unscaled *= 10**shift
    if len(str(unscaled)) > node["precision"]:
        return _REFUSED
    unscaled = -unscaled if sign else unscaled
    size = node["size"] if "size" in node else unscaled.bit_length() // 8 + 1
    return unscaled.to_bytes(size, "big", signed=True)


def _date(_node: Node, value: object) -> Avro:
    day = date.fromisoformat(value) if isinstance(value, str) and len(value) == len("2026-11-28") else value
    if not isinstance(day, date) or isinstance(day, datetime):
        return _REFUSED
    return day.toordinal() - _EPOCH.toordinal()


def _time(unit: str, _node: Node, value: object) -> Avro:
    per_s = _PER_S[unit]
    if isinstance(value, time) and value.tzinfo is None:
        value = value.isoformat("microseconds")
    found = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return _REFUSED
    hour, minute, second = (int(part) for part in found.groups()[:3])
    time(hour, minute, second)  # whether there is such a time
    return ((hour * 60 + minute) * 60 + second) * per_s + _fraction(found[4], per_s)


def _fraction(digits: str | None, per_s: int) -> int:
    """A part of a second in a unit.

    Raises:
        ValueError: it is finer than that.
    """
    nanos = int((digits or "").ljust(9, "0"))
    whole, lost = divmod(nanos * per_s, 10**9)
    if lost:
        raise ValueError
    return whole


def _timestamp(unit: str, zoned: bool, _node: Node, value: object) -> Avro:  # noqa: FBT001
    if isinstance(value, datetime):
        value = value.isoformat("T", "microseconds")
    found = _RFC_3339.fullmatch(value) if isinstance(value, str) else None
    if found is None or (found[3] is not None) != zoned:
        return _REFUSED
    at = datetime.fromisoformat(found[1].upper() + ("+00:00" if found[3] in (None, "Z", "z") else found[3]))
    at.astimezone(UTC)  # whether a reader can show it: in another zone it may be of the year 0 or 10000
    seconds = (at - _EPOCH) // timedelta(seconds=1)
    made = seconds * _PER_S[unit] + _fraction(found[2], _PER_S[unit])
    return made if -_LONG <= made < _LONG else _REFUSED


def _uuid(node: Node, value: object) -> Avro:
    made = value if isinstance(value, UUID) else UUID(value) if isinstance(value, str) else None
    if made is None:
        return _REFUSED
    return made.bytes if "size" in node else str(made)


def _duration(_node: Node, value: object) -> Avro:
    found = _DURATION.fullmatch(value) if isinstance(value, str) and value not in ("P", "PT") else None
    if found is None:
        return _REFUSED
    months, days, seconds, ms = (int(part or 0) for part in found.groups())
    try:
        return struct.pack("<III", months, days, seconds * 1000 + ms)
    except struct.error:
        return _REFUSED


Taker: TypeAlias = Callable[[Node, object], Avro]

_PLAIN: dict[str, tuple[Taker, str]] = {
    "null": (_null, "null"),
    "boolean": (_boolean, "true or false"),
    "int": (partial(_integer, _INT), "an integer of 32 bits"),
    "long": (partial(_integer, _LONG), "an integer of 64 bits"),
    "float": (partial(_number, _FLOAT), "a number of 32 bits"),
    "double": (partial(_number, float("inf")), "a number"),
    "string": (_string, "a string without lone surrogates"),
    "enum": (_enum, "one of the symbols of its enum"),
}
_TIMES = {
    f"{prefix}timestamp-{unit}": (partial(_timestamp, unit, not prefix), wanted)
    for prefix, wanted in (("", "a time in RFC 3339 with a zone"), ("local-", "a time in RFC 3339 without a zone"))
    for unit in _PER_S
}
_FORMS: dict[str, tuple[Taker, str]] = {
    "base64": (_bytes, "base64 of as many bytes as its type has"),
    "decimal": (_decimal, "a decimal, as a string, of no more digits than its type has"),
    "date": (_date, "a date, such as 2026-11-28"),
    "time-millis": (partial(_time, "millis"), "a time of day, such as 13:45:30.123"),
    "time-micros": (partial(_time, "micros"), "a time of day, such as 13:45:30.123456"),
    "uuid": (_uuid, "a UUID"),
    "duration": (_duration, "a duration in ISO 8601, such as P1M2DT3.004S"),
    **_TIMES,
}
