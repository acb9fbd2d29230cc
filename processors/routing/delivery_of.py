"""The delivery of an event for a hook: the same whichever router makes it, and whenever. Pure."""

from __future__ import annotations

from hookstream.processors.tables.subscription_table import Route
from hookstream.schemas.delivery import Delivery, delivery_id
from hookstream.schemas.event import ClientId
from hookstream.schemas.sources.readers import ReadEvent, body_of
from hookstream.schemas.sources.record import SourceRecord


class BodyTooLargeError(Exception):
    """The body of an event is larger than the deployment allows."""


def check_body(delivery: Delivery, max_bytes: int) -> None:
    """Check the size of what is sent.

    Raises:
        BodyTooLargeError: it has more bytes than that.
    """
    if len(delivery.body) > max_bytes:
        raise BodyTooLargeError(f"the body has {len(delivery.body)} bytes; it may have {max_bytes}")


def delivery_of(
    event: ReadEvent, route: Route, record: SourceRecord, *, arrived_ms: int, client: ClientId | None = None
) -> Delivery:
    """Make the delivery of the event that a record is to the hook that wants it: the event's client's, or `client`'s.

    Raises:
        UnrenderableError: the body cannot be written; with the path.
    """
    return Delivery(
        id=delivery_id(event.id, route.hook_id),
        event=event.name,
        client=event.client_id if client is None else client,
        concept_id=event.concept_id,
        namespace=event.namespace,
        occurred_at_ms=event.occurred_at_ms,
        hook_id=route.hook_id,
        hook_revision=route.revision,
        source_topic=record.topic,
        source_partition=record.partition,
        source_offset=record.offset,
        arrived_ms=arrived_ms,
        body=body_of(event),
    )
