"""The domain event: something happened to one concept of one client."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NewType
from uuid import UUID, uuid4

ClientId = NewType("ClientId", int)
EventName = NewType("EventName", str)
"""`<namespace>.<symbol>`, such as `property.updated`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Concept:
    """The resource an event is about; `namespace` is its type, `id` is unique within client and namespace."""

    id: int
    namespace: str
    sub_namespace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One domain event, as a producing service hands it over.

    `occurred_at_ms` is wall time in Unix milliseconds. `id` identifies the event for ever: producing it twice gives
    deliveries with the same `webhook-id`.
    """

    name: EventName
    client: ClientId
    concept: Concept
    occurred_at_ms: int
    id: UUID = field(default_factory=uuid4)

    @property
    def symbol(self) -> str:
        """The bare symbol in the Avro enum: `updated` of `property.updated`."""
        return self.name.partition(".")[2]

    @property
    def key(self) -> bytes:
        """Kafka key: every event of one client's resource lands in one partition."""
        return f"{self.client}|{self.concept.id}".encode()
