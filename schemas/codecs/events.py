"""Events of the deployment's own topics, by the envelope of their namespace, and their data."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple
from uuid import UUID

from hookstream.schemas.avro_schema import AvroSchema
from hookstream.schemas.bounded import YEAR_10000_MS
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.errors import InvalidValueError, UndecodableError
from hookstream.schemas.event import Concept, Event, EventSubject
from hookstream.schemas.event_schema import DATA_FIELD, NAME_FIELD, EventMeaning, event_meaning, undelivered_fields
from hookstream.schemas.ids import WHAT_A_TEXT_IS, IdKinds, is_id
from hookstream.schemas.rendering.data_writer import DataWriter
from hookstream.schemas.rendering.json_tree import JsonTree
from hookstream.schemas.wire import (
    HEADER_BYTES,
    Record,
    WriterSchemas,
    WriterView,
    header_of,
    record_reader,
    record_writer,
)

from .event_bytes import EventReader
from .quick_events import quick_reader

_SCHEMAS_KEPT = 64
NO_DATA: Final = object()
"""Stands where data would: the envelope that an event was written with has none. Data may be null."""


def event_encoder(catalogue: Catalogue, namespace: str, schema_id: int) -> Callable[[Event], bytes]:
    """Encode events of one namespace under the id of its schema; every field is checked, for any service may call it.

    Raises:
        UnknownEventError: no such namespace; from the encoder, no such event in it.
    """
    text = catalogue.schema_text(namespace)
    write = record_writer(text, schema_id, indexed=NAME_FIELD)
    own = AvroSchema(text)
    names, per_ms = event_meaning(own, namespace, own)
    index_of = {name: index for index, name in enumerate(names)}
    ids = catalogue.id_kinds(namespace)
    data = data_writer(text)

    def encode(event: Event) -> bytes:
        index = index_of.get(event.name)
        if index is None:
            catalogue.require(event.name)
            msg = f"{event.name} is no event of the namespace {namespace}"
            raise InvalidValueError(msg)
        _check_values(event, ids)
        concept = event.concept
        return write(
            {
                **_written_data(event, data),
                "id": str(event.id),
                "event": index,
                "client": event.client,
                "concept": {"id": concept.id, "sub_namespace": concept.sub_namespace},
                "occurred_at": event.occurred_at_ms * per_ms,
            }
        )

    return encode


class WrittenEvent(NamedTuple):
    """The bytes of an event, and the schema that they were written with, for whoever sends them later."""

    schema_text: str
    value: bytes
    """Without the header of the wire format: the id is the registry's."""

    def under(self, schema_id: int) -> bytes:
        """The value of a record."""
        return header_of(schema_id) + self.value


def write_event(catalogue: Catalogue, event: Event) -> WrittenEvent:
    """Encode an event with today's schema.

    Raises:
        UnknownEventError, InvalidValueError: as its encoder would.
    """
    namespace = event.name.partition(".")[0]
    value = event_encoder(catalogue, namespace, 0)(event)
    return WrittenEvent(catalogue.schema_text(namespace), value[HEADER_BYTES:])


def data_of(written: WrittenEvent) -> JsonTree:
    """The data of an event that was written, in the form of JSON; None where it has none."""
    return _data_reader(written.schema_text)(written.under(0))[0].get(DATA_FIELD)


@lru_cache(maxsize=_SCHEMAS_KEPT)
def _data_reader(text: str) -> Callable[[bytes | None], tuple[Record, WriterView[None]]]:
    return record_reader(text, lambda _: text, about=lambda _: None, indexed=NAME_FIELD, rendered=DATA_FIELD)


@lru_cache(maxsize=_SCHEMAS_KEPT)
def data_writer(text: str) -> DataWriter | None:
    """What writes the data of a namespace with this schema; None where it has none."""
    schema = AvroSchema(text)
    field = schema.fields(schema.root).get(DATA_FIELD)
    return None if field is None else DataWriter(schema, field["type"])


def _written_data(event: Event, writer: DataWriter | None) -> dict[str, object]:
    if writer is None:
        if event.data is not None:
            msg = f"{event.namespace} has no {DATA_FIELD}"
            raise InvalidValueError(msg, field=DATA_FIELD)
        return {}
    return {DATA_FIELD: writer.value(event.data, DATA_FIELD)}


def check_event(event: Event, catalogue: Catalogue) -> None:
    """Check that an event's values, and its data, are what its schema and its key mean; its name is not looked at.

    Raises:
        UnknownEventError: there is no such namespace.
        InvalidValueError: naming the field, or the path in the data.
    """
    namespace = event.name.partition(".")[0]
    _check_values(event, catalogue.id_kinds(namespace))
    _written_data(event, data_writer(catalogue.schema_text(namespace)))


