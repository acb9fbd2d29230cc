"""Avro to JSON: by the table, against fastavro's own reading, and with values that have no form."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from typing import Any, TypeAlias

import fastavro
import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hookstream.schemas.avro_schema import AvroSchema
from hookstream.schemas.errors import InvalidSchemaError, UndecodableError, UnrenderableError
from hookstream.schemas.rendering.example import example
from hookstream.schemas.rendering.json_schema import JsonSchemas
from hookstream.schemas.rendering.logical import marks
from hookstream.schemas.rendering.renderer import Renderer
from tests.support.avro_values import Encoded, Expected, Schema, Values, record_schemas

Json: TypeAlias = Any
NODE: Schema = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}


def shown(schema: Schema, data: bytes) -> Json:
    renderer = Renderer(json.dumps(schema))
    return json.loads(renderer.render(renderer.read(data)))


def validator(renderer: Renderer) -> Any:
    schemas = JsonSchemas(renderer.schema)
    root = schemas.of(renderer.root)
    return jsonschema_rs.validator_for({**root, "$defs": schemas.definitions}, validate_formats=True)


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(record_schemas(), st.data())
def test_a_value_is_what_fastavro_reads_in_the_form_of_the_table(schema: Schema, data: st.DataObject) -> None:
    named: dict[str, Schema] = {}
    parsed = fastavro.parse_schema(schema, named)
    value = data.draw(st.composite(lambda draw: Values(draw, named).of(parsed))())
    encoded = Encoded(named).of(parsed, value)
    read = fastavro.schemaless_reader(io.BytesIO(encoded), parsed, None)
    renderer = Renderer(json.dumps(schema))
    body = json.loads(renderer.render(renderer.read(encoded)))
    assert body == Expected(named).of(parsed, value, read)
    assert validator(renderer).is_valid(body)


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(record_schemas())
def test_an_example_is_valid_and_always_the_same(schema: Schema) -> None:
    renderer = Renderer(json.dumps(schema))
    body = renderer.render(example(renderer))
    assert validator(renderer).is_valid(json.loads(body))
    again = Renderer(json.dumps(schema))
    assert again.render(example(again)) == body


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(record_schemas(), st.binary(max_size=60))
def test_bytes_of_anything_else_are_rendered_or_refused(schema: Schema, data: bytes) -> None:
    renderer = Renderer(json.dumps(schema))
    with suppress(UndecodableError, UnrenderableError):
        json.loads(renderer.render(renderer.read(data)))


def of(logical: str, kind: str = "long", **more: object) -> Schema:
    return {"type": kind, "logicalType": logical, **more}


DECIMAL = of("decimal", "bytes", precision=4, scale=1)


@pytest.mark.parametrize(
    ("schema", "data", "body"),
    [
        ("null", b"", None),
        ("long", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", -(2**63)),
        ("double", b"\x00\x00\x00\x00\x00\x00\xf8\x7f", None),
        ("float", b"\x00\x00\x80\x7f", None),
        ("bytes", b"\x04\xff\x00", "/wA="),
        (of("decimal", "bytes", precision=9, scale=2), b"\x04\x04\xce", "12.30"),
        (of("decimal", "bytes", precision=9, scale=2), b"\x02\xfb", "-0.05"),
        (of("decimal", "bytes", precision=9, scale=2), b"\x00", "0.00"),
        (of("decimal", "bytes", precision=9), b"\x02\x85", "-123"),
        (of("decimal", "fixed", name="D", size=4, precision=9, scale=3), b"\xff\xff\xff\xff", "-0.001"),
        (of("date", "int"), b"\xb2\xc5\x02", "2027-01-07"),
        (of("time-millis", "int"), b"\x00", "00:00:00.000"),
        (of("time-micros"), b"\x02", "00:00:00.000001"),
        (of("timestamp-millis"), b"\x01", "1969-12-31T23:59:59.999Z"),
        (of("timestamp-micros"), b"\x02", "1970-01-01T00:00:00.000001Z"),
        (of("timestamp-nanos"), b"\x01", "1969-12-31T23:59:59.999999999Z"),
        (of("local-timestamp-millis"), b"\x00", "1970-01-01T00:00:00.000"),
        (of("local-timestamp-micros"), b"\x00", "1970-01-01T00:00:00.000000"),
        (of("uuid", "string"), b"\x08none", "none"),
        (of("uuid", "fixed", name="U", size=16), bytes(15) + b"\x01", "00000000-0000-0000-0000-000000000001"),
        (of("duration", "fixed", name="U", size=12), b"\x01\0\0\0\x02\0\0\0\xbc\x0b\0\0", "P1M2DT3.004S"),
        (of("duration", "fixed", name="U", size=12), bytes(8) + b"\xb8\x0b\0\0", "PT3S"),
        (of("duration", "fixed", name="U", size=12), bytes(12), "PT0S"),
        (of("duration", "fixed", name="U", size=2), bytes(2), "AAA="),
        (of("date", "string"), b"\x02x", "x"),
        (of("decimal", "string"), b"\x02x", "x"),
        (of("decimal", "bytes"), b"\x02\x05", "BQ=="),
        (["null", of("date", "int"), "long"], b"\x02\x00", "1970-01-01"),
        (["null", of("date", "int"), "long"], b"\x04\x00", 0),
        ([DECIMAL, {"type": "fixed", "name": "F", "size": 1}], b"\x00\x02\x05", "0.5"),
        ([DECIMAL, {"type": "fixed", "name": "F", "size": 1}], b"\x02\x05", "BQ=="),
        ({"type": "enum", "name": "E", "symbols": ["A", "B"], "default": "A"}, b"\x02", "B"),
        ({"type": "map", "values": ["null", "string"]}, b"\x02\x02k\x02\x02v\x00", {"k": "v"}),
    ],
)  # fmt: skip
def test_each_type_has_the_form_of_the_table(schema: Schema, data: bytes, body: Json) -> None:
    assert shown(schema, data) == body


def test_types_keep_their_form_where_they_are_used_by_name_alias_and_reference() -> None:
    money = {"type": "record", "name": "Money", "namespace": "com.a", "aliases": ["Cash"], "fields": [
        {"name": "amount", "type": of("decimal", "fixed", name="Amount", size=2, precision=4, scale=2)},
    ]}  # fmt: skip
    order = {"type": "record", "name": "Order", "namespace": "com.b", "fields": [
        {"name": "total", "type": "com.a.Money"},
        {"name": "tax", "type": "com.a.Amount"},
    ]}  # fmt: skip
    whole = AvroSchema(json.dumps(order), [json.dumps(money)]).whole()
    renderer = Renderer(whole)
    assert renderer.render(renderer.read(b"\x00\x01\x01\x00")) == b'{"total":{"amount":"0.01"},"tax":"2.56"}'


def test_one_field_of_a_record_can_be_read_in_its_form_and_the_others_as_they_are() -> None:
    clock = of("time-millis", "int")
    fields = [
        {"name": "at", "type": clock},
        {"name": "data", "type": {"type": "record", "name": "D", "fields": [{"name": "at", "type": clock}]}},
        {"name": "raw", "type": "bytes"},
    ]
    schema = AvroSchema(json.dumps({"type": "record", "name": "R", "fields": fields}))
    marked = fastavro.parse_schema(schema.marked(marks, only=schema.fields(schema.root)["data"]))
    read = fastavro.schemaless_reader(io.BytesIO(b"\x02\x02\x02x"), marked, None)
    assert read == {"at": 1, "data": {"at": "00:00:00.001"}, "raw": b"x"}


@pytest.mark.parametrize(
    ("schema", "data", "reason"),
    [
        (of("date", "int"), b"\x80\x80\x80\x80\x08", "data.a[1]: a date outside of the years 1 to 9999"),
        (of("timestamp-millis"), b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", "data.a[1]: a date outside of"),
        (of("timestamp-micros"), b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "data.a[1]: a date outside of"),
        (of("time-millis", "int"), b"\x01", "data.a[1]: a time outside of a day"),
        (of("time-millis", "int"), b"\x80\xf0\xb2\x52", "data.a[1]: a time outside of a day"),  # 24:00
        (DECIMAL, b"\xd2\x0f" + bytes(1001), "data.a[1]: a decimal of more than 1000 bytes"),
    ],
)  # fmt: skip
def test_a_value_without_a_form_is_refused_with_its_path(schema: Schema, data: bytes, reason: str) -> None:
    fields = [{"name": "a", "type": {"type": "array", "items": ["null", schema]}}, {"name": "b", "type": "int"}]
    renderer = Renderer(json.dumps({"type": "record", "name": "R", "fields": fields}))
    tree = renderer.read(b"\x04\x00\x02" + data + b"\x00\x02")
    with pytest.raises(UnrenderableError, match="^" + reason.replace("[", r"\[")):
        renderer.render(tree)
    assert renderer.render(tree["b"]) == b"1"


def test_the_first_value_without_a_form_is_named() -> None:
    clock = of("time-millis", "int")
    fields = [{"name": "z", "type": clock}, {"name": "a", "type": {"type": "array", "items": clock}}]
    renderer = Renderer(json.dumps({"type": "record", "name": "R", "fields": fields}))
    with pytest.raises(UnrenderableError, match=r"^data\.z: "):
        renderer.render(renderer.read(b"\x01\x04\x01\x01\x00"))


def test_keys_of_a_path_that_may_be_personal_data_are_left_out() -> None:
    schema = {"type": "map", "values": of("time-millis", "int")}
    renderer = Renderer(json.dumps(schema))
    with pytest.raises(UnrenderableError, match=r"^data\[…\]: a time"):
        renderer.render(renderer.read(b"\x02\x08a@b." + b"\x01\x00"))


@pytest.mark.parametrize("levels", [100, 101, 2_000, 300_000])
def test_a_value_that_is_nested_deeply_is_refused_by_its_depth_alone(levels: int) -> None:
    renderer = Renderer(json.dumps(NODE))
    data = b"\x02" * (levels - 1) + b"\x00"
    if levels <= 100:
        assert renderer.render(renderer.read(data)).count(b"next") == levels
    else:
        with pytest.raises(UndecodableError, match="nested more than 100 deep"):
            renderer.read(data)


@pytest.mark.parametrize("data", [b"", b"\x02", b"\x02a\x00", b"\x02\xff", b"\xff\xff\xff\xff\x0f"])
def test_bytes_of_another_schema_are_refused_without_a_word_of_them(data: bytes) -> None:
    with pytest.raises(UndecodableError):
        Renderer('"string"').read(data)


@pytest.mark.parametrize(
    "text",
    ["", "x", "nul", '"money"', "[]x", '{"type": "decimal"}', '"int"}, {"name": "b", "type": "int"', "[" * 10_000,
     "\xff",
     '{"type": "array", "items": ' * 300 + '"int"' + "}" * 300,  # orjson reads it, and does not write it
     json.dumps({"type": "bytes", "logicalType": "decimal", "precision": 10**9, "scale": 10**9})],
)  # fmt: skip
def test_what_is_no_schema_is_refused(text: str) -> None:
    with pytest.raises(InvalidSchemaError):
        Renderer(text)
