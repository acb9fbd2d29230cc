"""The hook: one client's registration of one event to one target, and the notices about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from .event import ClientId, EventName, client_of_key

HookId = NewType("HookId", int)
Revision = NewType("Revision", int)
"""Monotone per subscription key (client, event), over deletion and re-creation; a lower revision is an older row."""

RESYNC_MARK_KEY = b"resync-mark"
"""Key of the one record in `subscriptions` that is not a hook: the end mark of a resync."""


class HookState(StrEnum):
    """What a row asks for. A deletion is a row too; its tombstone follows after 40 days."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    DELETED = "deleted"


LOWEST_RATE_PER_S, HIGHEST_RATE_PER_S = 0.001, 100_000.0
"""What a hook's rate may be limited to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """One row of the compacted `subscriptions` topic.

    `secrets` are ciphertexts, newest first; a delivery is signed with each. `not_before_ms` (Unix ms, source append
    time): deliveries of events that arrived earlier are skipped. `rate_limit_per_s` is None where there is none.
    """

    id: HookId
    client: ClientId
    event: EventName
    target: str
    state: HookState
    revision: Revision
    secrets: tuple[bytes, ...]
    not_before_ms: int = 0
    rate_limit_per_s: float | None = None

    @property
    def key(self) -> bytes:
        """Kafka key: the subscription key."""
        return subscription_record_key(self.client, self.event)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResyncMark:
    """The end of a resync: every row of the database was published to this topic (its id) before this record."""

    topic_id: str
    written_at_ms: int


class NoticeKind(StrEnum):
    """What a worker reports to the API's process about a hook."""

    GONE = "gone"  # the target answered 410
    FAILING = "failing"  # nothing but failure for five days
    RECOVERED = "recovered"


@dataclass(frozen=True, slots=True, kw_only=True)
class HookNotice:
    """A worker's observation about a hook, under the row revision it was made under; a stale one is ignored."""

    hook_id: HookId
    client: ClientId
    event: EventName
    revision: Revision
    kind: NoticeKind
    observed_at_ms: int

    @property
    def key(self) -> bytes:
        """Kafka key: the subscription key."""
        return subscription_record_key(self.client, self.event)


def subscription_record_key(client: str, event: str) -> bytes:
    """A subscription key as the key of a Kafka record, `client|event`."""
    return f"{client}|{event}".encode()


def subscription_of_record_key(key: bytes | None) -> tuple[ClientId, EventName] | None:
    """The subscription key that the key of a record says; None where it says none, as any writer may."""
    client, _, event = (key or b"").rpartition(b"|")
    owner = client_of_key(client)
    try:  # another name than the one that was written must never be found
        name = event.decode()
    except UnicodeDecodeError:
        return None
    return (owner, EventName(name)) if owner is not None and name else None
