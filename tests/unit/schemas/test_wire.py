"""Confluent wire format and Avro's binary encoding: the official examples, malformed bytes, evolution."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookstream.schemas import wire
from hookstream.schemas.errors import InvalidValueError, UndecodableError
from hookstream.schemas.wire import Record, WriterSchemas, WriterView, record_reader, record_writer
from tests.support.values import Schemas

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "avro_spec.json").read_text())["vectors"]
HEADER = b"\x00\x00\x00\x00\x07"


def record_of(avro_type: object) -> str:
    """A record is its fields' bytes, so a record of one field has the bytes of that field."""
    return json.dumps({"type": "record", "name": "One", "fields": [{"name": "value", "type": avro_type}]})


def reader(own: str, *, written_as: str | None = None, indexed: str | None = None) -> Callable[[bytes | None], Record]:
    read = viewing(own, Schemas({7: own if written_as is None else written_as}), indexed=indexed)
    return lambda data: read(data)[0]


def viewing(
    own: str, schemas: WriterSchemas, *, indexed: str | None = None
) -> Callable[[bytes | None], tuple[Record, WriterView[None]]]:
    return record_reader(own, schemas, about=lambda _: None, indexed=indexed)


def indexed(vector: dict[str, Any]) -> str | None:
    """The specification prints the index of an enum's symbol."""
    return "value" if "enum" in vector["name"] else None


@pytest.mark.parametrize("vector", VECTORS, ids=[v["name"] for v in VECTORS])
def test_the_specification_s_examples_are_written_as_printed(vector: dict[str, Any]) -> None:
    write = record_writer(record_of(vector["type"]), 7, indexed=indexed(vector))
    assert write({"value": vector["value"]}) == HEADER + bytes.fromhex(vector["hex"])


@pytest.mark.parametrize("vector", VECTORS, ids=[v["name"] for v in VECTORS])
def test_the_specification_s_examples_are_read_as_printed(vector: dict[str, Any]) -> None:
    read = reader(record_of(vector["type"]), indexed=indexed(vector))
    assert read(HEADER + bytes.fromhex(vector["hex"])) == {"value": vector["value"]}


def test_the_schema_id_is_big_endian() -> None:
    assert record_writer(record_of("long"), 0x01020304)({"value": 0}) == b"\x00\x01\x02\x03\x04\x00"


@pytest.mark.parametrize(
    "data",
    [
        None,
        b"",
        b"\x00",
        HEADER[:4],
        b"\x01" + HEADER[1:] + b"\x06foo",  # another magic byte
        b"\x02" + HEADER[1:] + b"\x06foo",
        b"\xff" + HEADER[1:] + b"\x06foo",
        b"{}{}{}{}",
        HEADER,  # no body
        HEADER + b"\x06fo",  # cut
        HEADER + b"\x06foo\x00",  # something behind
        HEADER + b"\x01foo",  # a length of -1
        HEADER + b"\xff" * 12,  # a length without end
        HEADER + b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # 2^63 - 1 bytes, allegedly
        HEADER + b"\x02\xff",  # no UTF-8
        b"\x00\x00\x00\x00\x08\x06foo",  # an unknown schema
    ],
)
def test_what_is_no_record_is_undecodable(data: bytes | None) -> None:
    with pytest.raises(UndecodableError):
        reader(record_of("string"))(data)


@pytest.mark.parametrize("text", ["", "no json", '"nonsense"', "[]", '{"type": "record"}', '{"type": "object"}'])
def test_a_writer_s_schema_that_is_no_avro_makes_its_records_undecodable(text: str) -> None:
    with pytest.raises(UndecodableError):
        reader(record_of("long"), written_as=text)(HEADER + b"\x00")


def test_no_word_of_the_content_gets_into_the_error() -> None:
    with pytest.raises(UndecodableError) as caught:
        reader(record_of({"type": "array", "items": "string"}))(HEADER + b"\x02\x0csecret\x02\x0asec")
    shown = f"{caught.value} {caught.value.__cause__} {caught.value.__suppress_context__}"
    assert "secret" not in shown
    assert caught.value.__suppress_context__


