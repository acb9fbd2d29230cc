"""The quick way to an event is the codec's way, for bytes that are one and for bytes that are none."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hookstream.schemas.avro_schema import AvroSchema
from hookstream.schemas.bounded import MAX_LONG, YEAR_10000_MS
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.codecs import events
from hookstream.schemas.codecs.event_bytes import EventReader
from hookstream.schemas.codecs.events import NO_DATA, event_encoder, event_reader
from hookstream.schemas.codecs.quick_events import quick_reader
from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.event import Concept, Event, EventName, EventSubject
from hookstream.schemas.event_schema import event_meaning

HEADER = b"\x00\x00\x00\x00\x07"
SHIPPED = json.loads(Catalogue.shipped().schema_text("property"))
ID, EVENT, CLIENT, CONCEPT, TIME = SHIPPED["fields"]
CONCEPT_ID, SUB_NAMESPACE = CONCEPT["type"]["fields"]


def envelope(*fields: dict[str, Any]) -> str:
    """An envelope with these fields."""
    return json.dumps({**SHIPPED, "fields": fields})


def concept(*fields: dict[str, Any]) -> dict[str, Any]:
    """The field `concept` with these fields."""
    return {**CONCEPT, "type": {**CONCEPT["type"], "fields": fields}}


TEXT = {"type": "string"}
ENVELOPES = {
    "as shipped": envelope(ID, EVENT, CLIENT, CONCEPT, TIME),
    "text ids": envelope(ID, EVENT, {**CLIENT, **TEXT}, concept({**CONCEPT_ID, **TEXT}, SUB_NAMESPACE), TIME),
    "mixed ids": envelope(ID, EVENT, CLIENT, concept({**CONCEPT_ID, **TEXT}, SUB_NAMESPACE), TIME),
    "string before null": envelope(
        ID, EVENT, CLIENT, concept(CONCEPT_ID, {"name": "sub_namespace", "type": ["string", "null"]}), TIME
    ),
    "microseconds": envelope(
        ID, EVENT, CLIENT, CONCEPT, {**TIME, "type": {"type": "long", "logicalType": "timestamp-micros"}}
    ),
}
catalogues = {name: Catalogue.from_files({"property.avsc": text.encode()}) for name, text in ENVELOPES.items()}
encoders = {name: event_encoder(catalogue, "property", 7) for name, catalogue in catalogues.items()}


def reader_of(text: str) -> EventReader | None:
    """What reads what this schema wrote."""
    schema = AvroSchema(text)
    own = AvroSchema(ENVELOPES["as shipped"])
    return quick_reader(schema, "property", event_meaning(schema, "property", own))


readers = {name: reader_of(text) for name, text in ENVELOPES.items()}


def quickly(name: str, data: bytes) -> Event | None:
    """What the quick way makes of it."""
    reader = readers[name]
    assert reader is not None
    return reader.read(data)


def about(name: str, data: bytes) -> EventSubject | None:
    """What the quick way says that it is about, checked against what it makes of the whole."""
    reader = readers[name]
    assert reader is not None
    subject, event = reader.subject(data), reader.read(data)
    assert subject is None or (event is not None and subject == subject_of(event))
    return subject


def subject_of(event: Event) -> EventSubject:
    """What an event is about."""
    return EventSubject(event.name, event.client_id, event.namespace, event.concept_id)


def slowly(name: str, data: bytes) -> Event | None:
    """What the codec makes of it, which reads the first record of a schema itself; None where it refuses it."""
    decode = event_reader(catalogues[name], "property", lambda _: ENVELOPES[name]).read
    try:
        return decode(HEADER + data[5:])[0]
    except UndecodableError:
        return None


names = st.sampled_from(sorted(ENVELOPES))
symbols = st.sampled_from(EVENT["type"]["symbols"])
numbers = st.integers(0, MAX_LONG) | st.sampled_from([0, 63, 64, 2**62 - 1, 2**62])
texts = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30)
sub_namespaces = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


def event_of(name: str, symbol: str, ids: tuple[int, int, str, str], sub_namespace: str | None, time: int) -> Event:
    """An event with ids of the kinds that this envelope has."""
    client: int | str = ids[2] if name == "text ids" else ids[0]
    resource: int | str = ids[3] if name in {"text ids", "mixed ids"} else ids[1]
    return Event(
        name=EventName(f"property.{symbol}"),
        client=client,
        concept=Concept(id=resource, namespace="property", sub_namespace=sub_namespace),
        occurred_at_ms=time,
        id=UUID(int=7),
    )


GOOD = {
    name: encoders[name](event_of(name, "updated", (434, 17, "acme", "a-17"), "flat", 1_764_000_000_000))
    for name in ENVELOPES
}
CHANGES = st.lists(st.tuples(st.integers(5, 80), st.integers(0, 255)), min_size=1, max_size=4)


@settings(max_examples=80, deadline=None)
@given(names, symbols, st.tuples(numbers, numbers, texts, texts), sub_namespaces, st.integers(0, YEAR_10000_MS - 1))
def test_what_the_codec_wrote_is_read_as_the_codec_reads_it(
    name: str, symbol: str, ids: tuple[int, int, str, str], sub_namespace: str | None, time: int
) -> None:
    event = event_of(name, symbol, ids, sub_namespace, time)
    data = encoders[name](event)
    read = quickly(name, data)
    assert slowly(name, data) == event
    if any(isinstance(value, int) and value >= 2**62 for value in (event.client, event.concept.id)):
        assert read is None, "a number of ten bytes is left to the codec"
        assert about(name, data) is None
    else:
        assert read == event
        assert about(name, data) == subject_of(event)


@settings(max_examples=200, deadline=None)
@given(names, CHANGES)
@example("as shipped", [(42, 0x0F)])  # no symbol has this index
@example("as shipped", [(42, 0x01)])  # nor one below zero
def test_bytes_changed_at_random_are_read_as_the_codec_reads_them_or_left_to_it(
    name: str, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(GOOD[name])
    for place, byte in changes:
        data[min(place, len(data) - 1)] = byte
    known = quickly(name, bytes(data))
    assert known is None or known == slowly(name, bytes(data))
    about(name, bytes(data))


@pytest.mark.parametrize("name", sorted(ENVELOPES))
def test_an_event_that_is_cut_or_goes_on_is_none(name: str) -> None:
    data = GOOD[name]
    for length in range(5, len(data)):
        assert quickly(name, data[:length]) is None
        assert slowly(name, data[:length]) is None
    assert quickly(name, data + b"\x00") is None


@given(names, st.binary(min_size=5, max_size=60))
def test_any_bytes_are_read_as_the_codec_reads_them_or_left_to_it(name: str, data: bytes) -> None:
    known = quickly(name, data)
    assert known is None or known == slowly(name, data)
    about(name, data)


@pytest.mark.parametrize("other", ["{%s}", "urn:uuid:%s"])
def test_an_id_that_is_written_otherwise_is_left_to_who_reads_the_whole_event(other: str) -> None:
    data, written = GOOD["as shipped"], str(UUID(int=7))
    for spelled in (other % written, written.upper().replace("-", "")):
        read = data[:5] + _text(spelled) + data[5 + len(_text(written)) :]
        assert quickly("as shipped", read) == quickly("as shipped", data)
        assert about("as shipped", read) is None
    none = data[:5] + _text("g" + written[1:]) + data[5 + len(_text(written)) :]
    assert quickly("as shipped", none) is None
    assert about("as shipped", none) is None


@pytest.mark.parametrize("time", [-1, YEAR_10000_MS])
@pytest.mark.parametrize(("client", "resource"), [("", "a"), ("a", ""), ("a\n", "a"), ("a", "\x7f")])
def test_what_no_event_is_is_left_to_the_codec(time: int, client: str, resource: str) -> None:
    good = encoders["text ids"](event_of("text ids", "new", (0, 0, "a", "a"), None, 5))
    for old, new in ((b"\x02a\x02a", _text(client) + _text(resource)), (b"\x0a", _long(time))):
        assert good.count(old, 40) == 1
        bad = good[:40] + good[40:].replace(old, new)
        assert quickly("text ids", bad) is None
        assert slowly("text ids", bad) is None


def _text(text: str) -> bytes:
    return _long(len(text)) + text.encode()


def _long(number: int) -> bytes:
    zigzag = number << 1 if number >= 0 else -(number << 1) - 1
    out = bytearray()
    while zigzag > 0x7F:
        out.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    return bytes((*out, zigzag))


DATA = {"name": "data", "type": {"type": "record", "name": "Data", "fields": []}}


@pytest.mark.parametrize(
    "text",
    [
        envelope(ID, EVENT, CLIENT, CONCEPT, TIME, DATA),
        envelope(EVENT, ID, CLIENT, CONCEPT, TIME),
        envelope(ID, EVENT, CLIENT, CONCEPT),
        envelope(ID, EVENT, {**CLIENT, "type": "int"}, CONCEPT, TIME),
        envelope(ID, EVENT, CLIENT, concept({**CONCEPT_ID, "type": "int"}, SUB_NAMESPACE), TIME),
        envelope(ID, EVENT, CLIENT, concept(SUB_NAMESPACE, CONCEPT_ID), TIME),
        envelope(ID, EVENT, CLIENT, concept(CONCEPT_ID, {**SUB_NAMESPACE, "type": ["null", "string", "int"]}), TIME),
        envelope(ID, EVENT, CLIENT, concept(CONCEPT_ID, {"name": "sub_namespace", "type": "string"}), TIME),
        envelope({**ID, "type": "bytes"}, EVENT, CLIENT, CONCEPT, TIME),
        envelope(ID, {**EVENT, "type": "int"}, CLIENT, CONCEPT, TIME),
        envelope(ID, EVENT, CLIENT, CONCEPT, {**TIME, "type": "int"}),
    ],
)
def test_a_schema_that_has_other_fields_has_no_quick_way(text: str) -> None:
    assert reader_of(text) is None


def test_the_second_event_of_a_schema_is_read_the_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    class Noted:
        def read(self, data: bytes) -> Event | None:
            asked.append(data)
            return quickly("as shipped", data)

        def subject(self, data: bytes) -> EventSubject | None:
            return about("as shipped", data)

    monkeypatch.setattr(events, "quick_reader", lambda *_: Noted())
    data = GOOD["as shipped"]
    decode, subject = event_reader(catalogues["as shipped"], "property", lambda _: ENVELOPES["as shipped"])
    assert subject(data) is None, "its schema is not known yet"
    assert decode(data) == decode(data)
    assert asked == [data]
    assert subject(data) == subject_of(decode(data)[0])
    assert subject(None) is None


def test_a_later_symbol_of_a_writer_is_read_in_both_ways_and_so_is_each_writer_by_its_own_schema() -> None:
    later = {**EVENT, "type": {**EVENT["type"], "symbols": ["sold", *EVENT["type"]["symbols"]]}}
    texts_ = {7: ENVELOPES["as shipped"], 8: envelope(ID, later, CLIENT, CONCEPT, TIME)}
    decode = event_reader(catalogues["as shipped"], "property", texts_.__getitem__).read
    data = GOOD["as shipped"]
    for _ in range(2):
        assert decode(data)[0].name == "property.updated"
        shifted = decode(b"\x00\x00\x00\x00\x08" + data[5:])[0].name
        assert shifted == f"property.{later['type']['symbols'][EVENT['type']['symbols'].index('updated')]}"


def test_data_that_is_read_from_a_field_of_another_name_is_read_every_time() -> None:
    own = envelope(ID, EVENT, CLIENT, CONCEPT, TIME, {**DATA, "type": ["null", DATA["type"]], "aliases": ["concept"]})
    catalogue = Catalogue.from_files({"property.avsc": own.encode()})
    decode = event_reader(catalogue, "property", lambda _: ENVELOPES["string before null"]).read
    first = decode(GOOD["string before null"])
    assert first[1] is not NO_DATA
    assert decode(GOOD["string before null"]) == first
