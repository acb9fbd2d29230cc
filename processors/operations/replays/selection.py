"""Which records of a window become which deliveries: a replay's filter, joined with the table of today. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeAlias, TypeVar

from hookstream.processors.routing.delivery_of import BodyTooLargeError, check_body, delivery_of
from hookstream.processors.tables.subscription_table import Route, SubscriptionTable
from hookstream.schemas.delivery import Delivery
from hookstream.schemas.errors import UndecodableError, UnrenderableError
from hookstream.schemas.event import ClientId, EventName, EventSubject
from hookstream.schemas.hook import HookId, HookState
from hookstream.schemas.sources.readers import ReadEvent, TopicEvents
from hookstream.schemas.sources.record import Ignored, MappedEvent, Refused, SourceRecord
from hookstream.subscriptions.replays import ReplayFilter

from .pacing import EndpointKey

DeliveryDecoder: TypeAlias = Callable[[bytes | None], Delivery]
_Found = TypeVar("_Found")

_LONGEST_ESCAPE: Final = 6  # a control character as \\u001f; an id has up to 19 digits for at most nine bytes
_FRAME_BYTES: Final = 300  # names of fields, punctuation


class Selected(NamedTuple):
    """A delivery to send again, and to where."""

    record: SourceRecord
    delivery: Delivery
    endpoint: EndpointKey

    @property
    def counted(self) -> Counted:
        """Which hook has it."""
        return Counted(self.delivery.client, self.delivery.event, self.delivery.hook_id)


class Counted(NamedTuple):
    """Which hook has a delivery: its subscription key and its id."""

    client: ClientId
    event: EventName
    hook_id: HookId


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
        return self._judged(record, self._of_event, self._of_delivery)

    def count(self, record: SourceRecord) -> Counted | None:
        """Whose delivery `select` would give; for a part of its cost, as nothing is rendered whose size is known."""
        events = self._events.get(record.topic)
        if events is not None and events.subject is not None and self._in_window(record):
            subject = events.subject(record.value)
            if subject is not None and _longest_body(record, subject.name) <= self._max_body_bytes:
                route = self._route(subject)
                return None if route is None else Counted(subject.client, subject.name, route.hook_id)
        return self._judged(record, self._count_event, self._count_delivery)

    def _in_window(self, record: SourceRecord) -> bool:
        return self._wanted.from_ms <= record.timestamp_ms < self._wanted.to_ms

    def _judged(
        self,
        record: SourceRecord,
        of_event: Callable[[SourceRecord, ReadEvent], _Found | None],
        of_delivery: Callable[[SourceRecord, Delivery], _Found | None],
    ) -> _Found | None:
        if not self._in_window(record):
            return None
        try:
            events = self._events.get(record.topic)
            if events is None:
                return of_delivery(record, self._deliveries[record.topic](record.value))
            event = events.read(record)
            if isinstance(event, Ignored):
                return None
            if not isinstance(event, Refused):
                return of_event(record, event)
        except (UndecodableError, UnrenderableError, BodyTooLargeError):
            pass
        self.unreadable += 1
        return None

    def _route(self, subject: EventSubject) -> Route | None:
        """Route it again, as the router would today."""
        if not self._fits(subject.client, subject.name, subject.namespace, subject.concept_id):
            return None
        route = self._table.route(subject.client, subject.name)
        return None if route is None or self._wanted.hook_id not in (None, route.hook_id) else route

    def _of_event(self, record: SourceRecord, event: ReadEvent) -> Selected | None:
        route = self._route(_subject_of(event))
        if route is None:
            return None
        delivery = delivery_of(event, route, record, arrived_ms=record.timestamp_ms)
        check_body(delivery, self._max_body_bytes)
        return Selected(record, delivery, self._endpoint(delivery))

    def _count_event(self, record: SourceRecord, event: ReadEvent) -> Counted | None:
        subject = _subject_of(event)
        route = self._route(subject)
        if route is None:
            return None
        if isinstance(event, MappedEvent) or _longest_body(record, event.name) > self._max_body_bytes:
            delivery = delivery_of(event, route, record, arrived_ms=record.timestamp_ms)
            check_body(delivery, self._max_body_bytes)
        return Counted(subject.client, subject.name, route.hook_id)

    def _of_delivery(self, record: SourceRecord, delivery: Delivery) -> Selected | None:
        if self._count_delivery(record, delivery) is None:
            return None
        return Selected(record, delivery, self._endpoint(delivery))

    def _count_delivery(self, _record: SourceRecord, delivery: Delivery) -> Counted | None:
        """Take what was routed then, where its hook is still the one of its subscription key."""
        if not self._fits(delivery.client, delivery.event, delivery.namespace, delivery.concept_id):
            return None
        if self._wanted.hook_id not in (None, delivery.hook_id):
            return None
        row = self._table.get(delivery.client, delivery.event)
        is_newer = row is not None and row.revision >= delivery.hook_revision  # an older row says nothing
        if row is not None and is_newer and (row.id != delivery.hook_id or row.state is HookState.DELETED):
            return None
        return Counted(delivery.client, delivery.event, delivery.hook_id)

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


def _subject_of(event: ReadEvent) -> EventSubject:
    return EventSubject(event.name, event.client_id, event.namespace, event.concept_id)


def _longest_body(record: SourceRecord, name: str) -> int:
    """More bytes than the thin body of this event has: of what the record has, JSON writes six for one at most."""
    return _LONGEST_ESCAPE * (len(record.value or b"") + 2 * len(name)) + _FRAME_BYTES
