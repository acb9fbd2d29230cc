"""`hookstream events`: what is written, what is told, and records shown beside what they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import jsonschema_rs
import pytest
import structlog
from confluent_kafka.schema_registry import Schema, SchemaReference

from hookstream.processors.cli import main as cli
from hookstream.processors.cli.commands.events_sample import sampled, topic_reader
from hookstream.processors.cli.console import CommandError
from hookstream.producers.registry import SchemaRegistry
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.sources.record import SourceRecord
from hookstream.schemas.topics import TopicNames
from hookstream.schemas.wire import record_writer
from tests.support.repository import ROOT
from tests.support.values import Schemas

ORDERS = ROOT / "examples" / "orders"
SOURCES = """
[order]
topic = "shop.orders"
event = "field:type"
client = "field:merchant.id"
resource = "field:number"
body = "data"
fields = ["number", "total"]
symbols = ["placed"]
"""
ORDER = {
    "type": "record", "name": "Order", "doc": "An order.", "fields": [
        {"name": "type", "type": "string"},
        {"name": "merchant", "type": ["null", {"type": "map", "values": "long"}]},
        {"name": "number", "type": "long"},
        {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
    ],
}  # fmt: skip

BODY = (
    '{"event":"order.placed","client":434,"concept":{"id":17,"namespace":"order","sub_namespace":null},'
    '"data":{"number":17,"total":"12.30"}}'
)


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "SCHEMA_REGISTRY_URL", "SCHEMA_DIR", "TOPIC_PREFIX"):
        monkeypatch.delenv(f"HOOKSTREAM_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    yield
    structlog.reset_defaults()  # the command writes its log to what is captured here, and closed afterwards


@pytest.mark.parametrize("options", [(), ("--data",), ("--ids", "string"), ("--ids", "string", "--data")])
def test_a_new_schema_is_one_that_the_check_takes(options: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["events", "new", "order-line", "placed", "shipped", "--dir", "own", *options]) == 0
    assert "order-line.placed, order-line.shipped" in capsys.readouterr().out
    assert cli.run(["events", "check", "own", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [event["name"] for event in told["events"]] == ["order-line.placed", "order-line.shipped"]
    example = json.loads(told["events"][0]["example"])
    assert ("data" in example) == ("--data" in options)
    assert type(example["client"]) is (str if "string" in options else int)


def test_a_file_that_is_there_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["events", "new", "order", "placed", "--dir", "."]) == 0
    before = Path("order.avsc").read_text()
    assert cli.run(["events", "new", "order", "shipped", "--dir", "."]) == 1
    assert Path("order.avsc").read_text() == before
    assert capsys.readouterr().err == "hookstream: order.avsc is there already\n"


@pytest.mark.parametrize(
    "args",
    [["9x", "placed", "--dir", "."], ["order", "9", "--dir", "."], ["order", "a", "a", "--dir", "."], ["order", "a"],
     ["order"]],
)  # fmt: skip
def test_what_cannot_be_a_schema_is_not_written(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["events", "new", *args]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert list(Path().iterdir()) == []


def test_every_fault_of_a_folder_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["events", "new", "lead", "new", "--dir", "."]) == 0
    Path("bad.avsc").write_text("{")
    Path("9.avsc").write_text("{}")
    Path("sources.toml").write_text('[lead]\nclint = "key"\n')
    capsys.readouterr()
    assert cli.run(["events", "check", "."]) == 1
    out, err = capsys.readouterr()
    for said in (
        "9.avsc: a namespace",
        "9.avsc: not an Avro",
        "bad.avsc: not an Avro",
        "there is lead.avsc too",
        "did you mean client?",
    ):
        assert said in out
    assert out.startswith("lead.new  {")
    assert err == "hookstream: 8 faults; events that are described: 1\n"


def test_every_fault_of_one_envelope_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["events", "new", "lead", "new", "--dir", "."]) == 0
    schema = json.loads(Path("lead.avsc").read_text())
    fields = {field["name"]: field for field in schema["fields"]}
    fields["event"]["type"]["events"] = {"won": {"doc": "It was won."}, "new": {"docs": "It was made."}}
    fields["client"]["type"] = "double"
    fields["occurred_at"]["type"]["logicalType"] = "time-micros"
    fields["concept"]["type"]["fields"][0]["name"] = "number"
    schema["fields"] += [{"name": "total", "type": "long"}, {"name": "data", "type": "long"}]
    Path("lead.avsc").write_text(json.dumps(schema))
    capsys.readouterr()
    assert cli.run(["events", "check", "."]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "lead.avsc: the event: needs a field client of type long or string",
        "lead.avsc: the event: field total is none of an event's, and would never be delivered; put it into data",
        "lead.avsc: the event: data is a record, a map or an array, or a union of null and one of these",
        "lead.avsc: events.won of the enum: there is no such symbol",
        "lead.avsc: events.new of the enum: needs an object with doc and since",
        "lead.avsc: occurred_at is a time-micros, which is no instant",
        "lead.avsc: concept: needs a field id of type long or string",
        "lead.avsc: concept: field number is none of an event's, and would never be delivered; put it into data",
    ]
    assert err == "hookstream: 8 faults; events that are described: 0\n"


def test_the_example_of_other_people_s_topics_has_no_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["events", "check", str(ROOT / "examples" / "foreign-topics")]) == 0
    names = [line.partition("  ")[0] for line in capsys.readouterr().out.splitlines()]
    assert names == [
        "order.placed", "order.shipped", "invoice.issued", "invoice.paid", "parcel.sent", "parcel.delivered",
        "rating.given",
    ]  # fmt: skip


@pytest.mark.parametrize(("args", "code"), [(["none"], 2), (["."], 2)])
def test_a_folder_without_schemas_is_one_line(args: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["events", "check", *args]) == code
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_shipped_domain_and_the_example_have_no_fault_and_valid_examples(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for args in ([], [str(ORDERS)]):
        assert cli.run(["events", "check", *args, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["faults"] == []
        for event in told["events"]:
            schema = jsonschema_rs.validator_for(event["json_schema"], validate_formats=True)
            assert schema.is_valid(json.loads(event["example"]))
            assert not schema.is_valid(json.loads(event["example"]) | {"event": "other"})
            assert event["description"]


def test_a_topic_s_schema_says_what_its_events_look_like_and_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"mock://{uuid4()}"
    SchemaRegistry(url).register("shop.orders-value", json.dumps(ORDER))
    monkeypatch.setenv("HOOKSTREAM_SCHEMA_REGISTRY_URL", url)
    Path("sources.toml").write_text(SOURCES)
    assert cli.run(["events", "check", ".", "--json"]) == 0
    (event,) = json.loads(capsys.readouterr().out)["events"]
    assert (event["name"], event["topic"], event["description"]) == ("order.placed", "shop.orders", "An order.")
    example = json.loads(event["example"])
    assert example["data"] == {"number": 1, "total": "12.50"}
    assert jsonschema_rs.validator_for(event["json_schema"]).is_valid(example)

    Path("sources.toml").write_text(SOURCES.replace("field:number", "field:order.number").replace('"total"', '"sum"'))
    assert cli.run(["events", "check", "."]) == 1
    out = capsys.readouterr().out
    assert "[order]: resource = field:order.number: the topic's schema has none" in out
    assert "[order]: fields: sum: the topic's schema has none" in out


def test_a_schema_of_a_topic_that_cannot_be_made_whole_is_a_fault_beside_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"mock://{uuid4()}"
    registry = SchemaRegistry(url)
    registry.register("shop.money-value", '{"type": "enum", "name": "com.Unit", "symbols": ["EUR"]}')
    fields = [{"name": "price", "type": "com.Money"}]  # which is not what it refers to
    text = json.dumps({"type": "record", "name": "com.Order", "fields": fields})
    reference = SchemaReference("com.Money", "shop.money-value", 1)
    registry._client.register_schema("shop.orders-value", Schema(text, "AVRO", [reference]))
    registry.register("shop.other-value", json.dumps(ORDER))
    monkeypatch.setenv("HOOKSTREAM_SCHEMA_REGISTRY_URL", url)
    other = SOURCES.replace("[order]", "[other]").replace("shop.orders", "shop.other")
    Path("sources.toml").write_text(SOURCES + other)
    assert cli.run(["events", "check", "."]) == 1
    out, err = capsys.readouterr()
    assert "[order]: the topic's schema cannot be read: schema " in out
    assert '"total":"12.50"' in next(line for line in out.splitlines() if line.startswith("other.placed"))
    assert err == "hookstream: 1 fault; events that are described: 2\n"


def test_records_are_shown_beside_what_they_are() -> None:
    schemas = Schemas({7: json.dumps(ORDER)})
    catalogue = Catalogue.from_files({"sources.toml": SOURCES.encode()})
    reader = topic_reader("shop.orders", catalogue, TopicNames(), schemas)
    value = record_writer(json.dumps(ORDER), 7)(
        {"type": "placed", "merchant": {"id": 434}, "number": 17, "total": b"\x04\xce"}
    )
    shown = sampled(SourceRecord("shop.orders", 0, 5, b"k", value, [("a", b"b"), ("c", None)], 1_000), reader)
    assert list(shown.lines()) == [
        "shop.orders:0:5  key k",
        "  header  a=b",
        "  header  c=-",
        '  value   {"type":"placed","merchant":{"id":434},"number":17,"total":"12.30"}',
        "  event   order.placed  client 434  resource 17  id shop.orders:0:5  occurred 1970-01-01T00:00:01Z",
        f"  body    {BODY}",
    ]
    refused = sampled(SourceRecord("shop.orders", 0, 6, None, b"\1x", None, 1_000), reader)
    assert (refused.result, refused.value, refused.key) == ("refused", "AXg=", None)
    ignored = sampled(SourceRecord("shop.orders", 0, 6, None, None, {}, 1_000), reader)
    assert (ignored.result, ignored.detail, ignored.value) == ("ignored", "tombstone", None)
    with pytest.raises(CommandError, match=r"the topics are events\.hookstream, shop\.orders"):
        topic_reader("other", catalogue, TopicNames(), schemas)


def test_an_envelope_s_records_are_shown_with_their_data() -> None:
    catalogue = Catalogue.from_directory(ORDERS)
    text = catalogue.schema_text("order")
    reader = topic_reader("p.events.order", catalogue, TopicNames("p."), Schemas({7: text}))
    record = {
        "id": "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        "event": "paid",
        "client": "acme",
        "concept": {"id": "o-1", "sub_namespace": "web"},
        "occurred_at": 1_000,
        "data": {
            "currency": "EUR",
            "total": b"\x04\xce",
            "placed_at": 0,
            "lines": [],
            "labels": {},
            "deliver_on": None,
        },
    }
    position = SourceRecord("p.events.order", 0, 5, b"acme|o-1", record_writer(text, 7)(record), None, 1_000)
    body = json.loads(sampled(position, reader).body or "")
    assert (body["event"], body["client"]) == ("order.paid", "acme")
    assert body["concept"] == {"id": "o-1", "namespace": "order", "sub_namespace": "web"}
    assert body["data"]["total"] == "12.30"
    thin = position._replace(value=record_writer(text, 7)({**record, "data": None}))
    assert json.loads(sampled(thin, reader).body or "")["data"] is None
