"""The quick way to a delivery is the codec's way, for bytes that are one and for bytes that are none."""

from __future__ import annotations

from dataclasses import astuple, replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hookstream.schemas.bounded import MAX_LONG
from hookstream.schemas.catalogue import InternalSchema
from hookstream.schemas.codecs.avro_bytes import long_bytes
from hookstream.schemas.codecs.deliveries import delivery_decoder, delivery_encoder
from hookstream.schemas.codecs.delivery_bytes import read_delivery, write_delivery
from hookstream.schemas.codecs.fields import fields_encoder
from hookstream.schemas.delivery import Delivery, DeliveryId
from hookstream.schemas.errors import InvalidValueError, UndecodableError
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import HookId, Revision
from tests.support.values import DELIVERY, LONGEST_ID

encode = delivery_encoder(7)
decode_slowly = delivery_decoder(lambda _: InternalSchema.DELIVERY.text, quickly=lambda _: None)

longs = st.integers(-MAX_LONG - 1, MAX_LONG) | st.sampled_from([0, 63, 64, -64, -65, 2**62, -(2**62), 2**62 - 1])
texts = st.text(max_size=20) | st.sampled_from([LONGEST_ID, "434", ""])
values = st.builds(
    lambda texts_, longs_, body, replay: Delivery(
        id=DeliveryId(texts_[0]),
        event=EventName(texts_[1]),
        client=ClientId(texts_[2]),
        concept_id=texts_[3],
        namespace=texts_[4],
        source_topic=texts_[5],
        occurred_at_ms=longs_[0],
        hook_id=HookId(longs_[1]),
        hook_revision=Revision(longs_[2]),
        source_partition=longs_[3],
        source_offset=longs_[4],
        arrived_ms=longs_[5],
        live_end=longs_[6],
        replayed_at_ms=longs_[7],
        body=body,
        replay=replay,
    ),
    st.tuples(texts, texts, texts, texts, texts, texts),
    st.tuples(longs, longs, longs, longs, longs, longs, longs, longs),
    st.binary(max_size=300),
    st.none() | st.text(max_size=20),
)
encode_slowly = fields_encoder(InternalSchema.DELIVERY.text, 7, Delivery)
GOOD = encode(DELIVERY)
CHANGES = st.lists(st.tuples(st.integers(5, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=4)


def slowly(data: bytes) -> Delivery | None:
    """What the codec makes of it; None where it refuses it."""
    try:
        return decode_slowly(data)
    except UndecodableError:
        return None


@settings(max_examples=50, deadline=None)
@given(values)
def test_what_the_codec_wrote_is_read_as_the_codec_reads_it(delivery: Delivery) -> None:
    data = encode(delivery)
    read = read_delivery(data)
    if not any(needs_ten_bytes(value) for value in astuple(delivery)):
        assert read == slowly(data)
    else:
        assert read is None, "such a number is left to the codec"


@settings(max_examples=50, deadline=None)
@given(values)
def test_what_is_written_is_what_the_codec_writes(delivery: Delivery) -> None:
    written = write_delivery(GOOD[:5], delivery)
    assert written is not None
    assert written == encode_slowly(delivery) == encode(delivery)


@pytest.mark.parametrize(
    "changes",
    [{"occurred_at_ms": MAX_LONG + 1}, {"hook_id": -MAX_LONG - 2}, {"live_end": 2**200}, {"concept_id": "\ud800"}],
)
def test_what_avro_has_not_is_left_to_the_codec_which_refuses_it(changes: dict[str, Any]) -> None:
    delivery = replace(DELIVERY, **changes)
    assert write_delivery(GOOD[:5], delivery) is None
    with pytest.raises(InvalidValueError):
        encode(delivery)


@pytest.mark.parametrize("number", [MAX_LONG + 1, -MAX_LONG - 2, 2**64, -(2**200)])
def test_a_number_of_more_than_64_bits_is_no_long(number: int) -> None:
    with pytest.raises(OverflowError):
        long_bytes(number)


def needs_ten_bytes(value: object) -> bool:
    """Whether it is a long of Avro's greatest length."""
    return isinstance(value, int) and not -(2**62) <= value < 2**62


@given(CHANGES)
@example([(5, 0xFF), (6, 0xFF), (7, 0xFF), (8, 0xFF)])
def test_bytes_changed_at_random_are_read_as_the_codec_reads_them_or_left_to_it(changes: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for place, byte in changes:
        data[place] = byte
    quickly = read_delivery(bytes(data))
    assert quickly is None or quickly == slowly(bytes(data))


def test_a_delivery_that_is_cut_is_none() -> None:
    for length in range(5, len(GOOD)):
        assert read_delivery(GOOD[:length]) is None
        assert slowly(GOOD[:length]) is None


@given(st.binary(min_size=5, max_size=60))
def test_any_bytes_are_read_as_the_codec_reads_them_or_left_to_it(data: bytes) -> None:
    quickly = read_delivery(data)
    assert quickly is None or quickly == slowly(b"\x00\x00\x00\x00\x07" + data[5:])


def test_only_what_our_own_schema_wrote_is_read_the_quick_way() -> None:
    own = InternalSchema.DELIVERY.text
    other = own.replace('"name":"namespace","type":"string"', '"name":"namespace","type":"bytes"')
    assert other != own
    asked: list[bytes] = []

    def noted(data: bytes) -> Delivery | None:
        asked.append(data)
        return read_delivery(data)

    decode = delivery_decoder(lambda schema_id: own if schema_id == 7 else other, quickly=noted)
    foreign = delivery_encoder(8)(replace(DELIVERY, replay=None))
    for _ in range(2):
        assert decode(GOOD) == DELIVERY
        assert decode(foreign) == replace(DELIVERY, replay=None)
    assert asked == [GOOD], "the first was read by the codec, and showed whose schema it is"
