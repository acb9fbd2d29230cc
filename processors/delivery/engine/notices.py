"""Which notices are made about endpoints, and when: long quarantines and their end, dead letters, expiring backlogs.

What is due follows from what is true now and what Kafka has acknowledged (`Told`), never from a moment that may pass
while the process is down. So a notice whose acknowledgement was lost is made again, from the same cause, and every hook
gets it under the same id. One notice of an endpoint is on its way at a time: so they are in order, and as many as
endpoints at most wait for Kafka.

About an endpoint that a hook for notices points to, none is made: it would go there, and cause the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from hookstream.schemas.delivery import DeadLetterReason
from hookstream.schemas.event import ClientId
from hookstream.schemas.event_schema import NOTICES
from hookstream.schemas.hook import HookState
from hookstream.schemas.notices import Notice, NoticeName

from .ledger import Ledger
from .model import Endpoint, Pending, StreamIndex, TrackedHook
from .timers import Timers
from .told import DeadLetterCount, Told


class TellEffect(Protocol):
    """What the worker does for notices."""

    def tell(self, notice: Notice) -> None:
        """Produce a notice; `Engine.notice_written` when Kafka has acknowledged or refused it, and not before."""
        ...


class EndpointNotices:
    """The notices about the endpoints of one partition, on one ledger."""

    def __init__(self, ledger: Ledger, timers: Timers, effects: TellEffect) -> None:
        """Work on a ledger; `effects` are the worker's."""
        self._ledger = ledger
        self._policy = ledger.policy
        self._timers = timers
        self._effects = effects

    # -- causes ----------------------------------------------------------------------------------------------------

    def quarantine_began(self, endpoint: Endpoint) -> None:
        """Note when a quarantine began; it is told when it has lasted."""
        told = endpoint.told
        told.quarantined_ms = self._ledger.wall_ms
        told.hook = any_hook(endpoint) or told.hook
        self._arrange(endpoint)

    def quarantine_ended(self, endpoint: Endpoint) -> None:
        """Note that an endpoint answers again; that is told where the quarantine was."""
        endpoint.told.quarantined_ms = 0
        endpoint.told.ended_ms = self._ledger.wall_ms
        self.look(endpoint)

    def dead_lettered(self, stream: StreamIndex, pending: Pending, reason: DeadLetterReason) -> None:
        """Count a dead letter that Kafka has acknowledged."""
        hook, served_by = pending.hook, pending.hook.endpoint
        if served_by is None or pending.delivery.namespace == NOTICES:
            return
        # Its hook may be deleted by now, and its endpoint forgotten.
        endpoint = self._ledger.tracked.endpoint(served_by.client_id, served_by.target)
        if self._gets_notices(endpoint):
            return
        told, delivery = endpoint.told, pending.delivery
        told.hook = (hook.id, *hook.subscription_key)
        if told.dead is None:
            told.dead = DeadLetterCount(f"{stream}|{pending.offset}|{delivery.id}", delivery.id, self._ledger.wall_ms)
        told.dead.add(reason.value)
        self._ledger.changes += 1
        self.look(endpoint)
        self._arrange(endpoint)

    def look_at_all(self) -> None:
        """Make what is due about any endpoint, and see what will be before this is called again."""
        oldest: dict[Endpoint, int] = {}
        for stream in self._ledger.streams:
            for hook, cursor in stream.open_cursors():
                if hook.endpoint is not None and cursor.oldest_ms:
                    oldest[hook.endpoint] = min(cursor.oldest_ms, oldest.get(hook.endpoint, cursor.oldest_ms))
        for endpoint in list(self._ledger.tracked.endpoints.values()):
            told = endpoint.told
            if endpoint.health.breaker_open and not told.quarantined_ms:  # of a state that does not say since when
                self.quarantine_began(endpoint)
            self._note_oldest(endpoint, oldest.get(endpoint, 0))
            if told.dead_told_ms and self._ledger.wall_ms >= self._dead_due_ms(told) and told.dead_untold is None:
                told.dead_told_ms = 0
                self._ledger.changes += 1
            self.look(endpoint)
            self._arrange(endpoint)

    def written(self, notice: Notice, *, acknowledged: bool) -> None:
        """Take Kafka's answer to a notice; one that was refused is made again by the next look at all endpoints."""
        endpoint = self._ledger.tracked.endpoints.get((notice.client, notice.target))
        if endpoint is None or endpoint.told.unacknowledged is not notice:
            return
        told = endpoint.told
        told.unacknowledged = None
        self._ledger.changes += 1
        if not acknowledged:
            if told.telling is not None:
                told.dead, told.telling, told.dead_told_ms = told.dead_untold, None, 0
            if notice.name is NoticeName.ENDPOINT_QUARANTINED:
                told.perhaps_told_ms = notice.since_ms or 0
            return
        since_ms = notice.since_ms or 0
        match notice.name:
            case NoticeName.ENDPOINT_QUARANTINED:
                told.told_ms, told.perhaps_told_ms = since_ms, 0
            case NoticeName.ENDPOINT_RECOVERED:
                told.told_ms = 0
            case NoticeName.BACKLOG_EXPIRING:
                told.expiring_told_ms = since_ms
            case _:
                told.telling = None
        self.look(endpoint)
        self._arrange(endpoint)

    # -- what is due -----------------------------------------------------------------------------------------------

    def look(self, endpoint: Endpoint) -> None:
        """Make the next notice about an endpoint that is due, unless one is on its way."""
        told = endpoint.told
        if told.unacknowledged is not None:
            return
        notice = self._due(endpoint, told)
        if notice is None:
            return
        if self._gets_notices(endpoint):
            told.told_ms = told.perhaps_told_ms = told.expiring_told_ms = 0
            told.dead = None
            return
        if notice.name is NoticeName.DEAD_LETTERED:
            told.telling, told.dead = told.dead, None
            told.dead_told_ms = self._ledger.wall_ms
        told.unacknowledged = notice
        self._ledger.changes += 1
        self._effects.tell(notice)

    def _due(self, endpoint: Endpoint, told: Told) -> Notice | None:
        wall_ms = self._ledger.wall_ms
        if told.told_ms and told.told_ms != told.quarantined_ms:
            return _notice(endpoint, NoticeName.ENDPOINT_RECOVERED, told.told_ms, at_ms=told.ended_ms or wall_ms)
        perhaps_ms = told.perhaps_told_ms
        if perhaps_ms and perhaps_ms != told.quarantined_ms:  # it has ended, which is told after it
            at_ms = perhaps_ms + _ms(self._policy.quarantine_told_after_s)
            return _notice(endpoint, NoticeName.ENDPOINT_QUARANTINED, perhaps_ms, at_ms=at_ms)
        if not told.told_ms and told.quarantined_ms and wall_ms >= self._quarantine_due_ms(told):
            served = any(not hook.held for hook in endpoint.hooks.values())
            if served:
                at_ms = self._quarantine_due_ms(told)
                return _notice(endpoint, NoticeName.ENDPOINT_QUARANTINED, told.quarantined_ms, at_ms=at_ms)
        if told.expiring_ms and told.expiring_ms >= told.expiring_told_ms + self._expiring_lead_ms():
            return Notice(
                name=NoticeName.BACKLOG_EXPIRING,
                client=ClientId(endpoint.client_id),
                target=endpoint.target,
                cause=str(told.expiring_ms),
                at_ms=self._expiring_due_ms(told.expiring_ms),
                since_ms=told.expiring_ms,
                expires_at_ms=told.expiring_ms + _ms(self._policy.expire_after_s),
            )
        dead = told.dead
        if dead is not None and wall_ms >= self._dead_due_ms(told):
            return Notice(
                name=NoticeName.DEAD_LETTERED,
                client=ClientId(endpoint.client_id),
                target=endpoint.target,
                cause=dead.cause,
                at_ms=dead.at_ms,
                count=dead.total,
                reasons=dict(dead.reasons),
                delivery_id=dead.delivery_id,
            )
        return None

    def _note_oldest(self, endpoint: Endpoint, oldest_ms: int) -> None:
        """Note since when the oldest delivery of an endpoint is pending, 0 for none, if it is in its last day.

        A backlog that goes on to expire is told once for each day of it.
        """
        told = endpoint.told
        told.expiring_ms = 0
        due_ms = self._expiring_due_ms(oldest_ms)
        if oldest_ms and due_ms <= self._ledger.wall_ms < due_ms + self._expiring_lead_ms():
            told.expiring_ms = oldest_ms
            told.hook = any_hook(endpoint) or told.hook
        elif oldest_ms:
            # A time that has passed is that of a record that is a dead letter: the next is found by reading on.
            self._look_at(endpoint, due_ms, lambda: self._note_oldest(endpoint, oldest_of(endpoint)))
        if told.expiring_told_ms and self._ledger.wall_ms >= self._forgotten_ms(told):
            told.expiring_told_ms = 0
            self._ledger.changes += 1

    def _arrange(self, endpoint: Endpoint) -> None:
        """Look again when something becomes due, if that is before the next look at all endpoints."""
        told = endpoint.told
        if told.quarantined_ms and not told.told_ms:
            self._look_at(endpoint, self._quarantine_due_ms(told))
        if told.dead is not None:
            self._look_at(endpoint, self._dead_due_ms(told))

    def _look_at(self, endpoint: Endpoint, due_ms: int, before: Callable[[], None] | None = None) -> None:
        wait_s = (due_ms - self._ledger.wall_ms) / 1000
        if not 0 < wait_s <= self._policy.notice_every_s:
            return

        def look() -> None:
            if self._ledger.tracked.endpoints.get((endpoint.client_id, endpoint.target)) is endpoint:
                if before is not None:
                    before()
                self.look(endpoint)

        self._timers.at(self._ledger.now + wait_s, look)

    def _gets_notices(self, endpoint: Endpoint) -> bool:
        """Whether a hook for notices points to an endpoint."""
        rows = (self._ledger.tracked.table.get(endpoint.client_id, name.value) for name in NoticeName)
        return any(
            row is not None and row.target == endpoint.target and row.state is not HookState.DELETED for row in rows
        )

    def _quarantine_due_ms(self, told: Told) -> int:
        return told.quarantined_ms + _ms(self._policy.quarantine_told_after_s)

    def _dead_due_ms(self, told: Told) -> int:
        return told.dead_told_ms + _ms(self._policy.dead_letters_told_every_s)

    def _expiring_due_ms(self, oldest_ms: int) -> int:
        return oldest_ms + _ms(self._policy.expire_after_s) - self._expiring_lead_ms()

    def _expiring_lead_ms(self) -> int:
        return _ms(min(self._policy.expiring_told_before_s, self._policy.expire_after_s / 2))

    def _forgotten_ms(self, told: Told) -> int:
        """When nothing can be pending any more that the last notice of an expiring backlog has told of."""
        return told.expiring_told_ms + _ms(self._policy.expire_after_s) + 2 * self._expiring_lead_ms()


def oldest_of(endpoint: Endpoint) -> int:
    """Since when the oldest delivery that a cursor of an endpoint holds is pending, 0 for none."""
    cursors = (c for hook in endpoint.hooks.values() for backlog in hook.backlogs for c in backlog.cursors())
    return min((cursor.oldest_ms for cursor in cursors if cursor.oldest_ms), default=0)


def _notice(endpoint: Endpoint, name: NoticeName, since_ms: int, *, at_ms: int) -> Notice:
    return Notice(
        name=name,
        client=ClientId(endpoint.client_id),
        target=endpoint.target,
        cause=str(since_ms),
        at_ms=at_ms,
        since_ms=since_ms,
    )


def any_hook(endpoint: Endpoint) -> tuple[int, str, str] | None:
    """Name a hook that an endpoint has now, by its id and its subscription key."""
    hook: TrackedHook | None = next(iter(endpoint.hooks.values()), None)
    return None if hook is None else (hook.id, *hook.subscription_key)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
