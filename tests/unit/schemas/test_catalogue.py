"""The catalogue of events: what ships, what a foreign folder gives, and which folders are refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import fastavro
import pytest

from hookstream.schemas.catalogue import Catalogue, InternalSchema, subject
from hookstream.schemas.codecs.events import event_decoder, event_encoder
from hookstream.schemas.errors import InvalidSchemaError, UnknownEventError
from hookstream.schemas.event import Concept, Event
from hookstream.schemas.topics import TopicNames
from tests.support.values import Schemas

Schema: TypeAlias = dict[str, Any]

SEED = {
    "lead": "new assigned status updated deleted",
    "landlord": "new assigned updated deleted",
    "property": "new deleted assigned status state",
    "user": "new updated deleted",
    "transaction": "new won lost updated deleted",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one usable schema: orders of a shop."""
    (tmp_path / "order.avsc").write_text(json.dumps(order()))
    return tmp_path


DATA: Schema = {
    "type": "record",
    "name": "Data",
    "fields": [{"name": "tags", "type": {"type": "array", "items": "string"}}],
}


def order() -> Schema:
    symbol = {"type": "enum", "name": "Symbol", "symbols": ["placed", "shipped"]}
    concept_fields = [
        {"name": "id", "type": "long"},
        {"name": "sub_namespace", "type": ["null", "string"], "default": None},
    ]
    return {
        "type": "record",
        "name": "OrderEvent",
        "namespace": "shop",
        "fields": [
            {"name": "client", "type": "long"},
            {"name": "event", "type": symbol},
            {"name": "id", "type": "string"},
            {"name": "concept", "type": {"type": "record", "name": "Concept", "fields": concept_fields}},
            {"name": "occurred_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "data", "type": ["null", DATA], "default": None},
        ],
    }


def test_the_shipped_events_are_the_seed_s_and_property_updated() -> None:
    seed = {f"{namespace}.{symbol}" for namespace, symbols in SEED.items() for symbol in symbols.split()}
    assert len(seed) == 22
    assert set(Catalogue.shipped().domain_names) == seed | {"property.updated"}


def test_namespaces_are_sorted() -> None:
    assert Catalogue.shipped().namespaces == ("landlord", "lead", "property", "transaction", "user", "hookstream")


def test_a_known_name_is_given_back() -> None:
    catalogue = Catalogue.shipped()
    assert catalogue.require("lead.new") == "lead.new"
    assert "lead.new" in catalogue


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("lead.updatd", "did you mean lead.updated"),
        ("lead", "did you mean lead"),
        ("zzz", "namespaces are landlord, lead"),
        ("", "namespaces are"),
        ("lead.new ", "did you mean lead.new"),
        ("lead.neww", "did you mean lead.new, landlord.new or lead.assigned?"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_ones(name: str, hint: str) -> None:
    with pytest.raises(UnknownEventError, match=re.escape(hint)):
        Catalogue.shipped().require(name)
    assert name not in Catalogue.shipped()


def test_a_name_that_goes_on_for_ever_does_not_fill_the_log() -> None:
    with pytest.raises(UnknownEventError) as caught:
        Catalogue.shipped().require("x" * 100_000)
    assert len(str(caught.value)) < 300


def test_an_unknown_namespace_has_no_schema() -> None:
    with pytest.raises(UnknownEventError, match="namespaces are"):
        Catalogue.shipped().schema_text("order")


@pytest.mark.parametrize("namespace", Catalogue.shipped().envelopes)
def test_shipped_schemas_are_avro_and_documented_to_the_last_field(namespace: str) -> None:
    schema = json.loads(Catalogue.shipped().schema_text(namespace))
    fastavro.parse_schema(schema)
    fields = {field["name"]: field for field in schema["fields"]}
    assert list(fields) == ["id", "event", "client", "concept", "occurred_at"]
    assert fields["id"]["type"] == {"type": "string", "logicalType": "uuid"}
    assert fields["occurred_at"]["type"] == {"type": "long", "logicalType": "timestamp-millis"}
    assert all(field["doc"] for field in fields.values())
    assert schema["doc"]


@pytest.mark.parametrize("schema", InternalSchema)
def test_internal_schemas_are_avro(schema: InternalSchema) -> None:
    fastavro.parse_schema(json.loads(schema.text))


def test_every_topic_with_records_has_a_subject() -> None:
    catalogue, topics = Catalogue.shipped(), TopicNames("eu.")
    subjects = catalogue.subjects(topics)
    assert subjects["eu.events.lead-value"] == catalogue.schema_text("lead")
    assert subjects["eu.deliveries-value"] == subjects["eu.deliveries.replay-value"] == InternalSchema.DELIVERY.text
    internal = {topics.subscriptions, topics.attempts, topics.dead_letters, topics.hook_notices, topics.control}
    assert {subject(topic) for topic in internal} < set(subjects)
    assert subjects["eu.events.hookstream-value"] == InternalSchema.NOTICES.text
    assert len(subjects) == 5 + 8


def test_another_domain_needs_nothing_but_its_folder(folder: Path) -> None:
    catalogue = Catalogue.from_directory(folder)
    assert catalogue.domain_names == ("order.placed", "order.shipped")
    event = Event(
        name=catalogue.require("order.shipped"),
        client=1,
        concept=Concept(id=7, namespace="order", sub_namespace="gift"),
        occurred_at_ms=1,
    )
    decode = event_decoder(catalogue, "order", Schemas({3: catalogue.schema_text("order")}))
    assert decode(event_encoder(catalogue, "order", 3)(event)) == event


@pytest.mark.parametrize("deployment", ["shipped", "own"])
def test_every_deployment_has_the_notices_and_no_service_writes_them(folder: Path, deployment: str) -> None:
    catalogue = Catalogue.shipped() if deployment == "shipped" else Catalogue.from_directory(folder)
    names = catalogue.event_names[-6:]
    assert [name.partition(".")[2] for name in names] == [
        "hook-disabled",
        "hook-enabled",
        "endpoint-quarantined",
        "endpoint-recovered",
        "dead-lettered",
        "backlog-expiring",
    ]
    assert all(name in catalogue and catalogue.require(name) == name for name in names)
    assert not set(names) & {*catalogue.domain_names, *catalogue.written_names}
    assert catalogue.topic("hookstream", TopicNames("eu.")) == "eu.events.hookstream"
    with pytest.raises(UnknownEventError, match="a notice, which hookstream writes itself"):
        catalogue.require_written("hookstream.hook-disabled")


def test_the_namespace_of_the_notices_is_refused_in_a_folder(folder: Path) -> None:
    (folder / "hookstream.avsc").write_text(json.dumps(order()))
    (folder / "sources.toml").write_text(
        '[hookstream]\ntopic = "a"\nevent = "x"\nclient = "key"\nresource = "key"\n'
        '[parcel]\ntopic = "events.hookstream"\nevent = "x"\nclient = "key"\nresource = "key"\n'
    )
    with pytest.raises(InvalidSchemaError) as caught:
        Catalogue.from_directory(folder)
    assert str(caught.value).count("the namespace hookstream is hookstream's own; choose another name") == 2
    assert "events.hookstream is none of another service: hookstream writes it" in str(caught.value)


def test_the_shipped_folder_can_be_read_as_a_foreign_one() -> None:
    folder = Path(__file__).parents[3] / "schemas" / "avro"
    assert Catalogue.from_directory(folder) == Catalogue.shipped()


def field(schema: Schema, name: str) -> Schema:
    found: Schema = next(f for f in schema["fields"] if f["name"] == name)
    return found


def without(name: str) -> Callable[[Schema], None]:
    def change(schema: Schema) -> None:
        schema["fields"] = [f for f in schema["fields"] if f["name"] != name]

    return change


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (without("event"), "needs a field event"),
        (without("concept"), "needs a field concept"),
        (without("client"), "needs a field client of type long or string"),
        (lambda s: field(s, "client").update(type="double"), "needs a field client of type long or string"),
        (lambda s: field(s, "event").update(type="string"), "needs a field event of type enum"),
        (lambda s: field(s, "occurred_at")["type"].update(logicalType="time-micros"), "no instant"),
        (lambda s: field(s, "data").update(aliases=[["payload"]]), "data: aliases are a list of names"),
        (lambda s: field(s, "event")["type"].update(aliases="Old"), "Symbol: aliases are a list of names"),
        (
            lambda s: field(s, "concept")["type"]["fields"][1].update(type=["null", "long"], default=None),
            "sub_namespace",
        ),
        (
            lambda s: s["fields"].append({"name": "total", "type": "long", "default": 0}),
            "field total is none of an event",
        ),
        (
            lambda s: field(s, "concept")["type"]["fields"].append({"name": "shop", "type": "string", "default": ""}),
            "concept: field shop is none",
        ),
        (lambda s: field(s, "data").update(type="string", default=""), "data is a record, a map or an array"),
        (lambda s: field(s, "data").update(type=["null", "long"]), "data is a record, a map or an array"),
        (lambda s: field(s, "data").update(type=[{"type": "map", "values": "long"}, DATA]), "data is a record, a map"),
        (lambda s: field(s, "data").update(type=["null"]), "data is a record, a map or an array"),
        (lambda s: field(s, "concept")["type"]["fields"].pop(), "concept: needs a field sub_namespace"),
        (lambda s: s.update(type="nonsense"), "not an Avro schema"),
        (lambda s: s.pop("fields"), "needs a field id"),
        (
            lambda s: with_data(
                s,
                {"name": "sum", "type": {"type": "bytes", "logicalType": "decimal", "precision": 1001, "scale": 1001}},
            ),
            "a decimal with a scale beyond 1000",
        ),
        (lambda s: with_data(s, {"name": "hash", "type": {"type": "fixed", "name": "H", "size": "4"}}), "H: the size"),
        (
            lambda s: field(s, "data").update(
                type=["null", {**DATA, "fields": [{"name": "a", "type": "int"}, {"name": "a", "type": "string"}]}]
            ),
            "one field of a name",
        ),
    ],
)
def test_a_schema_that_cannot_carry_events_is_refused(
    folder: Path, change: Callable[[Schema], object], complaint: str
) -> None:
    schema = order()
    change(schema)
    (folder / "order.avsc").write_text(json.dumps(schema))
    with pytest.raises(InvalidSchemaError, match=complaint):
        Catalogue.from_directory(folder)


