"""Which delivery is sent next: the head of a lane or the probe of a quarantined endpoint, and what delays one."""

from __future__ import annotations

from hookstream.schemas.delivery import DeadLetterReason

from .hook_table import HookRow, Standing
from .isolation import Isolation
from .ledger import Ledger
from .model import LIVE, REPLAY, Endpoint, Lane, Pending, Post, StreamIndex, TrackedHook
from .probes import Probes
from .stream import Stream
from .timers import Timers

_REPLAY_RECHECK_S = 0.2


class Sending:
    """Chooses requests. A lane or endpoint that cannot send now is offered again when the reason is gone."""

    def __init__(self, ledger: Ledger, timers: Timers, isolation: Isolation, probes: Probes) -> None:
        """Work on a ledger."""
        self._ledger = ledger
        self._ready = ledger.ready
        self._dispatcher = ledger.dispatcher
        self._unreserved = ledger.dispatcher.share.unreserved
        self._scarce_from = ledger.dispatcher.share.scarce_from
        self._timers = timers
        self._isolation = isolation
        self._probes = probes

    def take(self, endpoint: Endpoint, stream: StreamIndex) -> Post | None:
        """Return the next request of an endpoint whose turn it is, or None."""
        health, now, dispatcher = endpoint.health, self._ledger.now, self._dispatcher
        if health.paused or now < health.retry_after_until:
            return None
        if endpoint.in_flight >= health.limit and not health.breaker_open:
            return None
        short = endpoint.client.in_flight >= self._unreserved or dispatcher.in_flight >= self._scarce_from
        if short and not dispatcher.admits(endpoint, now):
            return None
        if health.breaker_open:
            return self._take_probe(endpoint)
        ready = endpoint.ready[stream]
        while ready:
            lane = ready.popleft()
            lane.queued[stream] = False
            if lane.in_flight:
                continue
            found = self._head(lane, stream)
            if found is not None:
                return self._send(found[0], lane, found[1], probe=False)
        return None

    def _head(self, lane: Lane, stream: StreamIndex) -> tuple[Pending, HookRow] | None:
        """The record of a lane that may be sent now: the lowest of a cursor, else the lowest in the window."""
        buffered = lane.buffers[stream]
        if buffered and self._scanned_past(lane, stream, buffered[0].offset):
            row = self._may_send(buffered[0], lane)
            if row is not None:
                return buffered[0], row
        queue = lane.windows[stream]
        if queue:
            head = queue[0]
            row = self._may_send(head, lane)
            if row is not None:
                return head, row
        return None

    def _scanned_past(self, lane: Lane, stream: StreamIndex, offset: int) -> bool:
        """Whether no cursor of the endpoint can hold a lower record of this lane that it has not read yet (rule R3)."""
        for hook in lane.endpoint.hooks.values():
            cursor = hook.backlogs[stream].cursor_for(lane.resource)
            if cursor is not None and cursor.scan <= offset and not hook.held:
                return False
        return True

    def _may_send(self, pending: Pending, lane: Lane) -> HookRow | None:
        """Return the row to send under, or None if the record may not be sent now."""
        hook, stream, ledger = pending.hook, pending.stream, self._ledger
        if hook.in_flight and hook.in_flight_to is not lane.endpoint:
            return None  # after a retarget the lane waits for the answer of the last request to the old target
        held = ledger.streams[stream]
        clocks = hook.backlogs[stream].clocks
        skips = lane.endpoint.skips
        if skips.some and skips.covers(pending.delivery):
            self._isolation.dead_letter(held, pending, DeadLetterReason.SKIPPED)
        early = clocks and (clock := clocks.get(pending.resource)) is not None and clock.due > ledger.now
        if early or (held.dead_letters_pending and pending.offset in held.dead_letters_pending):
            return None
        row = self._sendable_row(pending, held)
        if row is None or (stream == REPLAY and not self.replayable(pending, lane)):
            return None
        if row.rate_limit_per_s is not None and not self._within_rate(hook, row.rate_limit_per_s, lane):
            return None
        return row

    def _sendable_row(self, pending: Pending, stream: Stream) -> HookRow | None:
        """Compare the record with the table once more: rows change while records wait."""
        delivery, hook, ledger = pending.delivery, pending.hook, self._ledger
        if pending.row is not None and pending.row is hook.newest_row and hook.disabled_under is None:
            return pending.row
        standing = ledger.standing(delivery, hook, stream.index)
        if standing is Standing.SEND:
            return hook.newest_row
        if standing in (Standing.CANCELLED, Standing.BEFORE_START):
            lane = pending.lane
            self._isolation.settle_unsent(stream, pending, standing)
            if lane is not None:
                self._ready.offer(lane)
        elif standing is Standing.HELD:
            self._isolation.hold(hook)
        return None

    def replayable(self, pending: Pending, lane: Lane) -> bool:
        """Whether every first delivery that a replay must not overtake is done (rule R12)."""
        live = self._ledger.streams[LIVE]
        backlog = pending.hook.backlogs[LIVE]
        if (
            live.position >= pending.delivery.live_end
            and backlog.cursor_for(pending.resource) is None
            and not any(waiting.hook is pending.hook for waiting in lane.windows[LIVE])
        ):
            return True
        self._timers.at(self._ledger.now + _REPLAY_RECHECK_S, lambda: self._ready.offer(lane))
        return False

    def _within_rate(self, hook: TrackedHook, rate: float, lane: Lane) -> bool:
        """Take a token of the hook's bucket (one second deep), or let the lane wait for the next token."""
        now = self._ledger.now
        hook.tokens = min(max(rate, 1.0), hook.tokens + (now - hook.refilled_at) * rate)
        hook.refilled_at = now
        if hook.tokens >= 1.0:
            hook.tokens -= 1.0
            return True
        hook.throttled[lane] = None
        if len(hook.throttled) == 1:
            self._timers.at(now + (1.0 - hook.tokens) / rate, lambda: self._release(hook))
        return False

    def _release(self, hook: TrackedHook) -> None:
        lanes = list(hook.throttled)
        hook.throttled.clear()
        for lane in lanes:
            self._ready.offer(lane)

    def _take_probe(self, endpoint: Endpoint) -> Post | None:
        """Return the next probe of a quarantined endpoint, if one is due."""
        probe = self._probes.next(endpoint, self)
        if probe is None:
            return None
        endpoint.probing = True
        return self._send(probe.head, probe.lane, probe.row, probe=True)

    def probe_row(self, endpoint: Endpoint, head: Pending) -> HookRow | None:
        """Return the row to probe under, or None if the head may not be sent."""
        hook, stream = head.hook, self._ledger.streams[head.stream]
        if endpoint.skips.covers(head.delivery):
            self._isolation.dead_letter(stream, head, DeadLetterReason.SKIPPED)
        if head.offset in stream.dead_letters_pending or (hook.in_flight and hook.in_flight_to is not endpoint):
            return None
        return self._sendable_row(head, stream)

    def _send(self, pending: Pending, lane: Lane, row: HookRow, *, probe: bool) -> Post:
        hook, endpoint = pending.hook, lane.endpoint
        backlog = hook.backlogs[pending.stream]
        number = backlog.clocks[pending.resource].requests + 1 if pending.resource in backlog.clocks else 1
        post = Post(pending, hook, lane, row, number, probe=probe, sent_at=self._ledger.now)
        self._ledger.streams[pending.stream].in_flight[pending.offset] = post
        lane.in_flight = True
        endpoint.in_flight += 1
        endpoint.sent_sum += post.sent_at
        client = endpoint.client
        client.in_flight += 1
        client.sent_sum += post.sent_at
        hook.in_flight += 1
        hook.in_flight_to = endpoint
        return post
