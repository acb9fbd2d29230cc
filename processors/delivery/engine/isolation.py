"""What keeps one client's trouble away from the others: quarantine, resource cursors, held hooks, dead letters.

Each of these moves takes records out of the window, so that the records of others do not wait for them. They are then
pending from a cursor, and are sent by catch-up.
"""

from __future__ import annotations

from typing import Protocol

from hookstream.schemas.delivery import DeadLetterReason
from hookstream.schemas.hook import HookState, NoticeKind

from .hook_table import HookRow, Standing
from .ledger import Ledger
from .model import Endpoint, Pending, StreamIndex, TrackedHook
from .notices import EndpointNotices, TellEffect
from .probes import Probes
from .stream import Stream


class Effects(TellEffect, Protocol):
    """What the worker does for the engine beside sending requests."""

    def dead_letter(self, stream: StreamIndex, pending: Pending, reason: DeadLetterReason) -> None:
        """Produce a dead letter; `Engine.dead_letter_acknowledged` when Kafka has acknowledged it, and not before."""
        ...

    def notify(self, hook: TrackedHook, row: HookRow, kind: NoticeKind) -> None:
        """Send the API a notice that a hook is disabled; repeated until the row shows it."""
        ...

    def stale(self, hook: TrackedHook) -> None:
        """Alert: the table does not know a hook that the router knew; its deliveries are pending from a cursor."""
        ...