OTHER_ENUM: Schema = {
    "name": "channel",
    "type": {"type": "enum", "name": "Channel", "symbols": ["WEB", "SHOP"], "default": "WEB"},
    "default": "SHOP",
}


NULLABLE: list[Any] = ["null", {"type": "string", "avro.java.string": "String"}]


def with_data(schema: Schema, part: Schema, *, first: bool = False) -> None:
    """Let the data be a record of this one field."""
    without("data")(schema)
    made = {"name": "data", "type": ["null", {**DATA, "fields": [part]}], "default": None}
    schema["fields"].insert(0 if first else len(schema["fields"]), made)


@pytest.mark.parametrize(
    "kind", [DATA, ["null", DATA], [DATA, "null"], {"type": "map", "values": "long"}, {"type": "array", "items": DATA}]
)
def test_an_envelope_may_have_data(folder: Path, kind: object) -> None:
    schema = order()
    field(schema, "data").pop("default")
    field(schema, "data")["type"] = kind
    (folder / "order.avsc").write_text(json.dumps(schema))
    assert Catalogue.from_directory(folder).envelopes == ("order",)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: field(s, "concept")["type"]["fields"][1].update(type=NULLABLE),
        lambda s: field(s, "concept")["type"]["fields"][1].update(type=NULLABLE[::-1], default=""),
        lambda s: field(s, "id").update(type=NULLABLE[1]),
        lambda s: field(s, "event")["type"].update(default="placed"),
        lambda s: with_data(s, OTHER_ENUM),
        lambda s: with_data(s, {"name": "last", "type": ["null", "Symbol"], "default": None}),
        lambda s: with_data(s, {"name": "by", "type": field(s, "concept")["type"]}, first=True),
    ],
    ids=["Java strings", "null second", "Java id", "enum default", "another enum", "enum again", "concept again"],
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
def test_a_folder_as_other_tools_write_it_is_read(
    folder: Path, change: Callable[[Schema], object], mark: bytes
) -> None:
    schema = order()
    change(schema)
    if schema["fields"][0]["name"] == "data":
        field(schema, "concept")["type"] = "Concept"
    (folder / "order.avsc").write_bytes(mark + json.dumps(schema).encode())
    catalogue = Catalogue.from_directory(folder)
    assert json.loads(catalogue.schema_text("order")) == schema
    concept = Concept(id=7, namespace="order", sub_namespace="gift")
    event = Event(name=catalogue.require("order.shipped"), client=1, concept=concept, occurred_at_ms=1)
    decode = event_decoder(catalogue, "order", Schemas({3: catalogue.schema_text("order")}))
    assert decode(event_encoder(catalogue, "order", 3)(event)) == event


