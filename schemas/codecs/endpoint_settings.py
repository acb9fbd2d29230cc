"""What operators set for endpoints: records of `control`."""

from __future__ import annotations

from collections.abc import Callable

from hookstream.schemas.bounded import MAX_LONG, MAX_NAME_CHARS
from hookstream.schemas.catalogue import InternalSchema
from hookstream.schemas.control import DIGEST_BYTES, EndpointSettings, SkippedDelivery
from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.ids import is_id
from hookstream.schemas.wire import WriterSchemas, record_writer

from .fields import fields_of, plain_reader


def endpoint_settings_encoder(schema_id: int) -> Callable[[EndpointSettings], bytes]:
    """Encode operators' settings."""
    write = record_writer(InternalSchema.CONTROL.text, schema_id)
    settings_fields, skipped_fields = fields_of(EndpointSettings), fields_of(SkippedDelivery)

    def encode(settings: EndpointSettings) -> bytes:
        return write({**settings_fields(settings), "skipped": [skipped_fields(each) for each in settings.skipped]})

    return encode


def endpoint_settings_decoder(writer_schemas: WriterSchemas) -> Callable[[bytes | None], EndpointSettings | None]:
    """Decode what the control topic holds: settings, or None for a tombstone."""
    read = plain_reader(InternalSchema.CONTROL.text, writer_schemas)

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
