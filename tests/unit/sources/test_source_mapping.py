"""Records to events: Avro and JSON, headers, fields, presets; and records that are none."""

from __future__ import annotations

import base64
import io
import json
import struct
from typing import Any, TypeAlias

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.rendering.renderer import Renderer
from hookstream.schemas.sources import content
from hookstream.schemas.sources.mapping import SourceMapping
from hookstream.schemas.sources.record import Ignored, IgnoredReason, Mapped, MappedEvent, Refused, SourceRecord
from hookstream.schemas.sources.sources_file import read_sources
from tests.support.values import Schemas

Json: TypeAlias = Any
AT_MS = 1_795_852_800_123

ORDER = {
    "type": "record", "name": "Order", "namespace": "com.shop", "fields": [
        {"name": "type", "type": {"type": "enum", "name": "Kind", "symbols": ["PLACED", "SHIPPED", "OTHER"]}},
        {"name": "order_id", "type": "string"},
        {"name": "merchant", "type": ["null", {"type": "record", "name": "Merchant", "fields": [
            {"name": "id", "type": ["null", "long", "string", "double", "bytes"]},
        ]}]},
        {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "local", "type": {"type": "long", "logicalType": "local-timestamp-millis"}},
    ],
}  # fmt: skip
AVRO = """
[order]
topic = "shop.orders"
event = "field:type"
client = "field:merchant.id"
resource = "field:order_id"
occurred_at = "field:at"
body = "data"
[order.events]
PLACED = "placed"
SHIPPED = "shipped"
"""
JSON = AVRO.replace('event = "field:type"', 'event = "field:type"\nvalue = "json"')
VALUE: dict[str, Json] = {
    "type": "PLACED", "order_id": "o-1", "merchant": {"id": 434}, "total": b"\x04\xce", "at": AT_MS * 1000, "local": 0,
}  # fmt: skip
JSON_VALUE: dict[str, Json] = {"type": "PLACED", "order_id": "o-1", "merchant": {"id": 434}, "at": AT_MS}
SCHEMAS = Schemas({7: json.dumps(ORDER), 8: '"string"', 9: "nonsense"})


def wire(value: Json, schema: Json = ORDER, schema_id: int = 7) -> bytes:
    buffer = io.BytesIO()
    physical = json.loads(json.dumps(schema).replace("logicalType", "unused"))
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(physical), value)
    return struct.pack(">bI", 0, schema_id) + buffer.getvalue()


def mapped(text: str, value: bytes | None, *, key: bytes | None = None, **headers: str | bytes | None) -> Mapped:
    mapping = SourceMapping(read_sources(text.encode()).sources[0], SCHEMAS)
    named = [(name.replace("__", "-"), each) for name, each in headers.items()]
    return mapping.map(SourceRecord("shop.orders", 3, 4711, key, value, named, AT_MS + 1))


def event_of(text: str, value: bytes | None, **more: Any) -> MappedEvent:
    event = mapped(text, value, **more)
    assert isinstance(event, MappedEvent), event
    return event


def detail_of(text: str, value: bytes | None, **more: Any) -> str:
    refused = mapped(text, value, **more)
    assert isinstance(refused, Refused), refused
    return refused.detail


def data_of(event: MappedEvent) -> Json:
    return json.loads(event.data_json() or b"")


def test_an_avro_record_is_an_event_with_its_data() -> None:
    event = event_of(AVRO, wire(VALUE))
    assert (event.name, event.namespace, event.symbol) == ("order.placed", "order", "placed")
    assert (event.id, event.client, event.resource) == ("shop.orders:3:4711", 434, "o-1")
    assert (event.sub_namespace, event.occurred_at_ms) == (None, AT_MS)
    assert data_of(event) == {
        "type": "PLACED",
        "order_id": "o-1",
        "merchant": {"id": 434},
        "total": "12.30",
        "at": "2026-11-28T08:00:00.123000Z",
        "local": "1970-01-01T00:00:00.000",
    }
    assert event.record_json() is None


