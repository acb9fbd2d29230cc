"""The delivery: one event for one hook, and what becomes of it when it cannot be made."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NewType
from uuid import UUID

from .event import ClientId, EventName
from .hook import HookId, Revision

DeliveryId = NewType("DeliveryId", str)
"""The `webhook-id`: the same for every attempt, restart, re-route and replay of one event for one hook."""


def delivery_id(event_id: UUID | str, hook_id: int) -> DeliveryId:
    """Derive the delivery id from what is delivered to whom, so that routing twice gives the same id."""
    digest = hashlib.blake2b(b"%d|%b" % (hook_id, str(event_id).encode()), digest_size=16)
    return DeliveryId("msg_" + digest.hexdigest())


@dataclass(slots=True, init=False)
class Delivery:
    """One record of `deliveries`: what is sent, for which hook, of which resource, and where its event came from.

    With `__slots__`, not frozen: a frozen one costs a microsecond more on the hot path. Treat it as a value.
    `body` is what every attempt sends, to the byte. `arrived_ms` is the source record's append time (broker clock),
    which `not_before` of a hook and replay windows compare with. Set on replays only: `live_end`, the end offset of
    this partition of `deliveries` at the time, and `replayed_at_ms`, when it was asked for.
    """

    id: DeliveryId
    event: EventName
    client: ClientId
    concept_id: str
    namespace: str
    occurred_at_ms: int
    hook_id: HookId
    hook_revision: Revision
    source_topic: str
    source_partition: int
    source_offset: int
    arrived_ms: int
    body: bytes
    replay: str | None
    live_end: int
    replayed_at_ms: int

    def __init__(  # noqa: PLR0913 - every field
        self,
        *,
        id: DeliveryId,  # noqa: A002 - the field's name
        event: EventName,
        client: ClientId,
        concept_id: str,
        namespace: str,
        occurred_at_ms: int,
        hook_id: HookId,
        hook_revision: Revision,
        source_topic: str,
        source_partition: int,
        source_offset: int,
        arrived_ms: int,
        body: bytes,
        replay: str | None = None,
        live_end: int = 0,
        replayed_at_ms: int = 0,
    ) -> None:
        """Take each field by its name. Written out, because what `dataclass` writes is not compiled with the class."""
        self.id = id
        self.event = event
        self.client = client
        self.concept_id = concept_id
        self.namespace = namespace
        self.occurred_at_ms = occurred_at_ms
        self.hook_id = hook_id
        self.hook_revision = hook_revision
        self.source_topic = source_topic
        self.source_partition = source_partition
        self.source_offset = source_offset
        self.arrived_ms = arrived_ms
        self.body = body
        self.replay = replay
        self.live_end = live_end
        self.replayed_at_ms = replayed_at_ms

    @property
    def owed_since_ms(self) -> int:
        """Since when it is pending: a replay since it was asked for, however old its event is."""
        return self.replayed_at_ms or self.arrived_ms

    @property
    def key(self) -> bytes:
        """Kafka key: one client, one partition."""
        return self.client.encode()

    @property
    def resource(self) -> str:
        """The resource within the client: what order is kept for."""
        return f"{self.namespace}:{self.concept_id}"


class DeadLetterReason(StrEnum):
    """Why a record went to `deliveries.dead`."""

    SCHEDULE = "schedule"  # every attempt of the schedule failed
    EXPIRED = "expired"  # pending for longer than six days
    SKIPPED = "skipped"  # an operator skipped it, or drained its endpoint
    REFUSED = "refused"  # its receiver answered `webhook-delivery: abort`
    UNDECODABLE = "undecodable"  # not Avro of a known schema
    UNROUTABLE = "unroutable"  # of earlier releases, whose routers took no event that was newer than they
    TOO_LARGE = "too-large"  # the broker refused its size


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A record that is not attempted again, whole, with the reason and the last answer (at most 4 KiB of it)."""

    reason: DeadLetterReason
    detail: str
    topic: str
    partition: int
    offset: int
    record_key: bytes | None
    record_value: bytes | None
    client: ClientId | None
    hook_id: HookId | None
    delivery_id: DeliveryId | None
    died_at_ms: int
    last_status: int | None = None
    last_answer: bytes = b""

    def without_payload(self) -> DeadLetter:
        """The same without the record's bytes, where the broker does not take them; they are still at its position."""
        left_out = len(self.record_key or b"") + len(self.record_value or b"")
        return replace(self, record_key=None, record_value=None, detail=f"{self.detail}; {left_out} bytes left out")
