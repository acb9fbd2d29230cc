"""Which records of a window become which deliveries: a replay's filter, joined with the table of today. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from hookstream.processors.routing.delivery_of import BodyTooLargeError, check_body, delivery_of
from hookstream.processors.tables.subscription_table import SubscriptionTable
from hookstream.schemas.delivery import Delivery
from hookstream.schemas.errors import UndecodableError, UnrenderableError
from hookstream.schemas.hook import HookState
from hookstream.schemas.sources.readers import ReadEvent, TopicEvents
from hookstream.schemas.sources.record import Ignored, Refused, SourceRecord
from hookstream.subscriptions.replays import ReplayFilter

from .pacing import EndpointKey

DeliveryDecoder: TypeAlias = Callable[[bytes | None], Delivery]


class Selected(NamedTuple):
    """A delivery to send again, and to where."""

    record: SourceRecord
    delivery: Delivery
    endpoint: EndpointKey


class Selection:
    """Judges records one by one. `unreadable` counts those that are nothing that could be sent."""

    def __init__(
        self,
        wanted: ReplayFilter,
        table: SubscriptionTable,
        *,
        events: Mapping[str, TopicEvents],
        deliveries: Mapping[str, DeliveryDecoder],
        max_body_bytes: int,
    ) -> None:
        """`events` and `deliveries` are what reads them, by topic."""
        self.unreadable = 0
        """Records that cannot be decoded, or whose bodies are too large: their first deliveries are dead letters."""
        self._max_body_bytes = max_body_bytes
        self._wanted = wanted
        self._table = table
        self._events = events
        self._deliveries = deliveries

    def select(self, record: SourceRecord) -> Selected | None:
        """The delivery that a record is sent again as; None where it is not wanted, or no hook has it.

        Deliveries of a disabled hook are selected: they stay pending. Those of one that was deleted or replaced are
        not.
        """
        if not self._wanted.from_ms <= record.timestamp_ms < self._wanted.to_ms:
            return None
        try:
            events = self._events.get(record.topic)
            if events is None:
                return self._of_delivery(record, self._deliveries[record.topic](record.value))
            event = events.read(record)
            if isinstance(event, Ignored):
                return None
            if not isinstance(event, Refused):
                return self._of_event(record, event)
        except (UndecodableError, UnrenderableError, BodyTooLargeError):
            pass
        self.unreadable += 1
        return None

    def _of_event(self, record: SourceRecord, event: ReadEvent) -> Selected | None:
        """Route it again, as the router would today."""
        if not self._fits(event.client_id, event.name, event.namespace, event.concept_id):
            return None
        route = self._table.route(event.client_id, event.name)
        if route is None or self._wanted.hook_id not in (None, route.hook_id):
            return None
        delivery = delivery_of(event, route, record, arrived_ms=record.timestamp_ms)
        check_body(delivery, self._max_body_bytes)
        return Selected(record, delivery, self._endpoint(delivery))

    def _of_delivery(self, record: SourceRecord, delivery: Delivery) -> Selected | None:
        """Take what was routed then, where its hook is still the one of its subscription key."""
        if not self._fits(delivery.client, delivery.event, delivery.namespace, delivery.concept_id):
            return None
        if self._wanted.hook_id not in (None, delivery.hook_id):
            return None
        row = self._table.get(delivery.client, delivery.event)
        is_newer = row is not None and row.revision >= delivery.hook_revision  # an older row says nothing
        if row is not None and is_newer and (row.id != delivery.hook_id or row.state is HookState.DELETED):
            return None
        return Selected(record, delivery, self._endpoint(delivery))

    def _fits(self, client: str, event: str, namespace: str, concept_id: str) -> bool:
        wanted = self._wanted
        return (
            wanted.client in (None, client)
            and wanted.event in (None, event)
            and wanted.namespace in (None, namespace)
            and wanted.concept_id in (None, concept_id)
        )

    def _endpoint(self, delivery: Delivery) -> EndpointKey:
        row = self._table.get(delivery.client, delivery.event)
        return delivery.client, "" if row is None else row.target