def test_a_newer_writer_s_field_and_symbol_flow() -> None:
    newer = json.loads(json.dumps(ORDER))
    newer["fields"].append({"name": "note", "type": "string", "default": ""})
    newer["fields"][0]["type"]["symbols"].append("PAID")
    text = AVRO.replace('SHIPPED = "shipped"', 'PAID = "paid"')
    mapping = SourceMapping(
        read_sources(text.encode()).sources[0], Schemas({7: json.dumps(ORDER), 8: json.dumps(newer)})
    )
    records = [wire(VALUE), wire({**VALUE, "type": "PAID", "note": "n"}, newer, 8)]
    older, event = (mapping.map(SourceRecord("t", 0, 1, None, value, None, 1)) for value in records)
    assert isinstance(older, MappedEvent)
    assert isinstance(event, MappedEvent)
    assert "note" not in data_of(older)
    assert (event.symbol, data_of(event)["note"]) == ("paid", "n")


def test_a_json_record_is_an_event_with_or_without_the_registry_s_header() -> None:
    text = json.dumps(JSON_VALUE, indent=2).encode()
    for before in (b"", b"\0\0\0\0\7"):
        event = event_of(JSON, before + text)
        assert (event.name, event.client, event.resource, event.occurred_at_ms) == ("order.placed", 434, "o-1", AT_MS)
        assert data_of(event) == JSON_VALUE


def test_the_body_is_thin_or_chosen_fields_or_the_very_bytes() -> None:
    text = json.dumps({**JSON_VALUE, "total": 0}, indent=3).encode().replace(b": 0", b": 12.300")
    thin = event_of(JSON.replace('body = "data"', 'body = "thin"'), text)
    assert (thin.data_json(), thin.record_json()) == (None, None)
    chosen = event_of(JSON.replace('"data"', '"data"\nfields = ["total", "order_id", "none"]'), text)
    assert chosen.data_json() == b'{"total":12.300,"order_id":"o-1"}'
    whole = event_of(JSON.replace('"data"', '"record"'), b"\xef\xbb\xbf" + text)
    assert (whole.data_json(), whole.record_json()) == (None, text)
    avro = event_of(AVRO.replace('"data"', '"record"'), wire(VALUE))
    assert json.loads(avro.record_json() or b"")["total"] == "12.30"


def test_names_come_from_headers_key_and_constants() -> None:
    text = """
    [order]
    value = "json"
    event = "header:kind"
    id = "header:id"
    client = "constant:acme"
    sub_namespace = "field:channel"
    occurred_at = "header:at"
    symbols = ["placed"]
    """
    headers = {"kind": b"placed", "id": b"e-1", "at": b"2026-11-28T08:00:00.123Z"}
    event = event_of(text, b'{"channel": "web"}', key="schlüssel".encode(), **headers)
    assert (event.id, event.client, event.resource) == ("e-1", "acme", "schlüssel")
    assert (event.sub_namespace, event.occurred_at_ms) == ("web", AT_MS)
    assert event_of(text, b"{}", key=b"k", **headers).sub_namespace is None
    assert event_of(text, b'{"channel": null}', key=b"k", **headers).sub_namespace is None
    assert "sub_namespace = field:channel: is not a string" in detail_of(text, b'{"channel": ""}', key=b"k", **headers)
    assert (
        event_of(text.replace('occurred_at = "header:at"', ""), b"{}", key=b"k", **headers).occurred_at_ms == AT_MS + 1
    )


def test_of_two_headers_of_a_name_the_last_counts() -> None:
    text = '[order]\nvalue = "json"\nevent = "header:kind"\nclient = "key"\nsymbols = ["new", "old"]'
    mapping = SourceMapping(read_sources(text.encode()).sources[0], SCHEMAS)
    headers: list[tuple[str, str | bytes | None]] = [("kind", b"old"), ("kind", b"new"), ("Kind", b"old")]
    event = mapping.map(SourceRecord("t", 0, 1, b"k", b"{}", headers, 1))
    assert isinstance(event, MappedEvent)
    assert event.symbol == "new"


