"""The values of this package as Kafka record values, both ways.

Each function here builds a coder once, with everything it needs bound; the coder itself is a plain function, called
per record, from any thread. Encoders raise `InvalidValueError`. Decoders raise `UndecodableError` where the bytes are
no such value, never with a word of their content, and let through what `writer_schemas` raises for other reasons.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from math import isfinite
from typing import Final, NamedTuple, TypeVar
from uuid import UUID

from .attempt import Attempt, AttemptResult
from .avro_schema import AvroSchema
from .bounded import MAX_INT, MAX_LONG, MAX_NAME_CHARS, YEAR_10000_MS, is_storable
from .catalogue import Catalogue, InternalSchema
from .control import DIGEST_BYTES, EndpointSettings, SkippedDelivery
from .delivery import DeadLetter, DeadLetterReason, Delivery
from .errors import InvalidValueError, UndecodableError
from .event import Concept, Event
from .event_schema import DATA_FIELD, NAME_FIELD, event_meaning
from .hook import HIGHEST_RATE_PER_S, LOWEST_RATE_PER_S, Hook, HookNotice, HookState, NoticeKind, ResyncMark
from .ids import WHAT_A_TEXT_IS, IdKinds, is_id
from .rendering.data_writer import DataWriter
from .rendering.json_tree import JsonTree
from .wire import HEADER_BYTES, Record, WriterSchemas, WriterView, header_of, record_reader, record_writer

_MAX_ROW_BYTES = 65_535  # what the table of the processes can hold
# Of an answer a worker keeps so many bytes; a longer one, or a longer reason, is of no role and is cut.
_MAX_ANSWER_BYTES = 4096
_MAX_DETAIL_CHARS = 4096
_STATUSES = 1000
_SCHEMAS_KEPT = 64
NO_DATA: Final = object()
"""Stands where data would: the envelope that an event was written with has none. Data may be null."""

_Code = TypeVar("_Code", bound=StrEnum)


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


def event_decoder(
    catalogue: Catalogue, namespace: str, writer_schemas: WriterSchemas
) -> Callable[[bytes | None], Event]:
    """Decode events of one namespace, without their data; see `event_reader`."""
    read = event_reader(catalogue, namespace, writer_schemas)
    return lambda data: read(data)[0]


def event_reader(
    catalogue: Catalogue, namespace: str, writer_schemas: WriterSchemas
) -> Callable[[bytes | None], tuple[Event, JsonTree]]:
    """Read events of one namespace, each with its data in the form of JSON; `NO_DATA` where its writer has none.

    The name is the writer's symbol, also where the catalogue does not know it: whether it can be routed is the
    caller's question. Data is as the writer wrote it, also where the catalogue knows less of it.
    """
    text = catalogue.schema_text(namespace)
    own = AvroSchema(text)
    read = record_reader(
        text,
        writer_schemas,
        about=lambda writer: event_meaning(writer, namespace, own),
        indexed=NAME_FIELD,
        rendered=DATA_FIELD,
    )

    def decode(data: bytes | None) -> tuple[Event, JsonTree]:
        record, view = read(data)
        names, per_ms = view.about
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
            event = Event(
                name=names[index],
                client=client,
                concept=Concept(id=concept_id, namespace=namespace, sub_namespace=concept["sub_namespace"]),
                occurred_at_ms=occurred_at,
                id=UUID(record["id"]),
            )
        except (IndexError, ValueError):
            msg = "an event symbol or id that its schema does not allow"
            raise UndecodableError(msg) from None
        return event, record.get(DATA_FIELD, NO_DATA)

    return decode


def delivery_encoder(schema_id: int) -> Callable[[Delivery], bytes]:
    """Encode deliveries."""
    write = record_writer(InternalSchema.DELIVERY.text, schema_id)

    def encode(delivery: Delivery) -> bytes:
        return write(
            {
                "id": delivery.id,
                "event": delivery.event,
                "client": delivery.client,
                "concept_id": delivery.concept_id,
                "namespace": delivery.namespace,
                "occurred_at_ms": delivery.occurred_at_ms,
                "hook_id": delivery.hook_id,
                "hook_revision": delivery.hook_revision,
                "source_topic": delivery.source_topic,
                "source_partition": delivery.source_partition,
                "source_offset": delivery.source_offset,
                "arrived_ms": delivery.arrived_ms,
                "body": delivery.body,
                "replay": delivery.replay,
                "live_end": delivery.live_end,
                "replayed_at_ms": delivery.replayed_at_ms,
            }
        )

    return encode


def delivery_decoder(writer_schemas: WriterSchemas) -> Callable[[bytes | None], Delivery]:
    """Decode deliveries."""
    read = _reader(InternalSchema.DELIVERY.text, writer_schemas)

    def decode(data: bytes | None) -> Delivery:
        record, _ = read(data)
        delivery = Delivery(**record)
        if (
            delivery.hook_id | delivery.hook_revision < 0
            or not delivery.id.isidentifier()
            or len(delivery.id) > MAX_NAME_CHARS
            or not is_id(delivery.client)
            or not is_id(delivery.concept_id)
        ):
            msg = "an id, a client or a revision that no router writes"
            raise UndecodableError(msg)
        return delivery

    return decode


def attempt_encoder(schema_id: int) -> Callable[[Attempt], bytes]:
    """Encode attempts."""
    write = record_writer(InternalSchema.ATTEMPT.text, schema_id)

    def encode(attempt: Attempt) -> bytes:
        return write(
            {
                "delivery_id": attempt.delivery_id,
                "hook_id": attempt.hook_id,
                "hook_revision": attempt.hook_revision,
                "client": attempt.client,
                "event": attempt.event,
                "namespace": attempt.namespace,
                "concept_id": attempt.concept_id,
                "partition": attempt.partition,
                "offset": attempt.offset,
                "number": attempt.number,
                "probe": attempt.probe,
                "replay": attempt.replay,
                "started_at_ms": attempt.started_at_ms,
                "duration_ms": attempt.duration_ms,
                "result": attempt.result,
                "status": attempt.status,
                "answer": attempt.answer,
            }
        )

    return encode


def attempt_decoder(writer_schemas: WriterSchemas) -> Callable[[bytes | None], Attempt]:
    """Decode attempts."""
    read = _reader(InternalSchema.ATTEMPT.text, writer_schemas)
    result_of = _members(AttemptResult)

    def decode(data: bytes | None) -> Attempt:
        record, _ = read(data)
        record["result"] = result_of(record["result"])
        attempt = Attempt(**record)
        if not _is_written_by_workers(attempt):
            msg = "an id, a name, a number or a time that no worker writes"
            raise UndecodableError(msg)
        return attempt

    return decode


def _is_written_by_workers(attempt: Attempt) -> bool:
    """Whether the database takes it: what it refuses it refuses again, and everything behind it would wait."""
    longs = (attempt.hook_id, attempt.hook_revision, attempt.offset)
    ints = (attempt.number, attempt.partition, attempt.status or 0)
    return (
        min(*longs, *ints) >= 0
        and max(ints) <= MAX_INT
        and 0 <= attempt.started_at_ms < YEAR_10000_MS
        and isfinite(attempt.duration_ms)
        and is_id(attempt.client)
        and is_id(attempt.concept_id)
        and is_storable(attempt.delivery_id, attempt.event, attempt.namespace, attempt.replay or "")
    )


def dead_letter_encoder(schema_id: int) -> Callable[[DeadLetter], bytes]:
    """Encode dead letters."""
    write = record_writer(InternalSchema.DEAD_LETTER.text, schema_id)

    def encode(letter: DeadLetter) -> bytes:
        return write(
            {
                "reason": letter.reason,
                "detail": letter.detail,
                "topic": letter.topic,
                "partition": letter.partition,
                "offset": letter.offset,
                "record_key": letter.record_key,
                "record_value": letter.record_value,
                "client": letter.client,
                "hook_id": letter.hook_id,
                "delivery_id": letter.delivery_id,
                "died_at_ms": letter.died_at_ms,
                "last_status": letter.last_status,
                "last_answer": letter.last_answer,
            }
        )

    return encode


def dead_letter_decoder(writer_schemas: WriterSchemas) -> Callable[[bytes | None], DeadLetter]:
    """Decode dead letters."""
    read = _reader(InternalSchema.DEAD_LETTER.text, writer_schemas)
    reason_of = _members(DeadLetterReason)

    def decode(data: bytes | None) -> DeadLetter:
        record, _ = read(data)
        record["reason"] = reason_of(record["reason"])
        record["detail"] = record["detail"][:_MAX_DETAIL_CHARS]
        record["last_answer"] = record["last_answer"][:_MAX_ANSWER_BYTES]
        letter = DeadLetter(**record)
        if not _is_written_by_roles(letter):
            msg = "an id, a name, a number or a time that no role writes"
            raise UndecodableError(msg)
        return letter

    return decode


def _is_written_by_roles(letter: DeadLetter) -> bool:
    """Whether its numbers are some, and its names are those of topics and deliveries: answers and logs show them."""
    return (
        (letter.client is None or is_id(letter.client))
        and min(letter.hook_id or 0, letter.partition, letter.offset) >= 0
        and 0 <= (letter.last_status or 0) < _STATUSES
        and 0 <= letter.died_at_ms < YEAR_10000_MS
        and is_storable(letter.topic, letter.delivery_id or "")
    )


def notice_encoder(schema_id: int) -> Callable[[HookNotice], bytes]:
    """Encode notices about hooks."""
    write = record_writer(InternalSchema.NOTICE.text, schema_id)

    def encode(notice: HookNotice) -> bytes:
        return write(
            {
                "hook_id": notice.hook_id,
                "client": notice.client,
                "event": notice.event,
                "revision": notice.revision,
                "kind": notice.kind,
                "observed_at_ms": notice.observed_at_ms,
            }
        )

    return encode


def notice_decoder(writer_schemas: WriterSchemas) -> Callable[[bytes | None], HookNotice]:
    """Decode notices about hooks."""
    read = _reader(InternalSchema.NOTICE.text, writer_schemas)
    kind_of = _members(NoticeKind)

    def decode(data: bytes | None) -> HookNotice:
        record, _ = read(data)
        record["kind"] = kind_of(record["kind"])
        notice = HookNotice(**record)
        if min(notice.hook_id, notice.revision) < 0 or not (is_id(notice.client) and is_storable(notice.event)):
            msg = "an id, a name, a client or a revision that no worker writes"
            raise UndecodableError(msg)
        return notice

    return decode


def endpoint_settings_encoder(schema_id: int) -> Callable[[EndpointSettings], bytes]:
    """Encode operators' settings."""
    write = record_writer(InternalSchema.CONTROL.text, schema_id)

    def encode(wanted: EndpointSettings) -> bytes:
        return write(
            {
                "client": wanted.client,
                "target_digest": wanted.target_digest,
                "paused": wanted.paused,
                "skip_before_ms": wanted.skip_before_ms,
                "retry_at_ms": wanted.retry_at_ms,
                "skipped": [
                    {
                        "delivery_id": skip.delivery_id,
                        "at_ms": skip.at_ms,
                        "asked_by": skip.asked_by,
                        "reason": skip.reason,
                    }
                    for skip in wanted.skipped
                ],
                "asked_by": wanted.asked_by,
                "reason": wanted.reason,
                "drained_by": wanted.drained_by,
                "drain_reason": wanted.drain_reason,
                "revision": wanted.revision,
            }
        )

    return encode


