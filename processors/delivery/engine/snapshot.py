"""From a ledger to the state that a commit points to, and back into the ledger of the next owner."""

from __future__ import annotations

from collections.abc import Sequence

from hookstream.schemas.control import target_digest
from hookstream.schemas.hook import HookState, NoticeKind

from .ledger import Ledger
from .model import LIVE, REPLAY, Cursor, Endpoint, TrackedHook
from .notices import any_hook
from .partition_state import (
    PartitionState,
    StoredClock,
    StoredCursor,
    StoredDisable,
    StoredHealth,
    StoredTold,
)
from .retry_schedule import LaneClock
from .stream import Stream
from .timers import Timers
from .told import DeadLetterCount


def stored(ledger: Ledger, stream: Stream) -> PartitionState:
    """The state of one stream as values; times become wall time."""
    live = stream.index == LIVE
    cursors: list[StoredCursor] = []
    clocks: list[StoredClock] = []
    disables: list[StoredDisable] = []
    for hook in ledger.tracked.hooks.values():
        backlog = hook.backlogs[stream.index]
        cursors += (_stored_cursor(hook, cursor) for cursor in backlog.cursors())
        for resource, clock in backlog.clocks.items():
            if clock.schedule_exhausted or backlog.cursor_for(resource) is not None:
                clocks.append(_stored_clock(ledger, hook, resource, clock))
        if live and hook.disabled_under is not None:
            failing = hook.notice_kind is NoticeKind.FAILING
            disables.append(StoredDisable(hook.id, *hook.subscription_key, hook.disabled_under, failing))
    health = [
        _stored_health(ledger, endpoint, stream)
        for endpoint in ledger.tracked.endpoints.values()
        if endpoint.from_backlog[stream.index] or (live and not endpoint.health.unremarkable(ledger.now))
    ]
    health += ledger.restored.health(stream.index, ledger.wall_ms)
    found = (_stored_told(endpoint) for endpoint in ledger.tracked.endpoints.values()) if live else ()
    told = [each for each in found if each is not None]
    told += ledger.restored.told(stream.index, ledger.wall_ms)
    return PartitionState(tuple(cursors), tuple(clocks), tuple(disables), tuple(health), tuple(told))


def _stored_cursor(hook: TrackedHook, cursor: Cursor) -> StoredCursor:
    cursor.trim()
    settled = tuple(sorted(cursor.settled))
    return StoredCursor(hook.id, *hook.subscription_key, cursor.resource, cursor.next, settled, cursor.oldest_ms)


def _stored_clock(ledger: Ledger, hook: TrackedHook, resource: str, clock: LaneClock) -> StoredClock:
    return StoredClock(
        hook.id,
        *hook.subscription_key,
        resource,
        clock.attempts,
        clock.requests,
        _wall_ms(ledger, clock.due),
        clock.schedule_exhausted,
        clock.first_failed_ms,
    )


def _stored_health(ledger: Ledger, endpoint: Endpoint, stream: Stream) -> StoredHealth:
    health = endpoint.health
    return StoredHealth(
        client=endpoint.client_id,
        target_digest=target_digest(endpoint.target),
        breaker_open=health.breaker_open,
        from_backlog=endpoint.from_backlog[stream.index],
        retry_after_until_ms=_wall_ms(ledger, health.retry_after_until),
        failing_since_ms=health.failing_since_ms,
        busy_streak=health.busy_streak,
        probe_at_ms=_wall_ms(ledger, health.probe_times.due) if health.breaker_open else 0,
        probes=health.probe_times.failed,
        retried_at_ms=health.retried_at_ms,
    )


def _stored_told(endpoint: Endpoint) -> StoredTold | None:
    told = endpoint.told
    if told.empty:
        return None
    hook = told.hook
    if hook is None or hook[0] not in endpoint.hooks:  # that one may have left
        hook = any_hook(endpoint) or hook
    if hook is None:
        return None
    dead = told.dead_untold
    return StoredTold(
        *hook,
        target_digest(endpoint.target),
        told.quarantined_ms or told.perhaps_told_ms,  # which of the two it was is seen by the endpoint's health
        told.told_ms,
        told.ended_ms,
        told.expiring_told_ms,
        0 if told.telling is not None else told.dead_told_ms,  # the next owner does not wait to tell it again
        *(() if dead is None else (dead.at_ms, dead.cause, dead.delivery_id, tuple(sorted(dead.reasons.items())))),
    )


def _wall_ms(ledger: Ledger, due: float) -> int:
    """The Unix time of a monotonic time that is still to come, 0 for one that has passed."""
    return ledger.wall_ms + int((due - ledger.now) * 1000) if due > ledger.now else 0