def test_a_key_may_be_the_registry_s_avro() -> None:
    text = AVRO.replace('resource = "field:order_id"', 'resource = "key"')
    assert event_of(text, wire(VALUE), key=b"\0\0\0\0\x08\x06o-9").resource == "o-9"
    assert "resource = key: the key: no schema 5" in detail_of(text, wire(VALUE), key=b"\0\0\0\0\x05\x06o-9")
    assert "resource = key: the record has no key" in detail_of(text, wire(VALUE))
    assert "resource = key: is no text: not UTF-8" in detail_of(text, wire(VALUE), key=b"\xff")
    assert "resource = key: is not a string" in detail_of(text, wire(VALUE), key=b"\1\2")


CLOUDEVENTS = """
[order]
preset = "cloudevents"
client = "header:ce_tenant"
body = "data"
[order.events]
"com.example.placed" = "placed"
"""
ATTRIBUTES = {
    "specversion": "1.0", "id": "e-1", "type": "com.example.placed", "subject": "o-1", "tenant": "acme",
    "time": "2026-11-28T08:00:00.123Z",
}  # fmt: skip


def test_a_cloudevent_is_the_same_event_in_both_modes() -> None:
    data = {"total": 1}
    binary = event_of(
        CLOUDEVENTS,
        json.dumps(data).encode(),
        content__type=b"application/json",
        **{f"ce_{name}": value.encode() for name, value in ATTRIBUTES.items()},
    )
    structured = json.dumps({**ATTRIBUTES, "datacontenttype": "application/json", "data": data}).encode()
    encoded = json.dumps({**ATTRIBUTES, "data_base64": base64.b64encode(json.dumps(data).encode()).decode()}).encode()
    named: dict[str, Any] = {"content__type": b"application/cloudevents+json; charset=UTF-8"}
    for event in (
        binary,
        event_of(CLOUDEVENTS, structured, **named),
        event_of(CLOUDEVENTS, structured),
        event_of(CLOUDEVENTS, encoded, **named),
    ):
        assert (event.name, event.id, event.client, event.resource) == ("order.placed", "e-1", "acme", "o-1")
        assert (event.occurred_at_ms, data_of(event)) == (AT_MS, data)
    whole = event_of(CLOUDEVENTS.replace('"data"', '"record"'), structured, **named)
    assert whole.record_json() == structured


@pytest.mark.parametrize(
    ("value", "kind", "says"),
    [
        (b"[]", b"application/cloudevents-batch+json", "no object"),
        (b"{}", b"application/cloudevents+avro", "not JSON"),
        (b'{"type": 3}', b"application/cloudevents+json", None),
        (b"{}", b"application/cloudevents+json", "event = header:ce_type: the record has no such header"),
        (b'{"data_base64": "!"}', b"application/cloudevents+json", "no base64"),
        (b'{"data_base64": 7}', b"application/cloudevents+json", "data is not JSON"),
        (b'{"data_base64": "", "datacontenttype": "image/png"}', b"application/cloudevents+json", "data is not JSON"),
    ],
)
def test_what_is_no_cloudevent_is_refused(value: bytes, kind: bytes, says: str | None) -> None:
    if says is None:
        assert mapped(CLOUDEVENTS, value, content__type=kind) == Ignored(IgnoredReason.UNMAPPED)
    else:
        assert says in detail_of(CLOUDEVENTS, value, content__type=kind)


OUTBOX = """
[order]
preset = "debezium-outbox"
topic = "outbox.event.order"
client = "field:customer"
symbols = ["OrderCreated"]
"""


@pytest.mark.parametrize(
    "value",
    [
        {"customer": 123, "lines": []},
        json.dumps({"customer": 123, "lines": []}),
        {"schema": {"type": "string"}, "payload": json.dumps({"customer": 123, "lines": []})},
        {"schema": None, "payload": {"customer": 123, "lines": []}},
    ],
    ids=["expanded", "text", "Connect's schema with text", "Connect's schema"],
)
def test_a_debezium_outbox_s_payload_is_the_data(value: Json) -> None:
    event = event_of(OUTBOX, json.dumps(value).encode(), key=b"17", id=b"e-1", eventType=b"OrderCreated")
    assert (event.name, event.id, event.client, event.resource) == ("order.OrderCreated", "e-1", 123, "17")
    assert data_of(event) == {"customer": 123, "lines": []}


