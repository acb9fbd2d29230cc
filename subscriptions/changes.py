"""What this package needs from Kafka, and a subscription row as the API and the relay see it.

The Protocols are implemented and injected by the processes; nothing here knows a Kafka client.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from hookstream.schemas.event import ClientId, Event, EventName
from hookstream.schemas.hook import Hook, HookId, HookState, Revision

from .models import DisabledReason, SubscriptionRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Where Kafka keeps an event that it acknowledged."""

    topic: str
    partition: int
    offset: int


class PendingReceipt(Protocol):
    """An event on its way."""

    def result(self, timeout: float | None = None) -> Receipt:
        """Wait for the delivery report, for at most `timeout` seconds.

        Raises:
            NotPublishedError: Kafka refused it, or did not answer in time.
        """
        ...


class EventPublisher(Protocol):
    """Publishes domain events for `POST /events`."""

    def publish(self, event: Event, *, traceparent: bytes | None = None) -> PendingReceipt:
        """Hand the event over, in the order of the calls; it belongs to the trace of `traceparent`.

        Raises:
            NotPublishedError: it cannot be taken now.
        """
        ...


class ChangePublisher(Protocol):
    """Writes rows to the `subscriptions` topic; each call returns when Kafka has acknowledged all of them."""

    def publish(self, hooks: Sequence[Hook]) -> Sequence[int]:
        """Write rows and give their offsets, in the order given.

        Raises:
            NotPublishedError: one or more were not acknowledged in time; some may be in the topic.
        """
        ...

    def publish_tombstones(self, keys: Sequence[bytes]) -> Sequence[int]:
        """Write tombstones and give their offsets.

        Raises:
            NotPublishedError: as above.
        """
        ...


class BrokerClock(Protocol):
    """The clock that stamps events when they arrive; wall time of this process may differ from it by seconds."""

    def now_ms(self) -> int:
        """Ask what time it is there: no event acknowledged before the call has a later one, if its brokers agree.

        Raises:
            BrokerClockError: it cannot be read now.
        """
        ...


class RouterProgress(Protocol):
    """How far the routers have read the `subscriptions` topic."""

    def committed_table_offset(self) -> int | None:
        """The lowest offset of `subscriptions` that a router partition has yet to read, as committed.

        None where a partition has committed none, or where it is not known.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHook:
    """A subscription row: what is published, and how far that has come. `hook.state` may be deleted.

    `disabled_reason` is None where the hook is not disabled, and where a resync found it so: the topic has no reasons.
    """

    hook: Hook
    disabled_reason: DisabledReason | None
    published_revision: int
    published_offset: int | None
    created_at_ms: int
    updated_at_ms: int

    def effective(self, table_offset: int | None) -> bool:
        """Whether every router routes by this very row."""
        return (
            table_offset is not None
            and self.published_offset is not None
            and self.published_revision == self.hook.revision
            and table_offset > self.published_offset
        )


def hook_of(row: SubscriptionRow) -> Hook:
    """The row as the `subscriptions` topic holds it."""
    return Hook(
        id=HookId(row.hook_id),
        client=ClientId(row.client),
        event=EventName(row.event),
        target=row.target,
        state=HookState(row.state),
        revision=Revision(row.revision),
        secrets=row.secrets,
        not_before_ms=row.not_before_ms,
        rate_limit_per_s=row.rate_limit_per_s,
    )


def stored_hook(row: SubscriptionRow) -> StoredHook:
    """The row as a value that outlives its session."""
    return StoredHook(
        hook=hook_of(row),
        disabled_reason=None if row.disabled_reason is None else DisabledReason(row.disabled_reason),
        published_revision=row.published_revision,
        published_offset=row.published_offset,
        created_at_ms=row.created_at_ms,
        updated_at_ms=row.updated_at_ms,
    )
