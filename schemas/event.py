"""The domain event: something happened to one concept of one client."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, NewType, Self
from uuid import UUID, uuid4

from .errors import InvalidValueError
from .ids import is_id

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

ClientId = NewType("ClientId", str)
"""A client as text, whatever its events declare: `434`, `acme`."""

EventName = NewType("EventName", str)
"""`<namespace>.<symbol>`, such as `property.updated`."""


class EventSubject(NamedTuple):
    """What decides who gets an event: its name, and whose and which resource it is about, as texts."""

    name: EventName
    client: ClientId
    namespace: str
    concept_id: str


def client_of_key(key: bytes | None) -> ClientId | None:
    """The client whose id a record's key is; None where it is none."""
    try:
        text = (key or b"").decode()
    except UnicodeDecodeError:
        return None
    return ClientId(text) if is_id(text) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Concept:
    """The resource an event is about; `namespace` is its type, `id` is unique within client and namespace.

    `id` is an integer or a string, as the namespace's schema declares it.
    """

    id: int | str
    namespace: str
    sub_namespace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One domain event, as a producing service hands it over.

    `client` is an integer or a string, as the namespace's schema declares it; everything behind the router has it as
    text. `occurred_at_ms` is wall time in Unix milliseconds. `id` identifies the event for ever: producing it twice
    gives deliveries with the same `webhook-id`. `data` is what the namespace's schema has as such, in the form that it
    has in JSON, or with Python's own decimals, dates, times and bytes in it.
    """

    name: EventName
    client: int | str
    concept: Concept
    occurred_at_ms: int
    id: UUID = field(default_factory=uuid4)
    data: object = field(default=None, hash=False)

    @classmethod
    def of(
        cls,
        name: str,
        *,
        client: int | str,
        id: int | str,  # noqa: A002 - what bodies and documents call it
        data: object = None,
        sub_namespace: str | None = None,
        occurred_at: datetime | None = None,
        event_id: UUID | None = None,
    ) -> Self:
        """An event about the resource `id` of the namespace that is in its name, which happened now or then.

        `event_id` is the event's own: give one that is kept where the same event may be produced twice.

        Raises:
            InvalidValueError: `occurred_at` has no zone.
        """
        if occurred_at is not None and occurred_at.tzinfo is None:
            msg = "occurred_at has no zone: give datetime.now(UTC), not datetime.now()"
            raise InvalidValueError(msg, field="occurred_at")
        since_epoch = (occurred_at or datetime.now(UTC)) - _EPOCH
        return cls(
            name=EventName(name),
            client=client,
            concept=Concept(id=id, namespace=name.partition(".")[0], sub_namespace=sub_namespace),
            occurred_at_ms=since_epoch // timedelta(milliseconds=1),
            id=event_id or uuid4(),
            data=data,
        )

    @property
    def symbol(self) -> str:
        """The symbol in the Avro enum: `updated` of `property.updated`."""
        return self.name.partition(".")[2]

    @property
    def client_id(self) -> ClientId:
        """The client as text."""
        return ClientId(str(self.client))

    @property
    def namespace(self) -> str:
        """The kind of the resource: `property` of `property.updated`."""
        return self.concept.namespace

    @property
    def concept_id(self) -> str:
        """The resource as text."""
        return str(self.concept.id)

    @property
    def key(self) -> bytes:
        """Kafka key: every event of one client's resource lands in one partition."""
        return f"{self.client}|{self.concept.id}".encode()
