"""One delivery, by its id: what became of it, as far as the attempt log and Kafka's logs say.

The attempt log knows of attempts. A delivery that was never attempted is in the log of deliveries alone, and one that
was given up is among the dead letters: both are searched there, by whoever implements `DeliveryLog`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple, Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from hookstream.schemas.attempt import Attempt
from hookstream.schemas.delivery import DeadLetter, Delivery, DeliveryId
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import Hook, HookId, HookState

from .attempt_log import AttemptedDelivery, find_attempted
from .changes import hook_of
from .database import Sessions, reading, transact
from .errors import (
    DeliveryExpiredError,
    DeliveryNotFoundError,
    HookDeletedError,
    HookDisabledError,
    HookNotFoundError,
    LogSearchError,
)
from .models import AuditRow, SubscriptionRow

PING_TOPIC = "ping"
"""Stands where an event's topic does, for there was no event."""
_PING_CONCEPT = "0"


class DeliveryState(StrEnum):
    """What became of a delivery."""

    DELIVERED = "delivered"  # answered 2xx
    PENDING = "owed"  # it will be attempted, again or for the first time
    DEAD_LETTERED = "dead-lettered"  # given up, with a reason, and kept for being sent again
    CANCELLED = "cancelled"  # its hook was deleted
    BEFORE_START = "skipped"  # it arrived before its hook wanted any
    UNKNOWN = "unknown"  # attempted without success, and the logs do not say what came then


class LogPosition(NamedTuple):
    """Where the record stands in `deliveries`."""

    partition: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedDelivery:
    """What to search for. `client` None is any; `position` is known where an attempt was made for the record."""

    id: DeliveryId
    client: ClientId | None
    position: LogPosition | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDelivery:
    """What the logs hold of it: its record, its last dead letter. Not `complete`: time was over before their ends."""

    delivery: Delivery | None = None
    dead_letter: DeadLetter | None = None
    complete: bool = True


class DeliveryLog(Protocol):
    """Finds a delivery in the logs of deliveries, of replays and of dead letters."""

    def find(self, wanted: WantedDelivery) -> FoundDelivery:
        """Search, for a time that the caller of an API can wait.

        Raises:
            LogSearchError: the logs cannot be searched now.
        """
        ...


