"""Confluent wire format: a zero byte, the schema's id in four bytes, an Avro body; both ways, at the speed of fastavro.

Schemas are used in their physical form: logical types are dropped (no code here wants a `datetime` for a `long`), and
the enum of one field, `indexed`, is read and written as the int that it is on the wire. So its symbol is always looked
up in its *writer's* list: no evolution, no default and no negative index can turn it into another one.

Source: Confluent Schema Registry, "Wire format"; Apache Avro 1.12 specification, "Binary Encoding".
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

import fastavro
from fastavro import schemaless_reader, schemaless_writer
from fastavro._read_py import schemaless_reader as python_reader
from fastavro.schema import to_parsing_canonical_form

from .avro_cost import is_recursive
from .avro_schema import AvroSchema, Node
from .errors import InvalidSchemaError, InvalidValueError, UndecodableError
from .rendering.logical import marks

Record: TypeAlias = dict[str, Any]
_T = TypeVar("_T")

Read: TypeAlias = Callable[[BytesIO, Node, Node], Any]
"""Reads a record: buffer, writer's schema, reader's schema or None."""

HEADER_BYTES = 5
_HEADER = struct.Struct(">bI")
_BAD_VALUE = (ValueError, TypeError, LookupError, OverflowError, AttributeError)
# A record of a recursive schema may be nested as deeply as it is long. In C that overflows the stack from some 20,000
# levels on and ends the process; in Python it is a RecursionError, at a tenth of the speed.
_SHALLOW_BYTES = 1024
# Ids that the registry knows are few; where every record has its own, views are made anew now and then.
_MAX_VIEWS = 10_000


class WriterSchemas(Protocol):
    """Where the schema that a record was written with is found."""

    def __call__(self, schema_id: int, /) -> str:
        """Give the schema's text.

        Raises:
            UndecodableError: there is no schema of that id. Anything else (the registry does not answer) reaches the
            caller
                of the decoder as it is: such a record may be read later.
        """


class WriterView(NamedTuple, Generic[_T]):
    """How to read what one schema wrote, and what the reader has to know about that schema."""

    read: Read
    schema: Node  # physical, parsed
    reader_schema: Node  # None where nothing has to be resolved: a third of the time
    about: _T


def record_reader(
    own_text: str,
    writer_schemas: WriterSchemas,
    *,
    about: Callable[[AvroSchema], _T],
    indexed: str | None = None,
    rendered: str | None = None,
) -> Callable[[bytes | None], tuple[Record, WriterView[_T]]]:
    """A function from wire bytes to the record, in the shape of our own schema, and how it was read.

    The field `rendered` is given as its writer wrote it, in the form that it has in JSON (`json_tree.dump` writes it),
    and is not there where the writer's schema has none of its name, or of its aliases in our schema.

    The function raises `UndecodableError` for what is no record, without a word of its content, and lets through what
    `writer_schemas` raises. It may be called from any thread. `about` is asked once for each writer's schema; what
    raises `InvalidSchemaError` there makes its records undecodable.
    """
    views = _Views(own_text, writer_schemas, about, indexed, rendered)
    open_buffer = BytesIO

    def read_record(data: bytes | None) -> tuple[Record, WriterView[_T]]:
        if not data:
            msg = "no value" if data is None else "empty value"
            raise UndecodableError(msg)
        view = views[data[:HEADER_BYTES]]
        buffer = open_buffer(data)
        buffer.seek(HEADER_BYTES)
        try:
            record = view.read(buffer, view.schema, view.reader_schema)
        except Exception as exc:  # noqa: BLE001 - whatever fastavro makes of the bytes, this record is given up
            msg = f"the body does not match its schema ({type(exc).__name__})"
            raise UndecodableError(msg) from None
        if buffer.tell() != len(data):
            msg = f"{len(data) - buffer.tell()} bytes after the end of the record"
            raise UndecodableError(msg)
        return record, view  # our schemas are records

    return read_record


def record_writer(own_text: str, schema_id: int, *, indexed: str | None = None) -> Callable[[Record], bytes]:
    """A function from a record to wire bytes under that schema id.

    The function raises `InvalidValueError` for what the schema does not allow. It may be called from any thread.
    """
    header = _HEADER.pack(0, schema_id)
    own = AvroSchema(own_text)
    schema = fastavro.parse_schema(own.physical(own.fields(own.root)[indexed] if indexed else None))
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


def header_of(schema_id: int) -> bytes:
    """The bytes before an Avro body."""
    return _HEADER.pack(0, schema_id)


def schema_id_of(data: bytes) -> int:
    """The id of the schema that a value was written with.

    Raises:
        UndecodableError: it does not begin as the wire format does.
    """
    if len(data) < HEADER_BYTES:
        msg = "shorter than a header"
        raise UndecodableError(msg)
    magic, schema_id = _HEADER.unpack_from(data)
    if magic != 0:
        msg = f"starts with byte {magic & 0xFF}, not with 0"
        raise UndecodableError(msg)
    return int(schema_id)


class _Views(dict[bytes, WriterView[_T]]):
    """Views by the five bytes of the header: one look-up in C says whether the record is ours and how to read it."""

    def __init__(
        self,
        own_text: str,
        writer_schemas: WriterSchemas,
        about: Callable[[AvroSchema], _T],
        indexed: str | None,
        rendered: str | None,
    ) -> None:
        super().__init__()
        whole = AvroSchema(own_text)
        own = self._own_schema = whole.without(rendered)
        self._rendered: Node = None
        if rendered is not None:  # which a writer may have though we do not
            self._rendered = whole.fields(whole.root).get(rendered, {"name": rendered})
        self._indexed: Node = own.fields(own.root)[indexed] if indexed else None
        self._own = fastavro.parse_schema(own.physical(self._indexed))
        self._own_form = to_parsing_canonical_form(self._own)
        self._names = tuple(own.fields(own.root))
        self._writer_schemas = writer_schemas
        self._about = about
        # A schema never changes under its id, so that it cannot be read is known from then on.
        self._refused: dict[bytes, str] = {}

    def __missing__(self, header: bytes) -> WriterView[_T]:
        if header in self._refused:
            raise UndecodableError(self._refused[header])
        schema_id = schema_id_of(header)
        text = self._writer_schemas(schema_id)
        try:
            view = self._view(schema_id, text)
        except UndecodableError as exc:
            if len(self._refused) >= _MAX_VIEWS:
                self._refused.clear()
            self._refused[header] = str(exc)
            raise
        if len(self) >= _MAX_VIEWS:
            self.clear()
        self[header] = view
        return view

    def _view(self, schema_id: int, text: str) -> WriterView[_T]:
        try:
            writer = AvroSchema(text)
            read = read_recursive if is_recursive(writer) else schemaless_reader
            field = None if self._indexed is None else writer.field_like(self._indexed)
            if field is not None and writer.kind(field["type"]) != "enum":
                field = None
            shown = None if self._rendered is None else writer.field_like(self._rendered)
            kept = {} if shown is None else {self._rendered["name"]: shown["name"]}
            physical = writer.physical(field) if shown is None else writer.marked(marks, indexed=field, only=shown)
            schema = fastavro.parse_schema(physical)
            about = self._about(writer)
            if to_parsing_canonical_form(schema) == self._own_form:
                return WriterView(read, schema, None, about)
            if writer.has_fields_of(self._own_schema, indexed=field, own_indexed=self._indexed):
                picked = {**{name: name for name in self._names}, **kept}
                return WriterView(_picking(read, picked), schema, None, about)
            return WriterView(_resolving(read, kept), schema, self._own, about)
        except InvalidSchemaError as exc:
            msg = f"schema {schema_id} cannot be read: {exc}"
            raise UndecodableError(msg) from exc
        except Exception as exc:  # whatever fastavro makes of a schema from outside
            msg = f"schema {schema_id} cannot be read ({type(exc).__name__})"
            raise UndecodableError(msg) from exc


def read_recursive(buffer: BytesIO, schema: Node, reader_schema: Node) -> object:
    """Read a record that may be nested deeply."""
    read = schemaless_reader if len(buffer.getbuffer()) <= _SHALLOW_BYTES else python_reader
    return read(buffer, schema, reader_schema)


def _picking(read: Read, names: Mapping[str, str]) -> Read:
    """Read a record that has our fields, and others; `names` are the writer's, by our own."""
    pairs = tuple(names.items())

    def read_and_pick(buffer: BytesIO, schema: Node, _reader_schema: Node) -> object:
        record: Record = read(buffer, schema, None)
        return {name: record[written] for name, written in pairs}

    return read_and_pick


def _resolving(read: Read, kept: Mapping[str, str]) -> Read:
    """Read a record that has to be brought into our shape; the fields `kept`, see above, stay as they were written.

    What fastavro skips it does not look at: it counts to 2^62 in an array that is not there, and takes a record that
    is cut for a whole one. So everything is read once before.
    """

    def read_and_resolve(buffer: BytesIO, schema: Node, reader_schema: Node) -> object:
        written: Record = read(buffer, schema, None)
        end = buffer.tell()
        buffer.seek(HEADER_BYTES)
        record: Record = read(buffer, schema, reader_schema)
        buffer.seek(end)
        return {**record, **{name: written[of] for name, of in kept.items()}} if kept else record

    return read_and_resolve