class Restoration:
    """Puts a stored state back into a ledger that has just started."""

    def __init__(self, ledger: Ledger, timers: Timers) -> None:
        """Work on a ledger that has just been made."""
        self._ledger = ledger
        self._timers = timers
        ledger.tracked.preparations.append(self._restore_health)
        ledger.tracked.preparations.append(self._restore_told)

    def restore(self, states: Sequence[PartitionState]) -> None:
        """Put back the states of both streams, without the hooks that the table cancels by now."""
        ledger = self._ledger
        for stream, state in zip(ledger.streams, states, strict=True):
            for health in state.health:
                ledger.restored.keep_health(stream.index, health)
            for told in state.told:
                ledger.restored.keep_told(told)
        for stream, state in zip(ledger.streams, states, strict=True):
            for cursor in state.cursors:
                self._restore_cursor(stream, cursor)
            for disable in state.disables:
                self._restore_disable(disable)
            for clock in state.clocks:
                self._restore_clock(stream, clock)
            for told in state.told:
                self._make_endpoint(told)

    def _restore_cursor(self, stream: Stream, found: StoredCursor) -> None:
        hook = self._hook(found.hook_id, found.client, found.event)
        if hook is None:
            return
        cursor = Cursor(found.next_offset, set(found.settled), found.resource, oldest_ms=found.oldest_ms)
        self._ledger.restore_cursor(hook, stream, cursor)
        if hook.endpoint is not None:
            self._ledger.touched[hook.endpoint] = None

    def _restore_disable(self, found: StoredDisable) -> None:
        hook = self._hook(found.hook_id, found.client, found.event)
        if hook is None:
            return
        row = hook.row
        if row is None or row.revision <= found.revision or row.state is not HookState.ENABLED:
            hook.disabled_under = found.revision
            hook.notice_kind = NoticeKind.FAILING if found.failing else NoticeKind.GONE

    def _restore_clock(self, stream: Stream, found: StoredClock) -> None:
        hook = self._hook(found.hook_id, found.client, found.event)
        if hook is None:
            return
        due = self._due(found.due_ms)
        hook.backlogs[stream.index].clocks[found.resource] = LaneClock(
            found.attempts, found.requests, due, found.schedule_exhausted, found.first_failed_ms
        )
        self._wake_at(due, hook, found.resource)

    def _wake_at(self, due: float, hook: TrackedHook, resource: str) -> None:
        self._timers.at(due, lambda: self._ledger.ready.offer_resource(hook, resource))

    def _hook(self, hook_id: int, client: str, event: str) -> TrackedHook | None:
        """The hook, unless the table says by now that it is deleted or replaced."""
        hook = self._ledger.tracked.hook(hook_id, (client, event))
        row = hook.newest_row
        gone = row is not None and (row.state is HookState.DELETED if row.id == hook_id else hook_id < row.id)
        return None if gone else hook

    def _make_endpoint(self, found: StoredTold) -> None:
        """Make the endpoint that something is to be told of, if the hook or the one in its place still leads to it."""
        tracked = self._ledger.tracked
        self._hook(found.hook_id, found.client, found.event)  # which makes its endpoint
        row = tracked.table.get(found.client, found.event)
        if row is not None and row.state is not HookState.DELETED and target_digest(row.target) == found.target_digest:
            tracked.endpoint(found.client, row.target)

    def _due(self, wall_ms: int) -> float:
        ledger = self._ledger
        return ledger.now + max(0, wall_ms - ledger.wall_ms) / 1000 if wall_ms else 0.0

    def _restore_told(self, endpoint: Endpoint) -> None:
        found = self._ledger.restored.take_told((endpoint.client_id, target_digest(endpoint.target)))
        if found is None:
            return
        told = endpoint.told
        told.hook = (found.hook_id, found.client, found.event)
        told.quarantined_ms, told.told_ms, told.ended_ms = found.quarantined_ms, found.told_ms, found.ended_ms
        lasted_s = (self._ledger.wall_ms - told.quarantined_ms) / 1000
        if not told.told_ms and lasted_s >= self._ledger.policy.quarantine_told_after_s:
            told.perhaps_told_ms = told.quarantined_ms
        if not endpoint.health.breaker_open:  # it ended before it was known whether it was told
            told.quarantined_ms = 0
        told.expiring_told_ms, told.dead_told_ms = found.expiring_told_ms, found.dead_told_ms
        if found.dead_reasons:
            reasons = dict(found.dead_reasons)
            told.dead = DeadLetterCount(found.dead_cause, found.dead_delivery_id, found.dead_at_ms, reasons)

    def _restore_health(self, endpoint: Endpoint) -> None:
        found = self._ledger.restored.take_health((endpoint.client_id, target_digest(endpoint.target)))
        for stream, of_stream in zip(self._ledger.streams, found, strict=True):
            if of_stream is not None:
                endpoint.from_backlog[stream.index] = of_stream.from_backlog
        live = found[LIVE]
        if live is None:
            return
        health = endpoint.health
        health.breaker_open = live.breaker_open
        endpoint.from_backlog[REPLAY] = endpoint.from_backlog[REPLAY] or live.breaker_open
        health.retry_after_until = self._due(live.retry_after_until_ms)
        health.failing_since_ms = live.failing_since_ms
        health.busy_streak = live.busy_streak
        health.probe_times.due = self._due(live.probe_at_ms)
        health.probe_times.failed = live.probes
        health.retried_at_ms = live.retried_at_ms
        for due in (health.retry_after_until, health.probe_times.due):
            self._timers.at(max(due, self._ledger.now), lambda: self._ledger.go_on(endpoint))