def endpoint_settings_decoder(writer_schemas: WriterSchemas) -> Callable[[bytes | None], EndpointSettings | None]:
    """Decode what the control topic holds: settings, or None for a tombstone."""
    read = _reader(InternalSchema.CONTROL.text, writer_schemas)

    def decode(data: bytes | None) -> EndpointSettings | None:
        if data is None:
            return None
        record, _ = read(data)
        record["skipped"] = tuple(SkippedDelivery(**skip) for skip in record["skipped"])
        settings = EndpointSettings(**record)
        if not _is_written_by_relays(settings):
            msg = "a client, a target, a revision or a text that no operator can have asked with"
            raise UndecodableError(msg)
        return settings

    return decode


def _is_written_by_relays(settings: EndpointSettings) -> bool:
    """Whether the database takes it, which takes over what it lacks from the topic, and later ones after it."""
    texts = [settings.reason, settings.drain_reason]
    for skip in settings.skipped:
        texts += (skip.delivery_id, skip.asked_by, skip.reason)
    return (
        is_id(settings.client)
        and 0 <= settings.revision < MAX_LONG
        and len(settings.target_digest) == DIGEST_BYTES
        and max(len(settings.asked_by), len(settings.drained_by)) <= MAX_NAME_CHARS
        and not any("\0" in text for text in (*texts, settings.asked_by, settings.drained_by))
    )


