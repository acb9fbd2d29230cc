"""Deliveries. Every one is encoded and decoded here, so their fields are written out: it costs a tenth less."""

from __future__ import annotations

from collections.abc import Callable

from hookstream.schemas.bounded import MAX_NAME_CHARS
from hookstream.schemas.catalogue import InternalSchema
from hookstream.schemas.delivery import Delivery
from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.ids import is_id
from hookstream.schemas.wire import WriterSchemas, record_writer

from .fields import plain_reader


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
    read = plain_reader(InternalSchema.DELIVERY.text, writer_schemas)

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
