"""Confluent wire format: a zero byte, the schema's id in four bytes, an Avro body; both ways, at the speed of fastavro.

Schemas are used in their physical form: logical types are dropped (nobody here wants a `datetime` for a `long`), and
an enum is read and written as the int that it is on the wire. So a symbol is always looked up in its *writer's* list:
no evolution, and no negative index, can turn it into another one.

Source: Confluent Schema Registry, "Wire format"; Apache Avro 1.12 specification, "Binary Encoding".
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any, NamedTuple, Protocol, TypeAlias

import fastavro
import orjson
from fastavro import schemaless_reader, schemaless_writer
from fastavro.read import SchemaResolutionError
from fastavro.schema import SchemaParseException, UnknownType, to_parsing_canonical_form

from .errors import InvalidValueError, UndecodableError
from .event_schema import event_symbols

Record: TypeAlias = dict[str, Any]

HEADER_BYTES = 5
_HEADER = struct.Struct(">bI")
_BAD_SCHEMA = (ValueError, TypeError, LookupError, AttributeError, SchemaParseException, UnknownType, RecursionError)
# What fastavro lets through when bytes are not what their schema says; found by fuzzing, see the tests.
_BAD_BODY = (
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    OverflowError,
    MemoryError,
    RecursionError,
    struct.error,
    SchemaResolutionError,
)
_BAD_VALUE = (ValueError, TypeError, LookupError, OverflowError, AttributeError)


class WriterSchemas(Protocol):
    """Where the schema that a record was written with is found."""

    def __call__(self, schema_id: int, /) -> str:
        """Give the schema's text.

        Raises:
            UndecodableError: there is no schema of that id. Anything else (the registry is away) reaches the caller
                of the decoder as it is: such a record may be read later.
        """


class WriterView(NamedTuple):
    """How to read what one schema wrote."""

    schema: Any  # physical, parsed
    reader_schema: Any  # None where both are the same: no resolution, half the time
    symbols: tuple[str, ...]  # of the enum field `event`, in the writer's order


def record_reader(own_text: str, writer_schemas: WriterSchemas) -> Callable[[bytes | None], tuple[Record, WriterView]]:
    """A function from wire bytes to the record, in the shape of our own schema, and how it was read.

    The function raises `UndecodableError` for what is no record, without a word of its content, and lets through what
    `writer_schemas` raises. It may be called from any thread.
    """
    views = _Views(own_text, writer_schemas)
    read, open_buffer = schemaless_reader, BytesIO

    def read_record(data: bytes | None) -> tuple[Record, WriterView]:
        if not data:
            msg = "no value" if data is None else "empty value"
            raise UndecodableError(msg)
        view = views[data[:HEADER_BYTES]]
        buffer = open_buffer(data)
        buffer.seek(HEADER_BYTES)
        try:
            record = read(buffer, view.schema, view.reader_schema)
        except _BAD_BODY as exc:
            msg = f"the body does not match its schema ({type(exc).__name__})"
            raise UndecodableError(msg) from None
        if buffer.tell() != len(data):
            msg = f"{len(data) - buffer.tell()} bytes after the end of the record"
            raise UndecodableError(msg)
        return record, view  # type: ignore[return-value]  # our schemas are records

    return read_record


def record_writer(own_text: str, schema_id: int) -> Callable[[Record], bytes]:
    """A function from a record to wire bytes under that schema id.

    The function raises `InvalidValueError` for what the schema does not allow. It may be called from any thread.
    """
    header = _HEADER.pack(0, schema_id)
    schema = fastavro.parse_schema(_physical(orjson.loads(own_text)))
    write, open_buffer = schemaless_writer, BytesIO

    def write_record(record: Record) -> bytes:
        buffer = open_buffer()
        buffer.write(header)
        try:
            write(buffer, schema, record)
        except _BAD_VALUE as exc:
            msg = f"a value outside of what {schema['name']} allows: {type(exc).__name__}"  # type: ignore[index,call-overload]
            raise InvalidValueError(msg) from exc
        return buffer.getvalue()

    return write_record


class _Views(dict[bytes, WriterView]):
    """Views by the five bytes of the header: one look-up in C says whether the record is ours and how to read it."""

    def __init__(self, own_text: str, writer_schemas: WriterSchemas) -> None:
        super().__init__()
        self._own = fastavro.parse_schema(_physical(orjson.loads(own_text)))
        self._own_form = to_parsing_canonical_form(self._own)
        self._writer_schemas = writer_schemas

    def __missing__(self, header: bytes) -> WriterView:
        if len(header) < HEADER_BYTES:
            msg = "shorter than a header"
            raise UndecodableError(msg)
        magic, schema_id = _HEADER.unpack(header)
        if magic != 0:
            msg = f"starts with byte {magic & 0xFF}, not with 0"
            raise UndecodableError(msg)
        view = self._view(schema_id, self._writer_schemas(schema_id))
        self[header] = view
        return view

    def _view(self, schema_id: int, text: str) -> WriterView:
        try:
            logical = orjson.loads(text)
            schema = fastavro.parse_schema(_physical(logical))
            same = to_parsing_canonical_form(schema) == self._own_form
            return WriterView(schema, None if same else self._own, event_symbols(logical))
        except _BAD_SCHEMA as exc:
            msg = f"schema {schema_id} is not an Avro schema that can be read ({type(exc).__name__})"
            raise UndecodableError(msg) from exc


def _physical(schema: Any) -> Any:  # noqa: ANN401 - JSON
    """The schema as its bytes are: without logical types, and with an int for each enum."""
    if isinstance(schema, list):
        return [_physical(branch) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "enum":
        return "int"
    return {key: _physical(value) for key, value in schema.items() if key != "logicalType"}
