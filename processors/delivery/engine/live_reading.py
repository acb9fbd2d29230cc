"""Live reading: how far the log is read ahead, and where each record that it brings goes."""

from __future__ import annotations

from hookstream.schemas.delivery import Delivery

from .hook_table import Standing
from .isolation import Isolation
from .ledger import Ledger
from .model import Endpoint, Pending, TrackedHook
from .probes import Probes
from .stream import Stream
from .timers import Timers


class LiveReading:
    """Takes the records of both logs once, in order."""

    def __init__(self, ledger: Ledger, timers: Timers, isolation: Isolation, probes: Probes) -> None:
        """Work on a ledger."""
        self._ledger = ledger
        self._tracked = ledger.tracked
        self._hooks = ledger.tracked.hooks
        self._ready = ledger.ready
        self._policy = ledger.policy
        self._timers = timers
        self._isolation = isolation
        self._probes = probes

    def room(self, stream: Stream) -> int:
        """How many records the live reading takes now.

        The reading does not go far ahead of a window that flows. It never waits for a full window (rule R6) whose
        oldest record is older than `fresh_window_s`: the lane of that record gets a cursor, which makes room.
        """
        policy = self._policy
        ahead = policy.read_ahead_records - len(stream.unsettled)
        span = policy.window_records - stream.span
        if span > 0 and ahead > 0 and stream.bytes < policy.window_bytes:
            return min(ahead, span)
        oldest = stream.unsettled[stream.tracker.base]
        if self._ledger.now - oldest.read_at < policy.fresh_window_s:
            return 0
        if span > 0 and stream.bytes < policy.window_bytes:
            return span
        self._isolation.evict_oldest(stream, oldest)
        return max(0, policy.window_records - stream.span)

    def read(self, stream: Stream, offset: int, delivery: Delivery, size: int) -> None:
        """Take the next record of a log, `size` bytes long; call `room` first."""
        ledger, stream_index = self._ledger, stream.index
        hook_id = delivery.hook_id
        hook = self._hooks.get(hook_id) or self._tracked.hook(hook_id, (delivery.client, delivery.event))
        if stream.hooks_with_cursor:
            stream.remember_tail(offset, delivery, self._policy.tail_records, self._policy.tail_bytes)
        if offset < stream.restored_settled.end and offset in stream.restored_settled:
            self._read_restored(hook, stream, offset, delivery)
            return
        standing = ledger.standing(delivery, hook, stream_index)
        if standing is Standing.CANCELLED or standing is Standing.BEFORE_START:
            stream.tracker.read(offset, settled=True)
            ledger.count(standing)
            return
        cursor = hook.backlogs[stream_index].cursor_for(delivery.resource) if stream.hooks_with_cursor else None
        if cursor is not None:
            stream.tracker.read(offset, settled=True)
            if not cursor.oldest_ms:
                cursor.oldest_ms = delivery.owed_since_ms
            return
        stream.tracker.read(offset, settled=False)
        pending = Pending(stream_index, offset, delivery, hook, size, ledger.now)
        ledger.enter_window(stream, pending)
        if standing is Standing.SEND:
            pending.row = hook.newest_row
        elif standing is Standing.WAIT:
            self._await_table(hook, stream)
        if hook.endpoint is not None:
            self._queue(stream, pending, hook.endpoint, standing)

    def _queue(self, stream: Stream, pending: Pending, endpoint: Endpoint, standing: Standing) -> None:
        """Queue a window record in its lane, or open a cursor where the lane sends nothing now."""
        ledger, hook, index = self._ledger, pending.hook, stream.index
        ledger.queue(stream, pending, endpoint)
        endpoint.health.note_resource(pending.resource)
        if standing is Standing.HELD or endpoint.from_backlog[index]:
            ledger.open_cursor(hook, stream)
            if endpoint.health.breaker_open:
                self._probes.wait_for_next(endpoint)
        elif stream.hooks_with_cursor and ledger.has_resource_cursor(stream, endpoint, pending.resource):
            ledger.open_cursor(hook, stream, pending.resource)
        elif pending.lane is not None:
            self._ready.offer(pending.lane)
            if endpoint.window_counts[index] > self._policy.lagging_share * self._policy.window_records:
                self._isolation.serve_slow_from_backlog(endpoint, stream)

    def _read_restored(self, hook: TrackedHook, stream: Stream, offset: int, delivery: Delivery) -> None:
        """Read a record that the restored commit calls settled: it is done, or pending from a cursor of that commit.

        A cursor that has opened below it since, or opens later, must not deliver it.
        """
        stream.tracker.read(offset, settled=True)
        cursor = hook.backlogs[stream.index].cursor_for(delivery.resource)
        if cursor is None or not cursor.restored:
            self._ledger.settle_unbuffered(stream, offset, hook, cursor, delivery.resource)

    def _await_table(self, hook: TrackedHook, stream: Stream) -> None:
        """The router knew a newer row than this worker: wait for it, then open a cursor and alert (rule R6)."""
        self._timers.at(self._ledger.now + self._policy.stale_wait_s, lambda: self._stop_awaiting(hook, stream))

    def _stop_awaiting(self, hook: TrackedHook, stream: Stream) -> None:
        limit = self._ledger.now - self._policy.stale_wait_s
        for pending in hook.backlogs[stream.index].unsettled():
            if pending.read_at > limit:
                return
            if self._ledger.standing(pending.delivery, hook, stream.index) is Standing.WAIT:
                self._isolation.give_up_waiting(hook, stream)
                return
