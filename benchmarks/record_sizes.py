"""Bytes that records take in a topic: key, value and headers as the roles write them, and what Kafka adds."""

from __future__ import annotations

from hookstream.processors.delivery.attempts.bytes import AttemptBytes
from hookstream.processors.delivery.http.exchange import Answer
from hookstream.producers.cloud_events import headers
from hookstream.schemas.attempt import AttemptResult
from hookstream.schemas.body import thin_body
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.codecs.deliveries import delivery_encoder
from hookstream.schemas.codecs.events import event_encoder
from hookstream.schemas.codecs.hooks import subscription_encoder
from hookstream.schemas.delivery import Delivery, DeliveryId
from hookstream.schemas.event import ClientId, Concept, Event, EventName
from hookstream.schemas.hook import HookId, Revision
from tests.support.posts import a_post

# Lengths, attributes, time and offset of a record of this size, in Kafka's format 2. A batch has 61 bytes more.
RECORD_BYTES = 10
BATCH_BYTES = 61
_HEADER_BYTES = 2  # two lengths
_SCHEMA_ID = 7
_EVENT = Event(
    name=EventName("property.updated"),
    client=9999,
    concept=Concept(id=888_999, namespace="property"),
    occurred_at_ms=1_790_000_000_123,
)
_DELIVERY = Delivery(
    id=DeliveryId("msg_00112233445566778899aabbccddeeff"),
    event=_EVENT.name,
    client=ClientId("9999"),
    concept_id="888999",
    namespace="property",
    body=thin_body(_EVENT),
    occurred_at_ms=_EVENT.occurred_at_ms,
    hook_id=HookId(223_443),
    hook_revision=Revision(1),
    source_topic="events.property",
    source_partition=3,
    source_offset=1_234_567,
    arrived_ms=_EVENT.occurred_at_ms + 5,
)


def event() -> int:
    """An event alone in its batch, with its CloudEvents headers, as it is at a rate that leaves it alone."""
    value = event_encoder(Catalogue.shipped(), "property", _SCHEMA_ID)(_EVENT)
    extra = sum(len(name) + len(text or b"") + _HEADER_BYTES for name, text in headers(_EVENT, b"listing-service"))
    return len(_EVENT.key) + len(value) + extra + RECORD_BYTES + BATCH_BYTES


def delivery() -> int:
    """A delivery with a thin body, alone in its batch."""
    return len(_DELIVERY.key) + len(delivery_encoder(_SCHEMA_ID)(_DELIVERY)) + RECORD_BYTES + BATCH_BYTES


def attempt() -> int:
    """An attempt with a short answer, in a batch with others."""
    answer = Answer(200, None, b'{"ok":true}', None, 0.002)
    key, value = AttemptBytes(_SCHEMA_ID).encode(
        a_post(_DELIVERY), AttemptResult.DELIVERED, answer, partition=3, wall_ms=_DELIVERY.arrived_ms, answer_bytes=11
    )
    return len(key) + len(value) + RECORD_BYTES


def row() -> int:
    """A hook's row, in a batch with others."""
    from benchmarks.subscription_table import hook  # noqa: PLC0415 - it imports much

    found = hook(23_443, Catalogue.shipped().event_names)
    return len(found.key) + len(subscription_encoder(_SCHEMA_ID)(found)) + RECORD_BYTES