@pytest.mark.parametrize(("unit", "per_ms"), [("timestamp-micros", 1000), ("timestamp-millis", 1)])
def test_a_time_is_written_in_the_unit_of_its_schema(folder: Path, unit: str, per_ms: int) -> None:
    schema = order()
    field(schema, "occurred_at")["type"]["logicalType"] = unit
    (folder / "order.avsc").write_text(json.dumps(schema))
    catalogue = Catalogue.from_directory(folder)
    concept = Concept(id=7, namespace="order")
    event = Event(name=catalogue.require("order.placed"), client=1, concept=concept, occurred_at_ms=1_700_000)
    data = event_encoder(catalogue, "order", 3)(event)
    record: Any = fastavro.schemaless_reader(BytesIO(data[5:]), plain(schema), None)
    assert record["occurred_at"] == 1_700_000 * per_ms
    assert event_decoder(catalogue, "order", Schemas({3: catalogue.schema_text("order")}))(data) == event


def plain(schema: Schema) -> Schema:
    """Without logical types, which fastavro would make objects of."""
    field(schema, "occurred_at")["type"].pop("logicalType")
    return schema


@pytest.mark.parametrize("content", ["", "{", "[]", '"long"', "null", "7"])
def test_a_file_that_is_no_record_is_refused(folder: Path, content: str) -> None:
    (folder / "order.avsc").write_text(content)
    with pytest.raises(InvalidSchemaError, match="order"):
        Catalogue.from_directory(folder)