def subscription_encoder(schema_id: int) -> Callable[[Hook | ResyncMark], bytes]:
    """Encode rows of the subscriptions table and the end marks of a resync. A tombstone is the value None, uncoded."""
    write = record_writer(InternalSchema.SUBSCRIPTION.text, schema_id)

    def encode(row: Hook | ResyncMark) -> bytes:
        if isinstance(row, ResyncMark):
            return write({"mark": {"topic_id": row.topic_id, "written_at_ms": row.written_at_ms}})
        return write(
            {
                "hook": {
                    "id": row.id,
                    "client": row.client,
                    "event": row.event,
                    "target": row.target,
                    "state": row.state,
                    "revision": row.revision,
                    "secrets": row.secrets,
                    "not_before_ms": row.not_before_ms,
                    "rate_limit_per_s": row.rate_limit_per_s,
                }
            }
        )

    return encode


def subscription_decoder(writer_schemas: WriterSchemas) -> Callable[[bytes | None], Hook | ResyncMark | None]:
    """Decode what the subscriptions topic holds: a row, an end mark, or None for a tombstone."""
    read = _reader(InternalSchema.SUBSCRIPTION.text, writer_schemas)
    state_of = _members(HookState)

    def decode(data: bytes | None) -> Hook | ResyncMark | None:
        if data is None:
            return None
        record, _ = read(data)
        hook, mark = record["hook"], record["mark"]
        if (hook is None) == (mark is None):
            msg = "needs either a hook or a mark"
            raise UndecodableError(msg)
        if mark is not None:
            return ResyncMark(**mark)
        if min(hook["id"], hook["revision"]) < 0:
            msg = "a hook's id and revision are no negative numbers"
            raise UndecodableError(msg)
        if not is_id(hook["client"]):
            msg = f"a hook's client is not {WHAT_A_TEXT_IS}"
            raise UndecodableError(msg)
        if max(len(text) for text in (hook["target"].encode(), *hook["secrets"])) > _MAX_ROW_BYTES:
            msg = f"a hook's target or secret has more than {_MAX_ROW_BYTES} bytes"
            raise UndecodableError(msg)
        hook["state"] = state_of(hook["state"])
        hook["secrets"] = tuple(hook["secrets"])
        hook["rate_limit_per_s"] = _rate_limit(hook["rate_limit_per_s"])
        return Hook(**hook)

    return decode


def _rate_limit(rate: float | None) -> float | None:
    """The nearest limit that the API takes: workers divide by it.

    A row that is refused instead would stop every router, and the limit is a matter of one hook.
    """
    if rate is None or LOWEST_RATE_PER_S <= rate <= HIGHEST_RATE_PER_S:
        return rate
    return HIGHEST_RATE_PER_S if rate > HIGHEST_RATE_PER_S else LOWEST_RATE_PER_S  # not a number: as slow as can be


def _reader(text: str, writer_schemas: WriterSchemas) -> Callable[[bytes | None], tuple[Record, WriterView[None]]]:
    return record_reader(text, writer_schemas, about=lambda _: None)


def _members(codes: type[_Code]) -> Callable[[str], _Code]:
    """A function from a code's value to the code; four times as fast as calling the enum."""
    by_value = {code.value: code for code in codes}

    def member(value: str) -> _Code:
        try:
            return by_value[value]
        except KeyError:
            msg = f"no {codes.__name__} of this release"
            raise UndecodableError(msg) from None

    return member
