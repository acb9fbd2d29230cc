"""The JSON Schema of an Avro schema, and the example of it, type by type."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

import pytest

from hookstream.schemas.errors import InvalidSchemaError
from hookstream.schemas.event import EventName
from hookstream.schemas.rendering.body_schema import EnvelopeBodies
from hookstream.schemas.rendering.example import example
from hookstream.schemas.rendering.json_schema import JsonSchemas
from hookstream.schemas.rendering.renderer import Renderer

Json: TypeAlias = Any
LIST_OF_N = {"type": "array", "items": "N"}


def schema_of(text: Json, refer_to: str = "#/$defs/") -> tuple[Json, Json]:
    renderer = Renderer(json.dumps(text))
    schemas = JsonSchemas(renderer.schema, refer_to=refer_to)
    return schemas.of(renderer.root), schemas.definitions


@pytest.mark.parametrize(
    ("avro", "expected"),
    [
        ("long", {"type": "integer"}),
        ("double", {"type": ["number", "null"]}),
        ("float", {"type": ["number", "null"]}),
        ("bytes", {"type": "string", "contentEncoding": "base64"}),
        ({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2},
         {"type": "string", "pattern": r"^-?[0-9]+\.[0-9]{2}$"}),
        ({"type": "bytes", "logicalType": "decimal", "precision": 4}, {"type": "string", "pattern": "^-?[0-9]+$"}),
        ({"type": "long", "logicalType": "timestamp-micros"}, {"type": "string", "format": "date-time"}),
        ({"type": "int", "logicalType": "date"}, {"type": "string", "format": "date"}),
        ({"type": "string", "logicalType": "uuid"}, {"type": "string", "format": "uuid"}),
        ({"type": "string", "logicalType": "unheard-of"}, {"type": "string"}),
        ({"type": "map", "values": "int"}, {"type": "object", "additionalProperties": {"type": "integer"}}),
        (["null", "string"], {"anyOf": [{"type": "null"}, {"type": "string"}]}),
        (["string"], {"type": "string"}),
    ],
)  # fmt: skip
def test_each_type_has_its_schema(avro: Json, expected: Json) -> None:
    assert schema_of(avro) == (expected, {})


def test_a_record_says_its_documentation_and_requires_what_has_no_default() -> None:
    avro = {
        "type": "record", "name": "Order", "namespace": "shop", "doc": "An order.", "fields": [
            {"name": "number", "type": "string", "doc": "Its number."},
            {"name": "note", "type": ["null", "string"], "default": None},
            {"name": "parent", "type": ["null", "Order"], "doc": "What it was split from."},
        ],
    }  # fmt: skip
    root, definitions = schema_of(avro, "#/components/schemas/")
    assert root == {"$ref": "#/components/schemas/shop.Order"}
    order = definitions["shop.Order"]
    assert (order["description"], order["required"]) == ("An order.", ["number", "parent"])
    assert order["properties"]["number"] == {"type": "string", "description": "Its number."}
    assert order["properties"]["parent"] == {
        "anyOf": [{"type": "null"}, {"$ref": "#/components/schemas/shop.Order"}],
        "description": "What it was split from.",
    }


@pytest.mark.parametrize(
    ("avro", "expected"),
    [
        (["null", "string"], "text"),
        (["null"], None),
        ({"type": "record", "name": "N", "fields": [{"name": "n", "type": ["null", "N"]}]}, {"n": None}),
        ({"type": "record", "name": "N", "fields": [{"name": "n", "type": LIST_OF_N}]}, {"n": []}),
        ({"type": "record", "name": "N", "fields": [{"name": "n", "type": {"type": "map", "values": "N"}}]}, {"n": {}}),
        ({"type": "fixed", "name": "F", "size": 1, "logicalType": "decimal", "precision": 2, "scale": 1}, "1.2"),
        ({"type": "fixed", "name": "F", "size": 12, "logicalType": "duration"}, "P1M2DT3.004S"),
        ({"type": "int", "logicalType": "time-millis"}, "03:04:05.678"),
    ],
)  # fmt: skip
def test_an_example_says_something_and_ends(avro: Json, expected: Json) -> None:
    assert example(Renderer(json.dumps(avro))) == expected


def test_a_type_whose_every_value_is_endless_has_no_example() -> None:
    endless = {"type": "record", "name": "N", "fields": [{"name": "n", "type": ["N"]}]}
    with pytest.raises(InvalidSchemaError, match="without end"):
        example(Renderer(json.dumps(endless)))


@pytest.mark.parametrize(
    "kind",
    [
        {"type": "fixed", "name": "F", "size": 2**31},
        {"type": "map", "values": {"type": "fixed", "name": "F", "size": 20_000}},
    ],
)
def test_no_example_is_made_that_would_be_large(kind: Json) -> None:
    with pytest.raises(InvalidSchemaError, match="no example is made of more than"):
        example(Renderer(json.dumps(kind)))


def test_a_body_without_data_is_the_thin_one() -> None:
    envelope = {
        "type": "record", "name": "E", "fields": [
            {"name": "event", "type": {"type": "enum", "name": "S", "symbols": ["new"]}},
            {"name": "client", "type": "long"},
            {"name": "concept", "type": {"type": "record", "name": "C", "fields": [{"name": "id", "type": "string"}]}},
        ],
    }  # fmt: skip
    bodies, name = EnvelopeBodies("lead", json.dumps(envelope)), EventName("lead.new")
    assert json.loads(bodies.example(name)) == {
        "event": "lead.new",
        "client": 1,
        "concept": {"id": "text", "namespace": "lead", "sub_namespace": None},
    }
    schema = bodies.json_schema(name).whole()
    assert schema["required"] == ["event", "client", "concept"]
    assert schema["properties"]["client"] == {"type": "integer"}
    assert "data" not in schema["properties"]
    assert bodies.description(name) is None
