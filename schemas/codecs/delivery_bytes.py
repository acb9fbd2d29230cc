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

from .avro_bytes import long_bytes, string_bytes

_HEADER_BYTES: Final = 5  # `wire.HEADER_BYTES`, known when this is compiled
_MAX_SHIFT: Final = 56  # nine bytes: what is longer may not fit into 64 bits
_NULL: Final = 0
_TEXT: Final = 2  # index 1 of the union, zigzag
# What is raised where a value is no text, no number, or none that Avro has.
_NO_DELIVERY: Final = (AttributeError, TypeError, OverflowError, UnicodeEncodeError)


class _Unknown(Exception):  # noqa: N818 - never seen outside
    """Not plainly a delivery."""


class _Reader:
    """A position in the bytes of one record."""

    __slots__ = ("data", "position")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = _HEADER_BYTES

    def long(self) -> int:
        """Read a long."""
        data, position = self.data, self.position
        byte = data[position]
        position += 1
        number = byte & 0x7F
        shift = 7
        while byte & 0x80:
            if shift > _MAX_SHIFT:
                raise _Unknown
            byte = data[position]
            position += 1
            number |= (byte & 0x7F) << shift
            shift += 7
        self.position = position
        return (number >> 1) ^ -(number & 1)

    def piece(self) -> bytes:
        """Read bytes with their length."""
        length = self.long()
        start = self.position
        end = start + length
        if length < 0 or end > len(self.data):
            raise _Unknown
        self.position = end
        return self.data[start:end]

    def text(self) -> str:
        """Read a string."""
        return self.piece().decode()

    def text_or_none(self) -> str | None:
        """Read a union of null and a string."""
        index = self.data[self.position]
        self.position += 1
        if index == _TEXT:
            return self.text()
        if index != _NULL:
            raise _Unknown
        return None


def read_delivery(data: bytes) -> Delivery | None:
    """The delivery in these bytes, whose first five are a header; None where the codec has to be asked."""
    reader = _Reader(data)
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
            replay=reader.text_or_none(),
            live_end=reader.long(),
            replayed_at_ms=reader.long(),
        )
    except (_Unknown, IndexError, UnicodeDecodeError):
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
