"""Notices: what hookstream tells about its own hooks and endpoints, as events of the namespace `hookstream`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID, uuid5

from .control import endpoint_id, target_digest
from .event import ClientId, Concept, Event, EventName
from .event_schema import NOTICES

# Names notices apart from whatever else is named by a digest; any constant would do, and it must never change.
_IDS = UUID("6f0d6a0e-5f0b-5d0c-9a53-6b7a3c1f2e4d")


class NoticeName(StrEnum):
    """Every notice there is."""

    HOOK_DISABLED = "hookstream.hook-disabled"
    HOOK_ENABLED = "hookstream.hook-enabled"
    ENDPOINT_QUARANTINED = "hookstream.endpoint-quarantined"
    ENDPOINT_RECOVERED = "hookstream.endpoint-recovered"
    DEAD_LETTERED = "hookstream.dead-lettered"
    BACKLOG_EXPIRING = "hookstream.backlog-expiring"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What happened to an endpoint, or to a hook of it. Times are Unix milliseconds, None where there is none.

    `cause` is what makes the event's id, with name and endpoint: it is the same for the same cause, whichever process
    writes the notice, and however often. `at_ms` is when the cause came about.
    """

    name: NoticeName
    client: ClientId
    target: str
    cause: str
    at_ms: int
    hook_id: int | None = None
    hook_event: str | None = None
    reason: str | None = None
    since_ms: int | None = None
    expires_at_ms: int | None = None
    count: int | None = None
    reasons: Mapping[str, int] | None = None
    delivery_id: str | None = None

    @property
    def endpoint(self) -> str:
        """The endpoint's name in the API."""
        return endpoint_id(self.client, target_digest(self.target))


def is_notice(event: str) -> bool:
    """Whether an event is one that hookstream writes itself."""
    return event.startswith(f"{NOTICES}.")


def event_of_notice(notice: Notice) -> Event:
    """The event that is written to `events.hookstream`; never with the query of the target."""
    endpoint = notice.endpoint
    hook = None if notice.hook_id is None else {"id": notice.hook_id, "event": notice.hook_event}
    return Event(
        id=uuid5(_IDS, f"{notice.name.value}|{endpoint}|{notice.cause}"),
        name=EventName(notice.name.value),
        client=notice.client,
        concept=Concept(id=endpoint, namespace=NOTICES),
        occurred_at_ms=notice.at_ms,
        data={
            "at": _time(notice.at_ms),
            "target": shown_target(notice.target),
            "hook": hook,
            "reason": notice.reason,
            "since": _time(notice.since_ms),
            "expires_at": _time(notice.expires_at_ms),
            "count": notice.count,
            "reasons": None if notice.reasons is None else dict(notice.reasons),
            "delivery": notice.delivery_id,
        },
    )


def shown_target(target: str) -> str:
    """A target without its query, which may carry a secret."""
    return target.partition("?")[0].partition("#")[0]


def _time(at_ms: int | None) -> datetime | None:
    return (
        None if at_ms is None else datetime.fromtimestamp(at_ms // 1000, UTC).replace(microsecond=at_ms % 1000 * 1000)
    )
