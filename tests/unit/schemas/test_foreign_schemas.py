"""Events of writers whose schemas are not ours: they are read, or refused with a typed error, whatever they are."""

from __future__ import annotations

import copy
import json
import struct
from contextlib import suppress
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookstream.schemas import wire
from hookstream.schemas.avro_schema import AvroSchema
from hookstream.schemas.catalogue import Catalogue, InternalSchema
from hookstream.schemas.codecs.deliveries import delivery_decoder
from hookstream.schemas.codecs.events import event_decoder
from hookstream.schemas.delivery import Delivery
from hookstream.schemas.errors import InvalidSchemaError, UndecodableError
from hookstream.schemas.event import Event
from hookstream.schemas.wire import record_writer
from tests.support.values import EVENT, EVENT_ID, Schemas

Schema: TypeAlias = dict[str, Any]

CATALOGUE = Catalogue.shipped()
PROPERTY = json.loads(CATALOGUE.schema_text("property"))
SYMBOLS = ["new", "deleted", "assigned", "status", "state", "updated"]
RECORD: dict[str, object] = {
    "id": str(EVENT_ID),
    "event": 5,
    "client": 9999,
    "concept": {"id": 888999, "sub_namespace": None},
    "occurred_at": 1_700_000_000_123,
}
HEADER = b"\x00\x00\x00\x00\x01"


def schema_with(*fields: Schema, first: bool = False) -> Schema:
    schema: Schema = copy.deepcopy(PROPERTY)
    schema["fields"] = [*fields, *schema["fields"]] if first else [*schema["fields"], *fields]
    return schema


def written(schema: Schema, **values: object) -> bytes:
    return record_writer(json.dumps(schema), 1, indexed="event")({**RECORD, **values})


def decoded(schema: Schema, data: bytes) -> Event:
    return event_decoder(CATALOGUE, "property", Schemas({1: json.dumps(schema)}))(data)


CHANNEL = {"type": "enum", "name": "Channel", "symbols": ["WEB", "SHOP"], "default": "WEB"}
AGAIN = ["null", "hookstream.events.PropertyEventSymbol"]
NODE = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
LOGICAL = [
    {"type": "long", "logicalType": "timestamp-micros"},
    {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2},
    {"type": "fixed", "name": "Span", "size": 12, "logicalType": "duration"},
    {"type": "string", "logicalType": "uuid"},
]


@pytest.mark.parametrize(
    ("fields", "values"),
    [
        ([{"name": "channel", "type": CHANNEL, "default": "SHOP"}], {"channel": "WEB"}),
        ([{"name": "before", "type": AGAIN, "default": None}], {"before": "new"}),
        ([{"name": "before", "type": "PropertyEventSymbol", "default": "new"}], {"before": "state"}),
        ([{"name": "was", "type": {"type": "array", "items": "PropertyEventSymbol"}}], {"was": ["new", "state"]}),
        ([{"name": "near", "type": {"type": "map", "values": "PropertyConcept"}}], {"near": {"a": RECORD["concept"]}}),
        ([{"name": "note", "type": ["null", {"type": "string", "avro.java.string": "String"}]}], {"note": "x"}),
        ([{"name": "chain", "type": NODE}], {"chain": {"next": {"next": None}}}),
        ([{"name": "logicalType", "type": "string"}, {"name": "type", "type": "long"}], {"logicalType": "", "type": 3}),
        ([{"name": f"l{n}", "type": kind} for n, kind in enumerate(LOGICAL)],
         {"l0": 1, "l1": b"\x01", "l2": b"x" * 12, "l3": "no uuid"}),
        ([{"name": "e", "type": {"type": "enum", "name": "E", "namespace": "", "symbols": ["A"]}}], {"e": "A"}),
        ([{"name": "meta", "type": "string", "default": "x", "shown": {"type": "enum"}}], {"meta": "y"}),
    ],
    ids=["own enum with default", "event enum by full name", "event enum by name", "event enum in an array",
         "concept again", "Java string", "recursive", "fields with words of Avro", "logical types",
         "no namespace", "properties of other tools"],
)  # fmt: skip
def test_a_writer_s_own_fields_are_passed_over(fields: list[Schema], values: dict[str, object]) -> None:
    schema = schema_with(*fields)
    event = decoded(schema, written(schema, **values))
    assert (event.name, event.client, event.id) == ("property.updated", 9999, EVENT_ID)
    assert event.concept.id == 888999