def test_a_debezium_outbox_s_payload_of_half_a_character_is_refused_and_not_changed() -> None:
    value = json.dumps('{"customer": 123, "name": "\ud800"}').encode()
    assert detail_of(OUTBOX, value, key=b"17", id=b"e-1", eventType=b"OrderCreated") == (
        "a payload with half of a surrogate pair"
    )


@pytest.mark.parametrize("key", [b"17", b'"17"', b'{"schema": {"type": "string"}, "payload": "17"}'])
def test_a_debezium_outbox_s_key_is_the_aggregate_s_id(key: bytes) -> None:
    event = event_of(OUTBOX, b'{"customer": 1}', key=key, id=b"e-1", eventType=b"OrderCreated")
    assert event.resource == "17"
    assert "resource = key" in detail_of(
        OUTBOX, b'{"customer": 1}', key=b'{"a": 1}', id=b"e", eventType=b"OrderCreated"
    )
    assert "no JSON" in detail_of(OUTBOX, b'{"customer": 1}', key=b'"a', id=b"e", eventType=b"OrderCreated")


def test_a_cloudevent_without_a_time_happened_when_its_record_was_written() -> None:
    headers = {f"ce_{name}": value.encode() for name, value in ATTRIBUTES.items()}
    assert event_of(CLOUDEVENTS, b"{}", **headers).occurred_at_ms == AT_MS
    assert "is no time" in detail_of(CLOUDEVENTS, b"{}", **{**headers, "ce_time": b"noon"})
    del headers["ce_time"]
    assert event_of(CLOUDEVENTS, b"{}", **headers).occurred_at_ms == AT_MS + 1
    said = JSON.replace("field:at", "field:when")
    assert "occurred_at = field:when: when is missing" in detail_of(said, json.dumps(JSON_VALUE).encode())


def test_a_topic_may_hold_one_of_several_records() -> None:
    union = [ORDER, {"type": "record", "name": "Other", "fields": [{"name": "type", "type": "string"}]}]
    mapping = SourceMapping(read_sources(AVRO.encode()).sources[0], Schemas({7: json.dumps(union)}))
    first, second = (
        mapping.map(SourceRecord("t", 0, 1, None, wire(VALUE)[:5] + branch, None, 1))
        for branch in (b"\0" + wire(VALUE)[5:], b"\x02\x0cPLACED")
    )
    assert isinstance(first, MappedEvent)
    assert second == Refused("client = field:merchant.id: merchant is missing")


def test_tombstones_and_events_without_a_name_are_passed_over() -> None:
    assert mapped(AVRO, None) == Ignored(IgnoredReason.TOMBSTONE)
    assert mapped(AVRO, wire({**VALUE, "type": "OTHER"})) == Ignored(IgnoredReason.UNMAPPED)
    strict = AVRO.replace("[order.events]", 'unmapped = "dead-letter"\n[order.events]')
    assert "says an event that [order] does not name" in detail_of(strict, wire({**VALUE, "type": "OTHER"}))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"merchant": None}, "client = field:merchant.id: merchant is null"),
        ({"merchant": {"id": None}}, "client = field:merchant.id: is null"),
        ({"merchant": {"id": 1.5}}, "client = field:merchant.id: is no text and no whole number"),
        ({"merchant": {"id": -1}}, "client = field:merchant.id: is no number from 0 to"),
        ({"merchant": {"id": ""}}, "client = field:merchant.id: is not a string of 1 to 255"),
        ({"merchant": {"id": "a\nb"}}, "client = field:merchant.id: is not a string of 1 to 255"),
        ({"order_id": "x" * 256}, "resource = field:order_id: is not a string of 1 to 255"),
        ({"at": 2**62}, "occurred_at = field:at: is no time from 1970 to 9999"),
        ({"at": -1}, "occurred_at = field:at: is no time from 1970 to 9999"),
    ],
)
def test_an_avro_record_that_cannot_be_read_is_refused_with_the_path(change: dict[str, Json], says: str) -> None:
    assert says in detail_of(AVRO, wire({**VALUE, **change}))


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"", "no JSON"),
        (b"[]", "event = field:type: the value is no object"),
        (b"null", "event = field:type: the value is null"),
        (b"{}", "event = field:type: type is missing"),
        (b'{"type": "PLACED", "merchant": {}}', "client = field:merchant.id: merchant.id is missing"),
        (b'{"type": "PLACED", "merchant": 3}', "client = field:merchant.id: merchant is no object"),
        (b'{"type": "PLACED", "merchant": {"id": true}}', "client = field:merchant.id: is no text and no whole number"),
        (b'{"type": "PLACED", "merchant": {"id": 1e3}}', "client = field:merchant.id: is no text and no whole number"),
        (b'{"type": "PLACED", "merchant": {"id": 9223372036854775808}}', "is no text and no whole number"),
        (b'{"type": "PLACED", "merchant": {"id": "\\ud800"}}', "is not a string of 1 to 255"),
        (b'{"type": "PLACED", "merchant": {"id": 1}, "order_id": "\\u0000"}', "resource = field:order_id: is not"),
        (b'{"type": "PLACED", "merchant": {"id": 1}, "order_id": 2, "at": "2026-11-28"}', "occurred_at = field:at: is"),
    ],
)  # fmt: skip
def test_a_json_record_that_cannot_be_read_is_refused_with_the_path(value: bytes, says: str) -> None:
    assert says in detail_of(JSON, value)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"\0", "shorter than a header"),
        (b"\1\0\0\0\7xx", "starts with byte 1"),
        (b"{}     ", "starts with byte 123"),
        (b"\0\0\0\0\5xx", "no schema 5"),
        (b"\0\0\0\0\x09xx", "schema 9 cannot be read"),
        (b"\0\0\0\0\7\x63", "does not match its schema"),
        (wire(VALUE) + b"x", "1 bytes after the end"),
        (b"\0\0\0\0\x08\x02x", "event = field:type: the value is no object"),
    ],
)
def test_a_value_that_is_no_avro_of_its_schema_is_refused(value: bytes, says: str) -> None:
    assert says in detail_of(AVRO, value)


