"""An envelope's data is in the body, as its writer wrote it; an envelope without has the thin body, to the byte."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.codecs.events import NO_DATA, event_reader
from hookstream.schemas.errors import UnrenderableError
from hookstream.schemas.sources.readers import ReadEvent, body_of, topic_events
from hookstream.schemas.sources.record import Ignored, Refused, SourceRecord
from hookstream.schemas.topics import TopicNames
from hookstream.schemas.wire import record_writer
from tests.support.values import EVENT_ID, Schemas

MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
DAY = {"type": "int", "logicalType": "date"}
THIN = b'{"event":"lead.new","client":434,"concept":{"id":17,"namespace":"lead","sub_namespace":null}'  # and its end


def envelope(data: object | None) -> str:
    schema = json.loads(Catalogue.shipped().schema_text("lead"))
    if data is not None:
        schema["fields"].append({"name": "data", "type": data})
    return json.dumps(schema)


def a_record(name: str, **types: object) -> dict[str, object]:
    return {"type": "record", "name": name, "fields": [{"name": key, "type": kind} for key, kind in types.items()]}


ORDER = a_record("Order", total=MONEY, on=DAY)


def read(own: str, writer: str, told: Any = lambda _namespace, _fields: None, **data: Any) -> ReadEvent:
    """What a router whose catalogue has `own` reads of a record that was written with `writer`."""
    catalogue = Catalogue.from_files({"lead.avsc": own.encode()})
    values = {"id": str(EVENT_ID), "event": 0, "client": 434, "concept": {"id": 17, "sub_namespace": None}}
    value = record_writer(writer, 7, indexed="event")({**values, "occurred_at": 5, **data})
    events = topic_events(catalogue, TopicNames(), Schemas({7: writer}), undelivered=told)["events.lead"]
    found = events.read(SourceRecord("events.lead", 0, 0, b"434|17", value, None, 9))
    assert not isinstance(found, Ignored | Refused), found
    return found


def test_an_envelope_without_data_has_the_thin_body() -> None:
    assert body_of(read(envelope(None), envelope(None))) == THIN + b"}"


def test_data_is_behind_the_thin_body() -> None:
    own = envelope(ORDER)
    body = body_of(read(own, own, data={"total": b"\x04\xce", "on": 20_000}))
    assert body == THIN + b',"data":{"total":"12.30","on":"2024-10-04"}}'


@pytest.mark.parametrize(
    ("kind", "data", "shown"),
    [
        (["null", ORDER], None, b"null"),
        ({"type": "map", "values": "long"}, {"a": 1}, b'{"a":1}'),
        ({"type": "array", "items": MONEY}, [b"\x05"], b'["0.05"]'),
    ],
)
def test_data_may_be_null_a_map_or_an_array(kind: object, data: object, shown: bytes) -> None:
    assert body_of(read(envelope(kind), envelope(kind), data=data)) == THIN + b',"data":' + shown + b"}"


def test_what_a_newer_writer_adds_is_delivered_by_a_router_that_does_not_know_it() -> None:
    newer = envelope(a_record("Order", total=MONEY, on=DAY, note="string"))
    data = {"total": b"\x01", "on": 0, "note": "n"}
    wanted = THIN + b',"data":{"total":"0.01","on":"1970-01-01","note":"n"}}'
    assert body_of(read(envelope(ORDER), newer, data=data)) == wanted
    assert body_of(read(envelope(None), newer, data=data)) == wanted, "not even that there is data"


@pytest.mark.parametrize("more", [(), ("total",)], ids=["all of ours", "and others"])
def test_data_that_its_writer_calls_by_an_alias_is_delivered(more: tuple[str, ...]) -> None:
    own = json.loads(envelope(ORDER))
    own["fields"][-1]["aliases"] = ["payload"]
    writer = json.loads(envelope(ORDER).replace('"data"', '"payload"'))
    writer["fields"] += [{"name": name, "type": "long"} for name in more]
    order = {"total": b"\x04\xce", "on": 20_000}
    event = read(json.dumps(own), json.dumps(writer), payload=order, **dict.fromkeys(more, 1))
    assert body_of(event) == THIN + b',"data":{"total":"12.30","on":"2024-10-04"}}'
    writer["fields"][3]["type"]["fields"].append({"name": "region", "type": "long"})  # now it has to be resolved
    concept = {"id": 17, "sub_namespace": None, "region": 1}
    event = read(json.dumps(own), json.dumps(writer), payload=order, concept=concept, **dict.fromkeys(more, 1))
    assert body_of(event) == THIN + b',"data":{"total":"12.30","on":"2024-10-04"}}'


def test_fields_that_no_event_has_are_told_once_for_each_schema_and_the_event_is_delivered() -> None:
    own, writer = json.loads(envelope(None)), json.loads(envelope(ORDER))
    own["fields"][2]["aliases"] = ["tenant"]
    writer["fields"][2]["name"] = "tenant"
    writer["fields"].append({"name": "total_cents", "type": "long"})
    writer["fields"][3]["type"]["fields"].append({"name": "region", "type": "string"})
    told: list[object] = []
    event = read(
        json.dumps(own),
        json.dumps(writer),
        lambda *args: told.append(args),
        tenant=434,
        concept={"id": 17, "sub_namespace": None, "region": "eu"},
        data={"total": b"\x04\xce", "on": 20_000},
        total_cents=1999,
    )
    assert body_of(event) == THIN + b',"data":{"total":"12.30","on":"2024-10-04"}}'
    assert told == [("lead", ("total_cents", "concept.region"))]
    read(envelope(None), envelope(None), lambda *args: told.append(args))
    assert len(told) == 1


def test_an_older_writer_without_data_has_the_thin_body() -> None:
    assert body_of(read(envelope(["null", ORDER]), envelope(None))) == THIN + b"}"


def test_data_that_json_cannot_say_names_its_path() -> None:
    own = envelope(a_record("Order", at=a_record("At", on=DAY)))
    with pytest.raises(UnrenderableError, match=r"^data\.at\.on: a date outside"):
        body_of(read(own, own, data={"at": {"on": 2**31 - 1}}))


def test_a_thin_event_and_one_with_data_are_the_same_to_routing() -> None:
    thin, full = read(envelope(None), envelope(None)), read(envelope(ORDER), envelope(ORDER), data=_data())
    for name in ("name", "client_id", "concept_id", "namespace", "occurred_at_ms"):
        assert getattr(thin, name) == getattr(full, name)
    assert str(thin.id) == str(full.id) == str(EVENT_ID)


def test_an_event_without_data_is_told_from_one_whose_data_is_null() -> None:
    catalogue = Catalogue.from_files({"lead.avsc": envelope(None).encode()})
    values = {"id": str(EVENT_ID), "event": 0, "client": 434, "concept": {"id": 17, "sub_namespace": None}}
    value = record_writer(envelope(None), 7, indexed="event")({**values, "occurred_at": 5})
    _, data = event_reader(catalogue, "lead", Schemas({7: envelope(None)})).read(value)
    assert data is NO_DATA


def _data() -> dict[str, Any]:
    return {"total": b"\x01", "on": 0}