def test_the_event_s_enum_may_be_defined_elsewhere() -> None:
    enum = PROPERTY["fields"][1]["type"]
    schema = schema_with({"name": "before", "type": enum}, first=True)
    schema["fields"][2] = {"name": "event", "type": "PropertyEventSymbol"}
    assert decoded(schema, written(schema, before="new")).name == "property.updated"


def test_a_default_of_the_event_s_enum_passes_no_event_for_another() -> None:
    schema: Schema = copy.deepcopy(PROPERTY)
    schema["fields"][1]["type"] |= {"symbols": [*SYMBOLS, "sold"], "default": "new"}
    data = written(schema, event=6)
    assert decoded(schema, data).name == "property.sold"
    with pytest.raises(UndecodableError):
        decoded(schema, written(schema, event=-1))


@pytest.mark.parametrize(
    ("kind", "value", "ms"),
    [
        ({"type": "long", "logicalType": "timestamp-millis"}, 1_700_000_000_123, 1_700_000_000_123),
        ({"type": "long", "logicalType": "timestamp-micros"}, 1_700_000_000_123_456, 1_700_000_000_123),
        ({"type": "long", "logicalType": "timestamp-nanos"}, 1_700_000_000_123_456_789, 1_700_000_000_123),
        ({"type": "long", "logicalType": "local-timestamp-micros"}, 1_000, 1),
        (["null", {"type": "long", "logicalType": "timestamp-micros"}], 1_700_000_000_123_456, 1_700_000_000_123),
        ({"type": "int", "logicalType": "unheard-of"}, 5, 5),
        ("long", 0, 0),
    ],
)
def test_a_time_is_read_in_the_unit_that_its_writer_says(kind: object, value: int, ms: int) -> None:
    schema: Schema = copy.deepcopy(PROPERTY)
    schema["fields"][4]["type"] = kind
    assert decoded(schema, written(schema, occurred_at=value)).occurred_at_ms == ms


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("long", -1),
        ("long", 253_402_300_800_000),
        ({"type": "long", "logicalType": "timestamp-millis"}, 1_700_000_000_123_456),  # microseconds all the same
        ({"type": "long", "logicalType": "timestamp-micros"}, -1),
        ({"type": "long", "logicalType": "timestamp-micros"}, 2**63 - 1),
        ({"type": "long", "logicalType": "time-micros"}, 5),
        ({"type": "int", "logicalType": "date"}, 20_000),
        (["null", "long"], None),
    ],
)
def test_what_is_no_time_is_undecodable(kind: object, value: object) -> None:
    schema: Schema = copy.deepcopy(PROPERTY)
    schema["fields"][4]["type"] = kind
    with pytest.raises(UndecodableError):
        decoded(schema, written(schema, occurred_at=value))


def nested(levels: int) -> bytes:
    """A record with a chain of so many links."""
    return written(schema_with(), occurred_at=1) + b"\x02" * levels + b"\x00"


def test_a_chain_that_overflows_the_stack_of_c_is_undecodable() -> None:
    """In C it ended the process, with every restart."""
    schema = schema_with({"name": "chain", "type": NODE})
    assert decoded(schema, nested(100)).name == "property.updated"
    for levels in (2_000, 30_000, 1_000_000):  # the stack of C is deep enough for the first
        with pytest.raises(UndecodableError, match="RecursionError"):
            decoded(schema, nested(levels))


def chain_of_records(length: int) -> list[Schema]:
    """Each field is of the type before it: nothing is nested in the text."""
    first: Schema = {"name": "f0", "type": {"type": "record", "name": "T0", "fields": [{"name": "x", "type": "int"}]}}
    return [first] + [
        {"name": f"f{n}", "type": {"type": "record", "name": f"T{n}", "fields": [{"name": "x", "type": f"T{n - 1}"}]}}
        for n in range(1, length)
    ]


