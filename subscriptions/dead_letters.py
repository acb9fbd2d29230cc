"""Dead letters: which there are, and sending them again. Kafka keeps them; this package says what is asked of it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from hookstream.schemas.delivery import DeadLetter, DeadLetterReason, Delivery
from hookstream.schemas.event import ClientId, Event

from .database import NowMs, Sessions, transact
from .models import AuditRow


class DeadLetterPlace(NamedTuple):
    """Where a dead letter stands; its id is `<partition>-<offset>`."""

    partition: int
    offset: int

    @property
    def id(self) -> str:
        """The name that people and programs use."""
        return f"{self.partition}-{self.offset}"


@dataclass(frozen=True, slots=True)
class FoundDeadLetter:
    """A dead letter. `delivery` or `event` is what can be sent again; `unfit` says why there is neither."""

    place: DeadLetterPlace
    dead_letter: DeadLetter
    kept_at_ms: int
    delivery: Delivery | None = None
    unfit: str | None = None
    event: Event | None = None

    @property
    def resendable(self) -> bool:
        """Whether there is something to send."""
        return self.delivery is not None or self.event is not None

    @property
    def event_name(self) -> str | None:
        """The event that it is about, where its record can be read."""
        if self.delivery is not None:
            return self.delivery.event
        return None if self.event is None else self.event.name


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterQuery:
    """Which dead letters: those of one client, hook, event and reason where these are set, kept in [since, until).

    They come by partition, and in each from the oldest on; `after` is where the page before ended.
    """

    client: ClientId | None = None
    hook_id: int | None = None
    event: str | None = None
    reason: DeadLetterReason | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    after: DeadLetterPlace | None = None
    limit: int = 100

    def wants(self, found: FoundDeadLetter) -> bool:
        """Whether a dead letter is among them; its time and place were looked at."""
        dead_letter = found.dead_letter
        return (
            (self.client is None or dead_letter.client == self.client)
            and (self.hook_id is None or dead_letter.hook_id == self.hook_id)
            and (self.reason is None or dead_letter.reason is self.reason)
            and (self.event is None or found.event_name == self.event)
        )


@dataclass(frozen=True, slots=True)
class DeadLetterPage:
    """What was found. `after` is where to go on: None at the end; a page may be short, and not the last."""

    dead_letters: Sequence[FoundDeadLetter]
    after: DeadLetterPlace | None


class DeadLetterLog(Protocol):
    """Reads `deliveries.dead`."""

    def find(self, query: DeadLetterQuery) -> DeadLetterPage:
        """Read on from where the query says, for a bounded time.

        Raises:
            DeadLettersUnavailableError: Kafka or the registry does not answer.
        """
        ...

    def get(self, places: Sequence[DeadLetterPlace]) -> Mapping[DeadLetterPlace, FoundDeadLetter]:
        """Read some; those that do not exist (any more) are left out.

        Raises:
            DeadLettersUnavailableError: as above.
        """
        ...

    def resend(self, dead_letters: Sequence[FoundDeadLetter], *, job: str) -> None:
        """Write deliveries to `deliveries.replay`, and events to their topics; return when Kafka has acknowledged all.

        Raises:
            NotPublishedError: it has not; some may be sent all the same.
        """
        ...


def resend_dead_letters(
    sessions: Sessions, log: DeadLetterLog, dead_letters: Sequence[FoundDeadLetter], *, actor: str, now_ms: NowMs
) -> str:
    """Send again what can be sent, audited before it is: a deed without its record must not be. Give the job's name.

    Raises:
        NotPublishedError: some may be sent all the same, with the same `webhook-id`s.
        DatabaseUnavailableError: nothing was sent.
    """
    job = f"resend-{secrets.token_hex(8)}"
    fit = [found for found in dead_letters if found.resendable]
    clients = {found.dead_letter.client for found in fit}
    row = AuditRow(
        at_ms=now_ms(),
        actor=actor,
        action="dead-letters.resend",
        client=next(iter(clients)) if len(clients) == 1 else None,
        detail={"job": job, "dead_letters": [found.place.id for found in fit]},
    )
    transact(sessions, lambda session: session.add(row))
    log.resend(fit, job=job)
    return job