@pytest.mark.parametrize("name", ["with.dot", "1st", "spa ce"])
def test_a_file_name_that_cannot_be_a_namespace_is_refused(folder: Path, name: str) -> None:
    (folder / "order.avsc").rename(folder / f"{name}.avsc")
    with pytest.raises(InvalidSchemaError, match="namespace"):
        Catalogue.from_directory(folder)


def test_a_folder_without_schemas_is_refused(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("nothing")
    with pytest.raises(InvalidSchemaError, match=r"neither \.avsc files nor sources\.toml"):
        Catalogue.from_directory(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSchemaError, match="cannot read"):
        Catalogue.from_directory(tmp_path / "nowhere")


SOURCES = b"""
[parcel]
topic = "post.parcels"
event = "field:type"
client = "key"
symbols = ["sent", "arrived"]
"""


def test_topics_of_other_services_have_events_that_hooks_can_be_registered_for() -> None:
    catalogue = Catalogue.from_files({"order.avsc": json.dumps(order()).encode(), "sources.toml": SOURCES})
    assert catalogue.domain_names == ("order.placed", "order.shipped", "parcel.sent", "parcel.arrived")
    assert catalogue.namespaces == ("order", "parcel", "hookstream")
    assert catalogue.envelopes == ("order",)
    names = TopicNames("p.")
    assert [catalogue.topic(each, names) for each in catalogue.namespaces] == [
        "p.events.order",
        "post.parcels",
        "p.events.hookstream",
    ]
    assert "post.parcels-value" not in catalogue.subjects(names), "its schema is its writer's to register"


def test_what_another_service_writes_is_known_and_not_written_here() -> None:
    catalogue = Catalogue.from_files({"order.avsc": json.dumps(order()).encode(), "sources.toml": SOURCES})
    assert catalogue.require("parcel.sent") == "parcel.sent"
    assert catalogue.require_written("order.placed") == "order.placed"
    for ask in (lambda: catalogue.require_written("parcel.sent"), lambda: event_encoder(catalogue, "parcel", 1)):
        with pytest.raises(UnknownEventError, match=r"events of parcel are written by another service"):
            ask()


def test_everything_that_is_wrong_with_a_folder_is_said_at_once() -> None:
    sources = (
        SOURCES
        + b"""
[ledger]
topic = "p.deliveries"
event = "constant:booked"
client = "key"
[copy]
topic = "p.events.order"
event = "constant:made"
client = "key"
"""
    )
    taken = {"order.avsc": json.dumps(order()).encode(), "sources.toml": sources}
    with pytest.raises(InvalidSchemaError) as caught:
        Catalogue.from_files(taken, TopicNames("p."))
    assert str(caught.value) == (
        "sources.toml: [ledger]: topic: p.deliveries is none of another service: hookstream writes it; "
        "sources.toml: [copy]: topic: p.events.order is none of another service: order.avsc describes it"
    )
    wrong = {"order.avsc": b"{", "parcel.avsc": b"[]", "sources.toml": sources + b"[x]\nvalue = 1"}
    with pytest.raises(InvalidSchemaError) as caught:
        Catalogue.from_files(wrong, TopicNames("p."))
    for fault in ("order.avsc: ", "parcel.avsc: ", "[x]: value: ", "[x]: client is missing", "[ledger]: topic: "):
        assert fault in str(caught.value)