class DeliveryPublisher(Protocol):
    """Sends one delivery again, after the first deliveries that were routed by now."""

    def publish(self, delivery: Delivery, *, job: str) -> None:
        """Return when Kafka has acknowledged it.

        Raises:
            NotPublishedError: it was not; it may be sent all the same.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SentRequest:
    """The request of an attempt: its URL, its header lines in their order, its body."""

    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


class RequestRebuilder(Protocol):
    """Makes the request of an attempt again, as the worker makes it: with what the hook is now, and its secrets."""

    def rebuild(self, hook: Hook, delivery: Delivery, *, number: int, at_s: int) -> SentRequest | None:
        """The request that is signed at `at_s`, in Unix seconds; None where none can be made for this hook."""
        ...


class RequestMissing(StrEnum):
    """Why the request of an attempt cannot be shown."""

    EXPIRED = "expired"  # no log holds the delivery any more
    HOOK_DELETED = "hook-deleted"  # and its target and secret with it
    UNKNOWN = "unknown"  # the logs could not be searched now, or the hook's secret cannot be opened


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRequest:
    """The request of an attempt, or why it cannot be shown."""

    request: SentRequest | None = None
    missing: RequestMissing | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryView:
    """What is known of a delivery. `record` is None where no log holds it any more, `arrived_ms` with it."""

    id: DeliveryId
    hook_id: HookId
    client: ClientId
    event: EventName
    namespace: str
    concept_id: str
    state: DeliveryState
    dead_letter: DeadLetter | None = None
    record: Delivery | None = None


@dataclass(frozen=True, slots=True)
class Deliveries:
    """Looks deliveries up, and sends them again."""

    sessions: Sessions
    log: DeliveryLog

    def look_up(self, delivery_id: DeliveryId, *, client: ClientId | None) -> DeliveryView:
        """What became of it; `client` None sees every client's.

        Raises:
            DeliveryNotFoundError: there is none in the logs, or it is another client's.
            LogSearchError: it was never attempted, and the logs could not be searched to their ends.
        """
        with reading(self.sessions) as session:
            attempted = find_attempted(session, delivery_id, client)
            if attempted is not None and attempted.delivered:
                return _view(attempted, FoundDelivery(), None)
        found = self._search(delivery_id, client, attempted)
        subject = attempted or found.delivery
        if subject is None:
            raise DeliveryNotFoundError(delivery_id)
        with reading(self.sessions) as session:
            return _view(subject, found, _hook(session, subject.hook_id))

    def _search(
        self, delivery_id: DeliveryId, client: ClientId | None, attempted: AttemptedDelivery | None
    ) -> FoundDelivery:
        if attempted is None:
            found = self.log.find(WantedDelivery(id=delivery_id, client=client))
            if found.delivery is None and not found.complete:
                raise LogSearchError("the logs of deliveries are too long to be searched within one request")
            return found
        position = None if attempted.position is None else LogPosition(*attempted.position)
        try:
            return self.log.find(WantedDelivery(id=delivery_id, client=attempted.client, position=position))
        except LogSearchError:  # what the attempt log has is shown without it
            return FoundDelivery(complete=False)

    def request_of(self, attempt: Attempt, requests: RequestRebuilder) -> ShownRequest:
        """The request of an attempt that was logged, rebuilt from the delivery's record and its hook as it is now."""
        position = LogPosition(attempt.partition, attempt.offset) if not attempt.replay else None
        wanted = WantedDelivery(id=attempt.delivery_id, client=attempt.client, position=position)
        try:
            delivery = self.log.find(wanted).delivery
        except LogSearchError:
            return ShownRequest(missing=RequestMissing.UNKNOWN)
        if delivery is None:
            return ShownRequest(missing=RequestMissing.EXPIRED)
        with reading(self.sessions) as session:
            hook = _hook(session, attempt.hook_id)
        if hook is None:
            return ShownRequest(missing=RequestMissing.HOOK_DELETED)
        sent = replace(delivery, replay=attempt.replay or None)
        request = requests.rebuild(hook, sent, number=attempt.number, at_s=attempt.started_at_ms // 1000)
        return ShownRequest(request=request, missing=None if request else RequestMissing.UNKNOWN)

    def again(self, delivery_id: DeliveryId, *, client: ClientId | None) -> Delivery:
        """The record of a delivery that shall be sent again, whatever became of it.

        Raises:
            DeliveryNotFoundError: there is none in the logs, or it is another client's.
            DeliveryExpiredError: it was attempted, and no log holds its record any more.
            HookDeletedError, HookDisabledError: nothing is sent for its hook.
            LogSearchError: the logs could not be searched.
        """
        with reading(self.sessions) as session:
            attempted = find_attempted(session, delivery_id, client)
        position = None if attempted is None or attempted.position is None else LogPosition(*attempted.position)
        whose = client if attempted is None else attempted.client
        found = self.log.find(WantedDelivery(id=delivery_id, client=whose, position=position))
        if found.delivery is None:
            if not found.complete:
                raise LogSearchError("the logs of deliveries are too long to be searched within one request")
            raise DeliveryNotFoundError(delivery_id) if attempted is None else DeliveryExpiredError(delivery_id)
        with reading(self.sessions) as session:
            hook = _hook(session, found.delivery.hook_id)
        if hook is None:
            raise HookDeletedError(found.delivery.hook_id)
        if hook.state is HookState.DISABLED:
            raise HookDisabledError(hook.id)
        return found.delivery


def ping_of(
    session: Session, hook_id: int, *, client: ClientId | None, now_ms: int, body: Callable[[Hook, str], bytes]
) -> Delivery:
    """A delivery for this hook that no event made: concept 0 of the hook's namespace, under an id of its own.

    `body` gives an example of what the hook gets of a concept.

    Raises:
        HookNotFoundError: none, deleted, or another client's.
        HookDisabledError: nothing is sent for it.
    """
    hook = _hook(session, HookId(hook_id))
    if hook is None or client not in (None, hook.client):
        raise HookNotFoundError(hook_id)
    if hook.state is HookState.DISABLED:
        raise HookDisabledError(hook_id)
    namespace = hook.event.partition(".")[0]
    return Delivery(
        id=DeliveryId(f"msg_{uuid.uuid4().hex}"),
        event=hook.event,
        client=hook.client,
        concept_id=_PING_CONCEPT,
        namespace=namespace,
        occurred_at_ms=now_ms,
        hook_id=hook.id,
        hook_revision=hook.revision,
        source_topic=PING_TOPIC,
        source_partition=0,
        source_offset=now_ms,  # rises, as the offsets of a resource do
        arrived_ms=now_ms,
        body=body(hook, _PING_CONCEPT),
    )


def audit_sending(sessions: Sessions, delivery: Delivery, *, job: str, actor: str, now_ms: int) -> None:
    """Note who sends it, before it is sent.

    Raises:
        DatabaseUnavailableError: it is not noted, so it must not be sent.
    """
    row = AuditRow(
        at_ms=now_ms,
        actor=actor,
        action=f"delivery.{job.partition('-')[0]}",
        client=delivery.client,
        event=delivery.event,
        hook_id=delivery.hook_id,
        detail={"delivery": delivery.id, "job": job},
    )
    transact(sessions, lambda session: session.add(row))


def job_name(kind: str) -> str:
    """A name that no other job has: what a receiver sees in `hookstream-replay`."""
    return f"{kind}-{uuid.uuid4().hex[:12]}"


def _hook(session: Session, hook_id: HookId) -> Hook | None:
    row = session.scalar(
        select(SubscriptionRow).where(SubscriptionRow.hook_id == hook_id, SubscriptionRow.state != HookState.DELETED)
    )
    return None if row is None else hook_of(row)


def _view(subject: AttemptedDelivery | Delivery, found: FoundDelivery, hook: Hook | None) -> DeliveryView:
    attempted = subject if isinstance(subject, AttemptedDelivery) else None
    return DeliveryView(
        id=subject.id,
        hook_id=subject.hook_id,
        client=subject.client,
        event=subject.event,
        namespace=subject.namespace,
        concept_id=subject.concept_id,
        state=state_of(attempted, found, hook),
        dead_letter=found.dead_letter,
        record=found.delivery,
    )


def state_of(attempted: AttemptedDelivery | None, found: FoundDelivery, hook: Hook | None) -> DeliveryState:
    """Judge; `hook` is None where it was deleted or replaced. A dead letter may have been sent again since."""
    if attempted is not None and attempted.delivered:
        return DeliveryState.DELIVERED
    dead_letter = found.dead_letter
    if dead_letter is not None and (attempted is None or attempted.last_started_at_ms <= dead_letter.died_at_ms):
        return DeliveryState.DEAD_LETTERED
    if hook is None:
        return DeliveryState.CANCELLED
    if found.delivery is None or not found.complete:
        return DeliveryState.UNKNOWN
    if found.delivery.replay is None and found.delivery.arrived_ms < hook.not_before_ms:
        return DeliveryState.BEFORE_START
    return DeliveryState.PENDING
