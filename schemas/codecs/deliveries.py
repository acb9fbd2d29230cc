"""Deliveries. What our own schema writes is written and read by `delivery_bytes`; whatever that does not take, here."""

from __future__ import annotations

from collections.abc import Callable

import fastavro
from fastavro.schema import to_parsing_canonical_form

from hookstream.schemas.avro_schema import AvroSchema
from hookstream.schemas.catalogue import InternalSchema
from hookstream.schemas.delivery import Delivery
from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.wire import HEADER_BYTES, WriterSchemas, header_of, record_reader

from .delivery_bytes import is_plausible, read_delivery, write_delivery
from .fields import fields_encoder

# Headers of schemas that are our own. The registry knows few such, under different names at most.
_MAX_OWN = 100


def delivery_encoder(schema_id: int) -> Callable[[Delivery], bytes]:
    """Encode deliveries."""
    header = header_of(schema_id)
    slowly = fields_encoder(InternalSchema.DELIVERY.text, schema_id, Delivery)

    def encode(delivery: Delivery) -> bytes:
        written = write_delivery(header, delivery)
        return slowly(delivery) if written is None else written

    return encode


def delivery_decoder(
    writer_schemas: WriterSchemas, *, quickly: Callable[[bytes], Delivery | None] = read_delivery
) -> Callable[[bytes | None], Delivery]:
    """Decode deliveries; `quickly` is asked first for those of our own schema."""
    text = InternalSchema.DELIVERY.text
    own_form = _form(AvroSchema(text))
    read = record_reader(text, writer_schemas, about=lambda writer: _form(writer) == own_form)
    own_headers: set[bytes] = set()

    def decode(data: bytes | None) -> Delivery:
        if data and data[:HEADER_BYTES] in own_headers and (known := quickly(data)) is not None:
            return known
        record, view = read(data)
        delivery = Delivery(**record)
        if not is_plausible(delivery):
            msg = "an id, a client or a revision that no router writes"
            raise UndecodableError(msg)
        if view.about and data and len(own_headers) < _MAX_OWN:
            own_headers.add(data[:HEADER_BYTES])
        return delivery

    return decode


def _form(schema: AvroSchema) -> str:
    """What decides how its records are written: two schemas of one form write the same bytes."""
    return to_parsing_canonical_form(fastavro.parse_schema(schema.physical()))
