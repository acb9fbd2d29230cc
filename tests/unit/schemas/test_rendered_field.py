"""An envelope's `data` is read as its writer wrote it, in the form of JSON, whatever else has to be resolved."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

import pytest

from hookstream.schemas.errors import InvalidSchemaError, UndecodableError
from hookstream.schemas.rendering.json_tree import dump
from hookstream.schemas.wire import Record, record_reader, record_writer
from tests.support.values import Schemas

Schema: TypeAlias = dict[str, Any]

SYMBOLS = ["placed", "paid"]
MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
CLOCK = {"type": "int", "logicalType": "time-millis"}


def envelope(data: object | None, *, client: str = "long", at: str = "timestamp-millis", last: bool = True) -> Schema:
    own = [
        {"name": "event", "type": {"type": "enum", "name": "Symbol", "symbols": SYMBOLS}},
        {"name": "client", "type": client},
        {"name": "at", "type": {"type": "long", "logicalType": at}},
    ]
    more = [] if data is None else [{"name": "data", "type": data}]
    return {"type": "record", "name": "E", "fields": [*own, *more] if last else [*more, *own]}


def data_of(**types: object) -> Schema:
    return {"type": "record", "name": "D", "fields": [{"name": name, "type": kind} for name, kind in types.items()]}


OWN = envelope(["null", data_of(total=MONEY)])


def read_with(writer: Schema, **values: object) -> Record:
    read = record_reader(
        json.dumps(OWN), Schemas({7: json.dumps(writer)}), about=lambda _: None, indexed="event", rendered="data"
    )
    record = {"event": 1, "client": 434, "at": 5, **values}
    return read(record_writer(json.dumps(writer), 7, indexed="event")(record))[0]


def test_data_is_in_the_form_of_json_and_the_rest_as_it_is_on_the_wire() -> None:
    record = read_with(OWN, data={"total": b"\x04\xce"})
    assert record == {"event": 1, "client": 434, "at": 5, "data": {"total": "12.30"}}
    assert dump(record["data"], "data") == b'{"total":"12.30"}'
    assert read_with(OWN, data=None)["data"] is None


@pytest.mark.parametrize("last", [True, False])
def test_a_newer_writer_s_data_flows(last: bool) -> None:
    newer = envelope(data_of(total=MONEY, at=CLOCK, note=["null", "string"]), last=last)
    data = {"total": b"\x05", "at": 1, "note": "n"}
    assert read_with(newer, data=data) == {
        "event": 1,
        "client": 434,
        "at": 5,
        "data": {"total": "0.05", "at": "00:00:00.001", "note": "n"},
    }


def test_an_older_writer_without_data_has_none() -> None:
    assert read_with(envelope(None)) == {"event": 1, "client": 434, "at": 5}


@pytest.mark.parametrize("last", [True, False])
def test_data_stays_as_it_was_written_where_other_fields_are_resolved(last: bool) -> None:
    other = envelope({"type": "map", "values": CLOCK}, client="int", last=last)
    assert read_with(other, data={"a": 1}) == {"event": 1, "client": 434, "at": 5, "data": {"a": "00:00:00.001"}}


def test_a_type_that_data_defines_may_be_used_behind_it() -> None:
    own = envelope(data_of(total=MONEY), last=False)
    own["fields"].append({"name": "again", "type": ["null", "D"]})
    text = json.dumps(own)
    read = record_reader(text, Schemas({7: text}), about=lambda _: None, indexed="event", rendered="data")
    values = {"event": 0, "client": 1, "at": 2, "data": {"total": b"\5"}, "again": None}
    assert read(record_writer(text, 7, indexed="event")(values))[0]["data"] == {"total": "0.05"}


def test_a_form_that_cannot_be_is_the_schema_s_fault() -> None:
    scale = data_of(total=MONEY | {"precision": 5_000, "scale": 2_000})
    with pytest.raises(UndecodableError, match="scale"):
        read_with(envelope(scale), data={"total": b"\5"})
    with pytest.raises(InvalidSchemaError):
        record_reader("{}", Schemas({}), about=lambda _: None, rendered="data")
