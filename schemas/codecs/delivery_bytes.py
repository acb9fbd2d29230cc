"""The bytes of a delivery under our own schema, read and written field by field: at a third of fastavro's cost.

It says nothing of what is no such delivery: that is for the codec, which knows every schema and says what is wrong. The
tests compare every value, and bytes changed at random, with the codec's.

Source: Apache Avro 1.12 specification, "Binary Encoding" (zigzag varints, length-prefixed strings, union by index).
"""

from __future__ import annotations

from typing import Final

from hookstream.schemas.bounded import MAX_NAME_CHARS
from hookstream.schemas.delivery import Delivery, DeliveryId
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import HookId, Revision
from hookstream.schemas.ids import is_id

from .avro_bytes import NOT_PLAIN, ByteReader, long_bytes, string_bytes

_TEXT: Final = 1  # the union's index of string
# What is raised where a value is no text, no number, or none that Avro has.
_NO_DELIVERY: Final = (AttributeError, TypeError, OverflowError, UnicodeEncodeError)


def read_delivery(data: bytes) -> Delivery | None:
    """The delivery in these bytes, whose first five are a header; None where the codec has to be asked."""
    reader = ByteReader(data)
    try:
        delivery = Delivery(
            id=DeliveryId(reader.text()),
            event=EventName(reader.text()),
            client=ClientId(reader.text()),
            concept_id=reader.text(),
            namespace=reader.text(),
            occurred_at_ms=reader.long(),
            hook_id=HookId(reader.long()),
            hook_revision=Revision(reader.long()),
            source_topic=reader.text(),
            source_partition=reader.long(),
            source_offset=reader.long(),
            arrived_ms=reader.long(),
            body=reader.piece(),
            replay=reader.text_or_none(_TEXT),
            live_end=reader.long(),
            replayed_at_ms=reader.long(),
        )
    except NOT_PLAIN:
        return None
    if reader.position != len(data) or not is_plausible(delivery):
        return None
    return delivery


def write_delivery(header: bytes, delivery: Delivery) -> bytes | None:
    """The record of a delivery, after its header; None where the codec has to be asked."""
    body, replay = delivery.body, delivery.replay
    try:
        return b"".join(
            (
                header,
                string_bytes(delivery.id),
                string_bytes(delivery.event),
                string_bytes(delivery.client),
                string_bytes(delivery.concept_id),
                string_bytes(delivery.namespace),
                long_bytes(delivery.occurred_at_ms),
                long_bytes(delivery.hook_id),
                long_bytes(delivery.hook_revision),
                string_bytes(delivery.source_topic),
                long_bytes(delivery.source_partition),
                long_bytes(delivery.source_offset),
                long_bytes(delivery.arrived_ms),
                long_bytes(len(body)),
                body,
                b"\x00" if replay is None else b"\x02" + string_bytes(replay),
                long_bytes(delivery.live_end),
                long_bytes(delivery.replayed_at_ms),
            )
        )
    except _NO_DELIVERY:
        return None


def is_plausible(delivery: Delivery) -> bool:
    """Whether a router may have written it: its ids, its client and its revision are such."""
    return (
        delivery.hook_id >= 0
        and delivery.hook_revision >= 0
        and delivery.id.isidentifier()
        and len(delivery.id) <= MAX_NAME_CHARS
        and is_id(delivery.client)
        and is_id(delivery.concept_id)
    )