def doubling(levels: int) -> list[Schema]:
    """A type of no bytes and 2^levels parts."""
    fields: list[Schema] = [{"name": "f0", "type": {"type": "record", "name": "D0", "fields": []}}]
    for n in range(1, levels):
        pair = [{"name": name, "type": f"D{n - 1}"} for name in ("a", "b")]
        fields.append({"name": f"f{n}", "type": {"type": "record", "name": f"D{n}", "fields": pair}})
    return fields


def chain_of_choices(length: int) -> list[Schema]:
    """The same with a choice in each, so that one byte a level is enough."""
    fields = chain_of_records(length)
    for field in fields[1:]:
        field["type"]["fields"][0]["type"] = ["null", field["type"]["fields"][0]["type"]]
    return fields


ITSELF = {"type": "record", "name": "Me", "fields": [{"name": "me", "type": "Me"}]}


@pytest.mark.parametrize(
    "fields",
    [
        chain_of_records(20_000),
        chain_of_records(200),
        chain_of_choices(200),
        doubling(60),
        [{"name": "nulls", "type": {"type": "array", "items": "null"}}],
        [{"name": "empty", "type": {"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}}],
        [{"name": "self", "type": ITSELF}],
        [{"name": "__fastavro_parsed", "type": {"type": "record", "name": "X", "fields": 7}}],
    ],
    ids=["deep", "too deep", "too deep by choice", "doubling", "nulls", "empty items", "contains itself", "nonsense"],
)
def test_a_schema_that_cannot_be_read_within_bounds_is_refused(fields: list[Schema]) -> None:
    with pytest.raises(UndecodableError, match="schema 1 cannot be read"):
        decoded(schema_with(*fields), HEADER + b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f" * 8)


@pytest.mark.parametrize(
    "text", ['{"__fastavro_parsed": true, "type": "record", "name": "R", "fields": [{}]}', "[" * 9999]
)
def test_a_schema_that_claims_to_be_parsed_is_parsed(text: str) -> None:
    with pytest.raises(InvalidSchemaError):
        AvroSchema(text)
    with pytest.raises(UndecodableError):
        event_decoder(CATALOGUE, "property", Schemas({1: text}))(HEADER + b"\x00")


def test_a_schema_that_cannot_be_read_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def look(text: str) -> AvroSchema:
        looked.append(text)
        return AvroSchema(text)

    decode = event_decoder(CATALOGUE, "property", Schemas({1: "[[", 2: json.dumps(PROPERTY)}))
    monkeypatch.setattr(wire, "AvroSchema", look)
    for _ in range(3):
        with pytest.raises(UndecodableError, match="schema 1 cannot be read"):
            decode(HEADER + b"\x00")
    assert looked == ["[["]
    assert decode(record_writer(json.dumps(PROPERTY), 2, indexed="event")(RECORD)).name == "property.updated"


ARRAY = {"name": "flags", "type": {"type": "array", "items": "boolean"}}


@pytest.mark.parametrize("resolved", [False, True])
@pytest.mark.parametrize("field", [ARRAY, {"name": "note", "type": "string"}])
def test_what_is_passed_over_is_looked_at(field: Schema, resolved: bool) -> None:
    """Fastavro counted to the 8,589,934,592 that are said to be there, and took what is cut for whole."""
    schema = schema_with(field)
    if resolved:  # the writer's concept has another field too: it is not our shape
        schema["fields"][3]["type"]["fields"].append({"name": "other", "type": "long"})
    body = b"" if not resolved else b"\x00"
    empty = written(PROPERTY)[:-6] + body + written(PROPERTY)[-6:]
    assert decoded(schema, empty + b"\x00").name == "property.updated"
    with pytest.raises(UndecodableError):
        decoded(schema, empty + b"\x80\x80\x80\x80\x40")


def test_a_schema_without_end_is_refused() -> None:
    with pytest.raises(UndecodableError, match="bytes"):
        decoded({**PROPERTY, "doc": "x" * 2_000_000}, HEADER)


def test_what_is_referred_to_becomes_part_of_the_schema() -> None:
    money = {"type": "record", "name": "com.shop.Money", "fields": [{"name": "unit", "type": "com.shop.Unit"}]}
    unit = {"type": "enum", "name": "com.shop.Unit", "symbols": ["EUR"], "default": "EUR"}
    schema = schema_with(
        {"name": "price", "type": ["null", "com.shop.Money"], "default": None},
        {"name": "cost", "type": "com.shop.Money", "doc": "kept"},
        {"name": "unit", "type": "com.shop.Unit"},
    )
    whole = AvroSchema(json.dumps(schema), [json.dumps(unit), json.dumps(money)]).whole()
    again = json.loads(whole)
    assert again["fields"][-2]["doc"] == "kept"
    assert again["fields"][4]["type"] == PROPERTY["fields"][4]["type"]
    data = written(again, price={"unit": "EUR"}, cost={"unit": "EUR"}, unit="EUR")
    assert decoded(again, data).name == "property.updated"
    with pytest.raises(InvalidSchemaError):
        AvroSchema(json.dumps(schema), [json.dumps(unit)])


# --- anything ---------------------------------------------------------------------------------------------------------

PRIMITIVES = st.sampled_from(["null", "boolean", "int", "long", "float", "double", "bytes", "string", "Nowhere", "E0"])


def named(kinds: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    names = st.sampled_from(["A", "B", "C", "x.A", "PropertyConcept"])
    field = st.fixed_dictionaries(
        {"name": st.sampled_from(["a", "b", "event", "type"]), "type": kinds},
        optional={"default": st.none() | st.integers() | st.text(max_size=3), "aliases": st.just(["client"])},
    )
    return st.one_of(
        st.lists(kinds, max_size=3),
        st.fixed_dictionaries({"type": st.just("array"), "items": kinds}),
        st.fixed_dictionaries({"type": st.just("map"), "values": kinds}),
        st.fixed_dictionaries(
            {"type": st.just("record"), "name": names, "fields": st.lists(field, max_size=3)},
            optional={"namespace": st.sampled_from(["", "x"])},
        ),
        st.fixed_dictionaries(
            {"type": st.just("enum"), "name": names, "symbols": st.lists(st.sampled_from("PQR"), max_size=3)},
            optional={"default": st.sampled_from("PZ")},
        ),
        st.fixed_dictionaries(
            {"type": st.just("fixed"), "name": names, "size": st.integers(-1, 5) | st.text(max_size=1)}
        ),
        st.fixed_dictionaries({"type": PRIMITIVES, "logicalType": st.sampled_from(["date", "decimal", "uuid"])}),
    )


types = st.recursive(PRIMITIVES, named, max_leaves=6)
positions = st.integers(min_value=0, max_value=5)


@given(kind=types, replaced=types, at=positions, body=st.binary(max_size=80), good=st.booleans())
@settings(max_examples=100, deadline=None)
def test_any_schema_and_any_record_give_an_event_or_a_typed_error(
    kind: object, replaced: object, at: int, body: bytes, good: bool
) -> None:
    schema = schema_with({"name": "extra", "type": kind}, first=at % 2 == 1)
    if at < 5 and not good:
        schema["fields"][at] = {"name": schema["fields"][at]["name"], "type": replaced}
    data = written(PROPERTY)[5:] + body if good else body
    with suppress(UndecodableError):
        event = decoded(schema, HEADER + data)
        assert event.name.startswith("property.")
        assert 0 <= event.occurred_at_ms < 253_402_300_800_000


@given(kind=types, at=st.integers(0, 15), body=st.binary(max_size=120))
@settings(max_examples=100, deadline=None)
def test_any_schema_and_any_record_give_a_delivery_or_a_typed_error(kind: object, at: int, body: bytes) -> None:
    schema = json.loads(InternalSchema.DELIVERY.text)
    schema["fields"][at]["type"] = kind
    decode = delivery_decoder(Schemas({1: json.dumps(schema)}))
    with suppress(UndecodableError):
        assert isinstance(decode(HEADER + body), Delivery)


@given(st.binary(max_size=40) | st.integers(0, 2**32).map(lambda number: struct.pack(">bQ", 0, number)))
def test_any_bytes_are_an_event_or_a_typed_error(data: bytes) -> None:
    with suppress(UndecodableError):
        assert decoded(PROPERTY, data) == EVENT