def test_a_schema_that_cannot_be_read_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def look(text: str) -> Renderer:
        looked.append(text)
        return Renderer(text)

    monkeypatch.setattr(content, "Renderer", look)
    mapping = SourceMapping(read_sources(AVRO.encode()).sources[0], SCHEMAS)

    def mapped_with(schema_id: int) -> Mapped:
        return mapping.map(SourceRecord("shop.orders", 0, 0, b"k", wire(VALUE, schema_id=schema_id), None, 0))

    for _ in range(3):
        refused = mapped_with(9)
        assert isinstance(refused, Refused)
        assert refused.detail.startswith("schema 9 cannot be read")
    assert isinstance(mapped_with(7), MappedEvent)
    assert looked == ["nonsense", json.dumps(ORDER)]


def test_a_registry_that_does_not_answer_is_the_caller_s_question() -> None:
    def away(_schema_id: int) -> str:
        raise ConnectionError

    mapping = SourceMapping(read_sources(AVRO.encode()).sources[0], away)
    with pytest.raises(ConnectionError):
        mapping.map(SourceRecord("t", 0, 1, None, wire(VALUE), None, 1))


TEXTS = (AVRO, JSON, CLOUDEVENTS, OUTBOX, AVRO.replace("field:order_id", "key"))
MAPPINGS = [SourceMapping(read_sources(text.encode()).sources[0], SCHEMAS) for text in TEXTS]


@settings(max_examples=100)
@given(
    st.binary(max_size=40) | st.sampled_from([b'{"type": "PLACED", "merchant": {"id": 1}}', wire(VALUE)]),
    st.none() | st.binary(max_size=9),
    st.lists(st.tuples(st.sampled_from(["content-type", "ce_type", "id"]), st.none() | st.binary(max_size=30))),
)
def test_no_record_raises_anything(
    value: bytes, key: bytes | None, headers: list[tuple[str, str | bytes | None]]
) -> None:
    for mapping in MAPPINGS:
        event = mapping.map(SourceRecord("t", 0, 1, key, value, headers, 1))
        assert isinstance(event, MappedEvent | Ignored | Refused)
        if isinstance(event, MappedEvent):
            assert event.data_json() or event.record_json()


def test_the_doubles_know_what_they_do_not_know() -> None:
    with pytest.raises(UndecodableError):
        SCHEMAS(5)
