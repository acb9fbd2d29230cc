"""An event's data as Avro: every type takes the form that it has in JSON, and a fault names its path."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookstream.schemas.avro_schema import AvroSchema
from hookstream.schemas.errors import InvalidValueError
from hookstream.schemas.rendering.data_writer import DataWriter
from hookstream.schemas.wire import record_reader, record_writer


def logical(kind: str, name: str, **more: object) -> dict[str, object]:
    return {"type": kind, "logicalType": name, **more}


MONEY = logical("bytes", "decimal", precision=6, scale=2)
PRICE = {"type": "fixed", "name": "Price", "size": 4, "logicalType": "decimal", "precision": 9, "scale": 3}
COLOUR = {"type": "enum", "name": "Colour", "symbols": ["RED", "BLUE"]}
DURATION = {"type": "fixed", "name": "Lasts", "size": 12, "logicalType": "duration"}
LINE = {"type": "record", "name": "Line", "fields": [{"name": "price", "type": MONEY}, {"name": "n", "type": "int"}]}
TREE = {
    "type": "record",
    "name": "Tree",
    "fields": [{"name": "of", "type": {"type": "array", "items": "Tree"}}],
}


def through(kind: object, value: object) -> Any:
    """What a router reads of what a producer wrote."""
    text = json.dumps({"type": "record", "name": "E", "fields": [{"name": "data", "type": kind}]})
    schema = AvroSchema(text)
    made = DataWriter(schema, schema.fields(schema.root)["data"]["type"]).value(value, "data")
    read = record_reader(text, lambda _: text, about=lambda _: None, rendered="data")
    return read(record_writer(text, 1)({"data": made}))[0]["data"]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("boolean", True),
        ("int", -(2**31)),
        ("long", 2**63 - 1),
        ("double", 1.5),
        ("float", 0.5),
        ("string", "ä"),
        ("bytes", "AP8="),
        (COLOUR, "BLUE"),
        (MONEY, "-1234.50"),
        (MONEY, "0.00"),
        (PRICE, "-123456.789"),
        (logical("int", "date"), "0001-01-01"),
        (logical("int", "time-millis"), "23:59:59.999"),
        (logical("long", "time-micros"), "13:45:30.123456"),
        (logical("long", "timestamp-millis"), "1969-12-31T23:59:59.999Z"),
        (logical("long", "timestamp-micros"), "9999-12-31T23:59:59.999999Z"),
        (logical("long", "timestamp-nanos"), "2026-11-28T09:00:00.123456789Z"),
        (logical("long", "local-timestamp-millis"), "2026-11-28T09:00:00.001"),
        (logical("string", "uuid"), "0190b7a2-7c1e-7d4f-9d6e-5f3f1f2e4a5b"),
        (DURATION, "P1M2DT3.004S"),
        (["null", "string"], None),
        (["null", "long", "string"], "7"),
        (["null", MONEY, LINE], {"price": "1.00", "n": 1}),
        ({"type": "array", "items": LINE}, [{"price": "1.00", "n": 1}]),
        ({"type": "map", "values": ["null", "int"]}, {"a": 1, "b": None}),
        (TREE, {"of": [{"of": []}, {"of": [{"of": []}]}]}),
    ],
)
def test_what_json_shows_is_what_was_given(kind: object, value: object) -> None:
    assert through(kind, value) == value


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        (MONEY, Decimal("12.3"), "12.30"),
        (MONEY, 12, "12.00"),
        ("bytes", b"\x00\xff", "AP8="),
        ("double", 1, 1.0),
        ("double", float("nan"), None),
        (logical("int", "date"), date(2026, 11, 28), "2026-11-28"),
        (logical("int", "time-millis"), time(1, 2, 3, 4000), "01:02:03.004"),
        (logical("long", "timestamp-millis"), datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00.000Z"),
        (logical("long", "timestamp-millis"), "2026-01-02T01:00:00+01:00", "2026-01-02T00:00:00.000Z"),
        (logical("string", "uuid"), UUID(int=1), str(UUID(int=1))),
        ({"type": "array", "items": "int"}, (1, 2), [1, 2]),
    ],
)
def test_python_s_own_values_are_taken(kind: object, value: object, shown: object) -> None:
    found = through(kind, value)
    assert found == shown or (shown is None and found != found)  # noqa: PLR0124  # NaN is shown as null when it is dumped


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("boolean", 1), ("int", 2**31), ("int", True), ("int", "1"), ("int", 1.0), ("long", 2**63), ("string", 1),
        ("string", "\ud800"), ("string", None), ("bytes", "?"), ("bytes", "AP8"), (COLOUR, "GREEN"), (COLOUR, []),
        ("double", "1"), ("double", True), ("float", 1e39), ("double", 10**400), (MONEY, "1.234"), (MONEY, "12345.00"),
        (MONEY, 1.5), (MONEY, "1e5"), (MONEY, "NaN"), (MONEY, Decimal("Infinity")), (MONEY, "9" * 9000), (MONEY, True),
        (PRICE, "9999999.999"), (logical("int", "date"), "2026-02-30"), (logical("int", "date"), "20261128"),
        (logical("int", "time-millis"), "24:00:00"), (logical("int", "time-millis"), "00:00:00.0001"),
        (logical("long", "timestamp-millis"), "2026-01-02T00:00:00"), (logical("long", "timestamp-millis"), 5),
        (logical("long", "timestamp-millis"), datetime(2026, 1, 2)), (logical("string", "uuid"), "x"),  # noqa: DTZ001
        (logical("long", "local-timestamp-millis"), "2026-01-02T00:00:00Z"), (DURATION, "P"),
        (DURATION, "P9999999999M"), (MONEY, Decimal("1E-3000")),
        (logical("long", "timestamp-millis"), "0001-01-01T00:00:00+23:59"),
        (logical("long", "timestamp-millis"), "9999-12-31T23:59:59-23:59"),
        (logical("long", "timestamp-nanos"), "9999-01-02T00:00:00Z"), ("null", 0),
        ({"type": "array", "items": "int"}, {}), ({"type": "map", "values": "int"}, []), (LINE, "x"), (LINE, {1: 2}),
    ],
)  # fmt: skip
def test_what_a_type_does_not_take_is_refused_without_its_value(kind: object, value: object) -> None:
    with pytest.raises(InvalidValueError, match=r"^data must be ") as caught:
        through(kind, value)
    assert caught.value.field == "data"


ORDER = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "lines", "type": {"type": "array", "items": LINE}},
        {"name": "note", "type": ["null", "string"], "default": None},
        {"name": "by", "type": {"type": "map", "values": "long"}, "default": {}},
    ],
}
GOOD = {"price": "1.00", "n": 1}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"lines": [GOOD, GOOD, GOOD | {"price": "1.001"}]}, "data.lines[2].price must be a decimal"),
        ({"lines": [{"price": "1.00"}]}, "data.lines[0].n is missing"),
        ({"lines": [], "notes": "x"}, "data.notes is not in the schema"),
        ({}, "data.lines is missing"),
        ({"lines": [], "note": 7}, "data.note must be a string"),
        ({"lines": [], "by": {"a@b.example": "x"}}, "data.by[…] must be an integer of 64 bits"),
        (None, "data must be an object"),
    ],
)
def test_a_fault_names_its_path(value: object, says: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        through(ORDER, value)
    assert str(caught.value).startswith(says)


def test_what_has_a_default_may_be_left_out() -> None:
    assert through(ORDER, {"lines": []}) == {"lines": [], "note": None, "by": {}}


def defaulted(kind: object, default: object, *, name: str = "D") -> object:
    return {"type": "record", "name": name, "fields": [{"name": "of", "type": kind, "default": default}]}


@pytest.mark.parametrize(
    ("kind", "default", "shown"),
    [
        ("bytes", "\u00ff", "/w=="),
        (MONEY, "\u0001", "0.01"),
        ({"type": "fixed", "name": "F", "size": 2}, "\u00ff\u0001", "/wE="),
        (["bytes", "null"], "\u00ff", "/w=="),
        (["null", "bytes"], "\u00ff", "/w=="),
        (["null", "bytes"], None, None),
        ({"type": "array", "items": "bytes"}, ["\u00ff"], ["/w=="]),
        ({"type": "map", "values": "bytes"}, {"k": "\u00ff"}, {"k": "/w=="}),
        (defaulted("bytes", "\u00ff", name="Inner"), {}, {"of": "/w=="}),
        (COLOUR, "BLUE", "BLUE"),
        (["string", "null"], "x", "x"),
        ("double", 1, 1.0),
        (logical("long", "timestamp-millis"), 0, "1970-01-01T00:00:00.000Z"),
    ],
)
def test_a_default_is_written_where_its_field_is_left_out(kind: object, default: object, shown: object) -> None:
    assert through(defaulted(kind, default), {}) == {"of": shown}


def test_a_default_that_contains_itself_is_refused() -> None:
    endless = {"type": "record", "name": "D", "fields": [{"name": "of", "type": ["D", "null"], "default": {}}]}
    with pytest.raises(InvalidValueError, match="nested more than 100 deep"):
        through(endless, {})


def test_a_union_within_unions_is_written_in_time_that_grows_with_its_depth() -> None:
    """Where each level tried both branches of the one below, these 60 would be 2^60 tries."""
    again = {"name": "n", "type": ["null", "A", "B"]}
    other = {"type": "record", "name": "B", "fields": [again, {"name": "k", "type": "string"}]}
    own = [{"name": "n", "type": ["null", "A", other]}, {"name": "k", "type": "int"}]
    kind = {"type": "record", "name": "A", "fields": own}
    tree: dict[str, Any] = {"n": None, "k": "x"}
    for _ in range(60):
        tree = {"n": tree, "k": "x"}
    fits = {"n": tree, "k": 1}
    assert through(kind, fits) == fits
    innermost = tree
    while innermost["n"] is not None:
        innermost = innermost["n"]
    innermost["k"] = None
    with pytest.raises(InvalidValueError, match=r"data\.n is of none"):
        through(kind, fits)


def test_a_value_that_fits_no_branch_and_one_that_is_nested_too_deeply_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="data is of none of the types that it may have"):
        through(["null", "long", "string"], 1.5)
    deep: dict[str, Any] = {"of": []}
    for _ in range(200):
        deep = {"of": [deep]}
    with pytest.raises(InvalidValueError, match="nested more than 100 deep"):
        through(TREE, deep)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=9,
)


@given(json_values, st.sampled_from([ORDER, TREE, MONEY, PRICE, ["null", LINE, "string", "bytes"], DURATION]))
def test_nothing_that_is_given_raises_anything_else(value: object, kind: object) -> None:
    with suppress(InvalidValueError):
        through(kind, value)
