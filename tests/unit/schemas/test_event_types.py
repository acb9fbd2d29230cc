"""What is told of each event: by an envelope, by a topic of another service, and where a schema is of no use."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

import jsonschema_rs
import orjson
import pytest

from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.errors import InvalidSchemaError
from hookstream.schemas.event import EventName
from hookstream.schemas.event_types import EventType, event_types, example_body
from hookstream.schemas.folder import read_folder
from hookstream.schemas.new_envelope import new_envelope
from hookstream.schemas.rendering.json_schema import COMPONENTS
from hookstream.subscriptions.api import asyncapi
from hookstream.subscriptions.api.webhooks import add_webhooks
from tests.support.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

Json: TypeAlias = Any
ORDERS = Catalogue.from_directory(ROOT / "examples" / "orders")
FOREIGN = Catalogue.from_directory(ROOT / "examples" / "foreign-topics")
# What the topic of `[order]` in examples/foreign-topics may hold; `secret` is not among the fields that are sent.
ORDER: Json = {
    "type": "record", "name": "Order", "namespace": "shop", "doc": "An order.", "fields": [
        {"name": "type", "type": "string"},
        {"name": "merchant", "type": {
            "type": "record", "name": "Merchant", "fields": [{"name": "id", "type": "long"}]}},
        {"name": "order_id", "type": "long"},
        {"name": "created_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "lines", "type": {"type": "array", "items": {
            "type": "record", "name": "Line", "fields": [{"name": "sku", "type": "string"}]}}},
        {"name": "secret", "type": {"type": "record", "name": "Margin", "fields": [{"name": "of", "type": "int"}]}},
    ],
}  # fmt: skip


def named(name: str, catalogue: Catalogue, latest: Mapping[str, str] | None = None, **how: bool) -> EventType:
    return next(event for event in event_types(catalogue, latest or {}, **how) if event.name == name)


@pytest.mark.parametrize("catalogue", [Catalogue.shipped(), ORDERS, FOREIGN], ids=["shipped", "orders", "foreign"])
def test_every_event_is_told_with_an_example_that_its_schema_takes(catalogue: Catalogue) -> None:
    told = event_types(catalogue, {"order": json.dumps(ORDER)} if catalogue is FOREIGN else {})
    assert [event.name for event in told] == list(catalogue.event_names)
    for event in told:
        assert event.name.startswith(f"{event.namespace}.")
        assert event.example is not None
        validator = jsonschema_rs.validator_for(event.body.whole(), validate_formats=True)
        assert validator.is_valid(event.example), event.name


@pytest.mark.parametrize("catalogue", [Catalogue.shipped(), ORDERS, FOREIGN], ids=["shipped", "orders", "foreign"])
def test_the_example_of_one_client_s_body_is_valid_too(catalogue: Catalogue) -> None:
    latest = {"order": json.dumps(ORDER)} if catalogue is FOREIGN else {}
    for event in event_types(catalogue, latest):
        body = json.loads(example_body(event.name, catalogue, latest, client="434", concept_id="0"))
        assert jsonschema_rs.validator_for(event.body.whole(), validate_formats=True).is_valid(body), event.name
        assert event.name == "rating.given" or (str(body["client"]), str(body["concept"]["id"])) == ("434", "0")
    order = example_body(EventName("order.placed"), ORDERS, {}, client="acme", concept_id="0")
    assert json.loads(order)["data"] == named("order.placed", ORDERS).example["data"] != {}
    gone = json.loads(example_body(EventName("gone.made"), catalogue, {}, client="434", concept_id="0"))
    assert gone == {
        "event": "gone.made",
        "client": 434,
        "concept": {"id": 0, "namespace": "gone", "sub_namespace": None},
    }


def test_an_envelope_may_say_what_each_event_means_and_since_when_there_is_it() -> None:
    files = read_folder(ROOT / "examples" / "orders")
    envelope = json.loads(files["order.avsc"])
    envelope["fields"][1]["type"]["events"] = {"paid": {"doc": "It was paid.", "since": "2026-11-28"}}
    catalogue = Catalogue.from_files({"order.avsc": json.dumps(envelope).encode()})
    paid, shipped = named("order.paid", catalogue), named("order.shipped", catalogue)
    assert (paid.description, paid.since) == ("It was paid.", "2026-11-28")
    assert paid.body.schema["description"] == "It was paid."
    assert (shipped.description, shipped.since) == ("Something happened to one order of one merchant.", None)


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ([], "events of the enum: needs an object of symbols"),
        ({"payd": {"doc": "It was paid."}}, "events.payd of the enum: there is no such symbol"),
        ({"placed": "It was placed."}, "events.placed of the enum: needs an object with doc and since"),
        ({"placed": {"docs": "It was placed."}}, "events.placed of the enum: needs an object with doc and since"),
        ({"placed": {"since": 1}}, "events.placed of the enum: needs texts"),
        ({"placed": {"doc": ""}}, "events.placed of the enum: needs texts"),
    ],
)
def test_what_is_said_of_no_event_or_otherwise_is_a_fault(said: Json, fault: str) -> None:
    envelope = json.loads(new_envelope("order", ["placed"], text_ids=True, data=False))
    envelope["fields"][1]["type"]["events"] = said
    with pytest.raises(InvalidSchemaError, match=fault):
        Catalogue.from_files({"order.avsc": json.dumps(envelope).encode()})


def test_of_a_topic_of_another_service_only_what_is_sent_is_told() -> None:
    placed = named("order.placed", FOREIGN, {"order": json.dumps(ORDER)})
    assert placed.description == "An order."
    schema = placed.body.whole()
    assert list(schema["properties"]["data"]["properties"]) == ["order_id", "total", "lines"]
    assert list(schema["$defs"]) == ["shop.Line"]
    assert placed.example["data"] == {"order_id": 1, "total": "12.50", "lines": [{"sku": "text"}]}


def a_record(kind: Json) -> str:
    return json.dumps({"type": "record", "name": "R", "fields": [{"name": "lines", "type": kind}]})


def nested(depth: int, *, nullable: bool = False) -> Json:
    """Arrays within each other."""
    kind: Json = "int"
    for _ in range(depth):
        kind = {"type": "array", "items": ["null", kind] if nullable else kind}
    return kind


def doubling(names: int) -> Json:
    """Records of which each has the next one twice."""
    kind: Json = "int"
    for index in range(names, 0, -1):
        again = kind if index == names else f"R{index + 1}"
        fields = [{"name": "a", "type": kind}, {"name": "b", "type": again}]
        kind = {"type": "record", "name": f"R{index}", "fields": fields}
    return kind


OF_NO_USE = {
    "empty": "",
    "no JSON": "{",
    "no record": '"int"',
    "endless": json.dumps({"type": "record", "name": "N", "fields": [{"name": "n", "type": ["N"]}]}),
    "deep": a_record(nested(120)),
    "too deep to write": a_record(nested(300)),
    "deep by unions": a_record(nested(100, nullable=True)),
    "doubling": a_record(doubling(60)),
    "large": a_record({"type": "fixed", "name": "F", "size": 2**31}),
    "many": a_record({"type": "enum", "name": "E", "symbols": [f"S{index}" for index in range(50_000)]}),
    # Which fastavro's parser takes.
    "size of text": a_record({"type": "fixed", "name": "F", "size": "4"}),
    "size of half a byte": a_record({"type": "fixed", "name": "F", "size": 4.5}),
    "size below 0": a_record({"type": "fixed", "name": "F", "size": -4}),
    "union of nothing": a_record([]),
    "array of a union of nothing": a_record({"type": "array", "items": []}),
    "field without a text for a name": a_record(
        {"type": "record", "name": "S", "fields": [{"name": 5, "type": "int"}]}
    ),
    "symbols of an object": a_record({"type": "enum", "name": "E", "symbols": {"A": 1}}),
    "scale of null": a_record({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": None}),
}


@pytest.mark.parametrize("text", OF_NO_USE.values(), ids=OF_NO_USE)
def test_a_schema_that_is_of_no_use_ends_nothing_and_makes_no_document_large(text: str) -> None:
    """Whoever may write to the registry can put it there."""
    told = event_types(FOREIGN, {"order": text}, shared=True)
    assert [event.name for event in told] == list(FOREIGN.event_names)
    assert len(orjson.dumps(asyncapi.document(told, version="1"))) < 100_000
    document: Json = {}
    add_webhooks(document, told)
    assert len(orjson.dumps(document)) < 100_000
    assert all(event.example is not None for event in told if event.namespace != "order")


def test_definitions_that_stand_in_one_document_have_the_names_of_their_namespaces() -> None:
    placed = named("order.placed", ORDERS, shared=True)
    assert list(placed.body.definitions) == ["order.shop.events.OrderData", "order.shop.events.OrderLine"]
    data = placed.body.schema["properties"]["data"]
    assert data["anyOf"][1] == {"$ref": f"{COMPONENTS}order.shop.events.OrderData"}
    lines = placed.body.definitions["order.shop.events.OrderData"]["properties"]["lines"]
    assert lines["items"] == {"$ref": f"{COMPONENTS}order.shop.events.OrderLine"}