class Isolation:
    """The moves, on one ledger."""

    def __init__(self, ledger: Ledger, probes: Probes, notices: EndpointNotices, effects: Effects) -> None:
        """Work on a ledger; `effects` are the worker's."""
        self._ledger = ledger
        self._policy = ledger.policy
        self._probes = probes
        self._notices = notices
        self._effects = effects

    def evict_oldest(self, stream: Stream, oldest: Pending) -> None:
        """Open a cursor for the lane that holds the oldest record of a full window, whatever it waits for.

        Where it waits for the others of its endpoint, they all do: the endpoint is served from its backlog.
        """
        hook = oldest.hook
        if hook.endpoint is None or self._ledger.standing(oldest.delivery, hook, stream.index) is Standing.WAIT:
            self.give_up_waiting(hook, stream)
        elif self._waits_for_others(stream, oldest, hook.endpoint):
            self.serve_from_backlog(hook.endpoint, breaker_open=False)
        else:
            self.open_resource_cursors(stream, hook.endpoint, oldest.resource)
        if oldest.in_window:  # its endpoint was held, or at its limit of resource cursors
            self._ledger.open_cursor(hook, stream)

    def _waits_for_others(self, stream: Stream, oldest: Pending, endpoint: Endpoint) -> bool:
        """Whether a record was never tried, and waits for many of its endpoint: the endpoint is slow as a whole."""
        if oldest.resource in oldest.hook.backlogs[stream.index].clocks:
            return False
        if endpoint.window_counts[stream.index] <= self._policy.slow_records:
            return False
        return oldest.offset not in stream.in_flight or bool(endpoint.ready[stream.index])

    def give_up_waiting(self, hook: TrackedHook, stream: Stream) -> None:
        """Open a cursor for a hook that the table does not know, and alert; what waited behind its records goes on."""
        self._effects.stale(hook)
        self._ledger.open_cursor(hook, stream)
        if hook.endpoint is not None:
            self._ledger.go_on(hook.endpoint)

    def serve_from_backlog(self, endpoint: Endpoint, *, breaker_open: bool) -> None:
        """Serve an endpoint from its backlog: its hooks in the window get cursors now, others when a record is read."""
        ledger, health = self._ledger, endpoint.health
        if breaker_open:
            health.quarantine(ledger.now)
            self._probes.begin(endpoint)
            self._notices.quarantine_began(endpoint)
        for stream in ledger.streams:
            endpoint.from_backlog[stream.index] = True
            for hook in list(endpoint.hooks.values()):
                if hook.backlogs[stream.index].unsettled():
                    ledger.open_cursor(hook, stream)
        ledger.changes += 1
        if health.waits(ledger.now):
            ledger.rewind(endpoint.hooks.values())
        if breaker_open:
            self._probes.wait_for_next(endpoint)

    def serve_slow_from_backlog(self, endpoint: Endpoint, stream: Stream) -> None:
        """Serve an endpoint from its backlog if it has held a large share of the window for long."""
        held = (next(iter(hook.backlogs[stream.index].window.values()), None) for hook in endpoint.hooks.values())
        oldest = min((pending.read_at for pending in held if pending is not None), default=self._ledger.now)
        if self._ledger.now - oldest >= self._policy.lagging_s:
            self.serve_from_backlog(endpoint, breaker_open=False)

    def open_resource_cursors(self, stream: Stream, endpoint: Endpoint, resource: str) -> None:
        """Open a resource cursor for one lane in every hook that has a cursor, or records of it in the window."""
        ledger = self._ledger
        hooks = list(endpoint.hooks.values())
        parked = {r for hook in hooks for r in hook.backlogs[stream.index].resource_cursors} - {resource}
        if len(parked) >= self._policy.max_resource_cursors:
            self.serve_from_backlog(endpoint, breaker_open=not endpoint.health.breaker_open)
            return
        for hook in hooks:
            backlog = hook.backlogs[stream.index]
            if (backlog.cursor is not None or backlog.unsettled(resource)) and not hook.held:
                ledger.open_cursor(hook, stream, resource)
        ledger.touched[endpoint] = None

    def disable(self, hook: TrackedHook, row: HookRow, kind: NoticeKind) -> None:
        """Send nothing of a hook, and send notices, until its row has a higher revision."""
        hook.disabled_under = row.revision
        hook.notice_kind = kind
        hook.notice_at = self._ledger.now + self._policy.notice_every_s
        self.hold(hook)
        self._effects.notify(hook, row, kind)

    def disable_lasting_failures(self) -> None:
        """Disable the hooks of endpoints that have failed for five days without a success."""
        ledger = self._ledger
        for endpoint in list(ledger.tracked.endpoints.values()):
            since = endpoint.health.failing_since_ms
            if since and ledger.wall_ms - since > self._policy.disable_after_s * 1000:
                for hook in list(endpoint.hooks.values()):
                    if hook.row is not None and hook.disabled_under is None and hook.row.state is HookState.ENABLED:
                        self.disable(hook, hook.row, NoticeKind.FAILING)

    def repeat_notices(self) -> None:
        """Send the API the notices again whose hooks it has not disabled yet."""
        now = self._ledger.now
        for hook in self._ledger.tracked.hooks.values():
            if hook.disabled_under is not None and hook.row is not None and now >= hook.notice_at:
                if hook.row.revision == hook.disabled_under and hook.row.state is HookState.ENABLED:
                    self._effects.notify(hook, hook.row, hook.notice_kind)
                hook.notice_at = now + self._policy.notice_every_s

    def hold(self, hook: TrackedHook) -> None:
        """Move everything of a hook to cursors until it is enabled again; what waited behind it goes on."""
        ledger = self._ledger
        for stream in ledger.streams:
            if hook.backlogs[stream.index].unsettled():
                ledger.open_cursor(hook, stream)
        ledger.rewind([hook])
        ledger.changes += 1
        if hook.endpoint is not None:
            ledger.go_on(hook.endpoint)

    def dead_letter(self, stream: Stream, pending: Pending, reason: DeadLetterReason) -> None:
        """Produce a dead letter; until Kafka acknowledges it, the record stays the head of its lane (rule R7).

        Not of a record that is in flight: its answer decides, perhaps it is delivered.
        """
        if pending.offset not in stream.dead_letters_pending and pending.offset not in stream.in_flight:
            stream.dead_letters_pending[pending.offset] = reason
            self._effects.dead_letter(stream.index, pending, reason)

    def resettle(self, stream: Stream, pending: Pending, *, refused: bool = False) -> None:
        """Settle a record that was cancelled while it was in flight; write a dead letter if it was skipped.

        `refused`: its receiver asked for a dead letter.
        """
        standing = self._ledger.standing(pending.delivery, pending.hook, stream.index)
        if standing in (Standing.CANCELLED, Standing.BEFORE_START):
            self.settle_unsent(stream, pending, standing)
            return
        endpoint = pending.hook.endpoint
        if endpoint is not None and endpoint.skips.covers(pending.delivery):
            self.dead_letter(stream, pending, DeadLetterReason.SKIPPED)
        elif refused:
            self.dead_letter(stream, pending, DeadLetterReason.REFUSED)

    def settle_unsent(self, stream: Stream, pending: Pending, standing: Standing) -> None:
        """Settle a record that the table cancels or skips, unless it is in flight: its answer settles it then."""
        if pending.offset not in stream.in_flight:
            self._ledger.count(standing)
            self._ledger.settle(stream, pending.offset, pending.hook, pending.resource)