def _check_values(event: Event, ids: IdKinds) -> None:
    concept = event.concept
    namespace = event.name.partition(".")[0]
    if concept.namespace != namespace:
        msg = f"{event.name} is about a {namespace}, and its concept has another namespace"
        raise InvalidValueError(msg)
    for field, kind, value in (("client", ids.client, event.client), ("concept.id", ids.concept, concept.id)):
        if not kind.takes(value):
            msg = f"{field} must be {kind.meaning}"
            raise InvalidValueError(msg, field=field)
    if type(event.occurred_at_ms) is not int or not 0 <= event.occurred_at_ms < YEAR_10000_MS:
        msg = f"occurred_at_ms must be an integer from 0 to {YEAR_10000_MS - 1}"
        raise InvalidValueError(msg)
    if type(event.id) is not UUID:
        msg = "id must be a UUID"
        raise InvalidValueError(msg)
    if concept.sub_namespace is not None and not _is_text(concept.sub_namespace):
        msg = "concept.sub_namespace must be a string without U+0000 and lone surrogates, or None"
        raise InvalidValueError(msg)


def _is_text(value: object) -> bool:
    """Whether everything on the way can keep it: UTF-8 has no lone surrogates, and PostgreSQL no U+0000."""
    if type(value) is not str or "\0" in value:
        return False
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False


class EventReading(NamedTuple):
    """How the events of one namespace are read."""

    read: Callable[[bytes | None], tuple[Event, JsonTree]]
    """The event, and its data in the form of JSON; `NO_DATA` where its writer has none."""
    subject: Callable[[bytes | None], EventSubject | None]
    """What an event without data is about, for a third of the cost; None where `read` has to be asked."""


def event_decoder(
    catalogue: Catalogue, namespace: str, writer_schemas: WriterSchemas
) -> Callable[[bytes | None], Event]:
    """Decode events of one namespace, without their data; see `event_reader`."""
    read = event_reader(catalogue, namespace, writer_schemas).read
    return lambda data: read(data)[0]


def _nothing(_fields: tuple[str, ...]) -> None:
    """For those whom it does not concern what of a record is not delivered."""


def event_reader(
    catalogue: Catalogue,
    namespace: str,
    writer_schemas: WriterSchemas,
    *,
    undelivered: Callable[[tuple[str, ...]], None] = _nothing,
) -> EventReading:
    """Read events of one namespace.

    The name is the writer's symbol, also where the catalogue does not know it: whether it can be routed is the
    caller's question. Data is as the writer wrote it, also where the catalogue knows less of it. `undelivered` is told,
    once for each writer's schema, which of its fields no event has.
    """
    text = catalogue.schema_text(namespace)
    own = AvroSchema(text)
    quick: dict[bytes, EventReader] = {}  # by header

    def about(writer: AvroSchema) -> tuple[EventMeaning, EventReader | None]:
        lost = undelivered_fields(writer, own)
        if lost:
            undelivered(lost)
        meaning = event_meaning(writer, namespace, own)
        return meaning, quick_reader(writer, namespace, meaning)

    read = record_reader(
        text,
        writer_schemas,
        about=about,
        indexed=NAME_FIELD,
        rendered=DATA_FIELD,
    )

    def decode(data: bytes | None) -> tuple[Event, JsonTree]:
        if data is not None and (reader := quick.get(data[:HEADER_BYTES])) is not None:
            known = reader.read(data)
            if known is not None:
                return known, NO_DATA
        record, view = read(data)
        meaning, plain = view.about
        event = _event_of(record, namespace, meaning)
        found = record.get(DATA_FIELD, NO_DATA)  # it may be read from another field, by an alias
        if plain is not None and data and found is NO_DATA and len(quick) < _SCHEMAS_KEPT:
            quick[data[:HEADER_BYTES]] = plain
        return event, found

    def subject(data: bytes | None) -> EventSubject | None:
        if data is None or (reader := quick.get(data[:HEADER_BYTES])) is None:
            return None
        return reader.subject(data)

    return EventReading(decode, subject)


def _event_of(record: Record, namespace: str, meaning: EventMeaning) -> Event:
    names, per_ms = meaning
    concept, index, occurred_at = record["concept"], record["event"], record["occurred_at"]
    if per_ms != 1:
        occurred_at //= per_ms
    client, concept_id = record["client"], concept["id"]
    for field, value in (("client", client), ("concept.id", concept_id)):
        if type(value) is str and not is_id(value):
            msg = f"{field} is not {WHAT_A_TEXT_IS}"
            raise UndecodableError(msg)
    if not 0 <= occurred_at < YEAR_10000_MS:
        msg = "occurred_at is no time from 1970 to 9999 in the unit of its schema"
        raise UndecodableError(msg)
    try:
        if index < 0:
            raise IndexError
        return Event(
            name=names[index],
            client=client,
            concept=Concept(id=concept_id, namespace=namespace, sub_namespace=concept["sub_namespace"]),
            occurred_at_ms=occurred_at,
            id=UUID(record["id"]),
        )
    except (IndexError, ValueError):
        msg = "an event symbol or id that its schema does not allow"
        raise UndecodableError(msg) from None