def test_a_registry_that_is_unavailable_is_not_an_undecodable_record() -> None:
    class AwayError(Exception):
        pass

    answers: list[AwayError | str] = [AwayError(), record_of("long")]

    def writer_schemas(_schema_id: int) -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    read = viewing(record_of("long"), writer_schemas)
    with pytest.raises(AwayError):
        read(HEADER + b"\x36")
    assert read(HEADER + b"\x36")[0] == {"value": 27}
    assert read(HEADER + b"\x02")[0] == {"value": 1}
    assert answers == []  # asked once more, and never again


@given(st.binary(max_size=60))
def test_any_bytes_are_a_record_or_undecodable(body: bytes) -> None:
    fields = [
        {"name": "a", "type": ["null", "string"]},
        {"name": "b", "type": {"type": "array", "items": "bytes"}},
        {"name": "c", "type": "double"},
    ]
    own = json.dumps({"type": "record", "name": "R", "fields": fields})
    other = json.dumps({"type": "record", "name": "R", "fields": [{"name": "gone", "type": "string"}, *fields]})
    for read in (reader(own), reader(own, written_as=other)):
        with suppress(UndecodableError):
            assert set(read(HEADER + body)) == {"a", "b", "c"}


@pytest.mark.parametrize("value", ["27", None, 2**63, b"", {}])
def test_a_value_outside_of_its_type_is_invalid(value: object) -> None:
    with pytest.raises(InvalidValueError):
        record_writer(record_of("long"), 7)({"value": value})


def test_logical_types_are_plain_numbers_and_strings_here() -> None:
    own = record_of({"type": "long", "logicalType": "timestamp-millis"})
    assert reader(own)(HEADER + b"\x36") == {"value": 27}


def test_a_field_that_the_reader_does_not_know_is_dropped_and_one_that_the_writer_did_not_know_is_defaulted() -> None:
    old = {"name": "kept", "type": "string"}
    gone = {"name": "gone", "type": {"type": "array", "items": "long"}}
    new = {"name": "new", "type": ["null", "long"], "default": None}
    written = json.dumps({"type": "record", "name": "R", "fields": [gone, old]})
    own = json.dumps({"type": "record", "name": "R", "fields": [new, old]})
    assert reader(own, written_as=written)(HEADER + b"\x04\x06\x36\x00\x06foo") == {"kept": "foo", "new": None}


def test_a_schema_that_cannot_be_resolved_makes_its_records_undecodable() -> None:
    with pytest.raises(UndecodableError):
        reader(record_of("long"), written_as=record_of("string"))(HEADER + b"\x06foo")


def test_documentation_and_formatting_do_not_cost_the_fast_path() -> None:
    plain = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "long"}]}
    told = {"doc": "told", **plain, "fields": [{"name": "a", "doc": "told", "type": "long"}]}
    read = viewing(json.dumps(plain), Schemas({7: json.dumps(told, indent=2)}))
    assert read(HEADER + b"\x36")[1].reader_schema is None


def test_the_whole_range_of_ids_is_read() -> None:
    own = record_of("long")
    highest = 2**32 - 1
    read = viewing(own, Schemas({highest: own}))
    assert read(struct.pack(">bI", 0, highest) + b"\x36")[0] == {"value": 27}


@pytest.mark.parametrize(("text", "is_read"), [(record_of("long"), True), ("[[", False)])
def test_what_is_kept_of_the_schemas_is_bounded(text: str, is_read: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def writer_schemas(schema_id: int) -> str:
        asked.append(schema_id)
        return text

    monkeypatch.setattr(wire, "_MAX_VIEWS", 2)
    read = viewing(record_of("long"), writer_schemas)
    for schema_id in (1, 2, 1, 3, 1):
        with nullcontext() if is_read else pytest.raises(UndecodableError):
            read(struct.pack(">bI", 0, schema_id) + b"\x36")
    assert asked == [1, 2, 3, 1]
