"""The delivery of an event for a hook: the same whichever router makes it, and whenever. Pure."""

from __future__ import annotations

from hookstream.processors.tables.subscription_table import Route
from hookstream.schemas.body import thin_body
from hookstream.schemas.delivery import Delivery, delivery_id
from hookstream.schemas.event import Event


def delivery_of(event: Event, route: Route, *, topic: str, partition: int, offset: int, arrived_ms: int) -> Delivery:
    """Make the delivery of the event at this position to the hook that wants it."""
    return Delivery(
        id=delivery_id(event.id, route.hook_id),
        event=event.name,
        client=event.client_id,
        concept_id=str(event.concept.id),
        namespace=event.concept.namespace,
        occurred_at_ms=event.occurred_at_ms,
        hook_id=route.hook_id,
        hook_revision=route.revision,
        source_topic=topic,
        source_partition=partition,
        source_offset=offset,
        arrived_ms=arrived_ms,
        body=thin_body(event),
    )
