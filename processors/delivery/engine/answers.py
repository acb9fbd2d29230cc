"""What an answer means for its record, its lane, its endpoint and its hook."""

from __future__ import annotations

from collections.abc import Callable

from hookstream.schemas.delivery import DeadLetterReason
from hookstream.schemas.hook import NoticeKind

from .isolation import Isolation
from .ledger import Ledger
from .model import LIVE, REPLAY, Endpoint, Post
from .notices import EndpointNotices
from .outcome import Outcome, Verdict
from .probes import Probes
from .retry_schedule import LaneClock, after_failure
from .timers import Timers


class Answers:
    """Takes answers; each counts for the row and the endpoint under which its request was sent (rule R9)."""

    def __init__(
        self,
        ledger: Ledger,
        timers: Timers,
        isolation: Isolation,
        probes: Probes,
        notices: EndpointNotices,
        random: Callable[[], float],
    ) -> None:
        """Work on a ledger."""
        self._ledger = ledger
        self._ready = ledger.ready
        self._policy = ledger.policy
        self._dispatcher = ledger.dispatcher
        self._timers = timers
        self._isolation = isolation
        self._probes = probes
        self._notices = notices
        self._random = random

    def answer(self, post: Post, outcome: Outcome, duration_s: float) -> None:
        """Take the answer of a request that this engine sent."""
        self._end_request(post)
        pending, endpoint, hook = post.pending, post.endpoint, post.hook
        ledger, client = self._ledger, endpoint.client
        quick = duration_s <= self._policy.concurrency_fast_s
        if not quick or client.slowness_s:
            client.note_slow_request(duration_s)
        stream = ledger.streams[pending.stream]
        verdict = outcome.verdict
        endpoint.quick = quick and verdict is Verdict.DELIVERED
        if verdict is Verdict.DELIVERED:
            ended = endpoint.health.succeed(pending.resource, duration_s, endpoint.in_flight)
            clocks = hook.backlogs[pending.stream].clocks
            if clocks and clocks.pop(pending.resource, None) is not None:
                ledger.changes += 1
            ledger.settle(stream, pending.offset, hook, pending.resource)
            if ended:
                self._end_quarantine(endpoint)
        else:
            self._not_delivered(post, outcome, duration_s)
        self._offer_after(post)

    def _not_delivered(self, post: Post, outcome: Outcome, duration_s: float) -> None:
        """Take an answer that is no 2xx."""
        pending, endpoint, ledger, verdict = post.pending, post.endpoint, self._ledger, outcome.verdict
        ledger.changes += 1
        ended = False
        if post.probe and verdict is not Verdict.REFUSED:
            endpoint.health.probe_times.note_failure(ledger.now)
        self._count_request(post)
        if verdict is Verdict.GONE:
            self._gone(post)
        elif verdict is Verdict.BUSY:
            self._busy(endpoint, outcome.retry_after_s)
        elif verdict is Verdict.REFUSED:  # by an endpoint that is up
            ended = endpoint.health.succeed(pending.resource, duration_s, endpoint.in_flight)
        else:
            self._fail(post, rejected=verdict is Verdict.REJECTED)
        if endpoint.health.breaker_open:
            self._probes.wait_for_next(endpoint)
        # A target that the hook does not have any more cannot refuse for the present one.
        present = post.hook.endpoint is endpoint
        self._isolation.resettle(ledger.streams[pending.stream], pending, refused=outcome.refused and present)
        if ended:
            self._end_quarantine(endpoint)

    def abandon(self, post: Post) -> None:
        """Forget a request whose answer is not waited for: its partition was revoked."""
        self._end_request(post)

    def _end_request(self, post: Post) -> None:
        pending, endpoint, hook = post.pending, post.endpoint, post.hook
        del self._ledger.streams[pending.stream].in_flight[pending.offset]
        post.lane.in_flight = False
        client = endpoint.client
        endpoint.in_flight -= 1
        endpoint.sent_sum -= post.sent_at
        client.in_flight -= 1
        client.sent_sum -= post.sent_at
        if post.probe:
            endpoint.probing = False
        hook.in_flight -= 1
        self._dispatcher.ended()

    def _offer_after(self, post: Post) -> None:
        """Offer everything that waited for this request."""
        endpoint, lane, hook = post.endpoint, post.lane, post.hook
        if lane.empty:
            if endpoint.lanes.get(lane.resource) is lane:
                del endpoint.lanes[lane.resource]
        else:
            self._ready.offer(lane)
        if endpoint.ready[LIVE]:
            self._dispatcher.offer(endpoint, LIVE)
        if endpoint.ready[REPLAY]:
            self._dispatcher.offer(endpoint, REPLAY)
        if hook.endpoint is not None and hook.endpoint is not endpoint:
            if hook.in_flight:  # the others of the hook wait; what another hook has behind this record does not
                self._ready.offer_resource(hook, post.pending.resource)
            else:
                self._ready.wake_lanes(hook.endpoint)
        if endpoint.client.blocked:
            self._dispatcher.freed(endpoint.client)

    def _count_request(self, post: Post) -> None:
        clocks = post.hook.backlogs[post.pending.stream].clocks
        clock = clocks.get(post.pending.resource)
        first = clock.first_failed_ms if clock and clock.first_failed_ms else self._ledger.wall_ms
        clock = clock or LaneClock()
        clocks[post.pending.resource] = LaneClock(
            clock.attempts, post.number, clock.due, clock.schedule_exhausted, first
        )

    def _end_quarantine(self, endpoint: Endpoint) -> None:
        self._probes.forget(endpoint)
        self._notices.quarantine_ended(endpoint)
        self._ledger.changes += 1
        self._ledger.go_on(endpoint)

    def _gone(self, post: Post) -> None:
        """410 disables the hook at once, unless its row has changed since the request was sent."""
        hook = post.hook
        row = hook.newest_row
        if row is not None and row.id == hook.id and row.revision == post.row.revision:
            self._isolation.disable(hook, row, NoticeKind.GONE)

    def _busy(self, endpoint: Endpoint, retry_after_s: float | None) -> None:
        """The whole endpoint waits; no attempt is spent."""
        ledger = self._ledger
        wait = endpoint.health.busy(retry_after_s, now=ledger.now, wall_ms=ledger.wall_ms)
        self._timers.at(endpoint.health.retry_after_until, lambda: ledger.go_on(endpoint))
        if wait > self._policy.retry_in_window_s:
            self._isolation.serve_from_backlog(endpoint, breaker_open=False)

    def _fail(self, post: Post, *, rejected: bool) -> None:
        """Spend an attempt, open the breaker, or neither."""
        pending, endpoint, hook, ledger = post.pending, post.endpoint, post.hook, self._ledger
        health = endpoint.health
        quarantined = health.breaker_open
        opens = health.fail(pending.resource, now=ledger.now, wall_ms=ledger.wall_ms)
        if quarantined:
            return
        if opens:
            self._isolation.serve_from_backlog(endpoint, breaker_open=True)
            return
        if post.probe or hook.endpoint is not endpoint:
            return
        stream = ledger.streams[pending.stream]
        clocks = hook.backlogs[pending.stream].clocks
        clock = after_failure(
            clocks[pending.resource],
            rejected=rejected and health.record_at_fault(pending.resource),
            now=ledger.now,
            policy=self._policy,
            random=self._random,
        )
        if clock is None:
            clocks[pending.resource] = LaneClock(requests=post.number, schedule_exhausted=True)
            self._isolation.dead_letter(stream, pending, DeadLetterReason.SCHEDULE)
            return
        clocks[pending.resource] = clock
        self._timers.at(clock.due, lambda: self._ready.offer_resource(hook, pending.resource))
        wait_s = clock.due - ledger.now
        far = wait_s > self._policy.retry_in_window_s
        if far or not self._may_wait(post, wait_s):
            self._isolation.open_resource_cursors(stream, endpoint, pending.resource)
            cursor = hook.backlogs[pending.stream].resource_cursors.get(pending.resource)
            if cursor is not None and far:
                ledger.rewind_cursor(cursor)

    def _may_wait(self, post: Post, wait_s: float) -> bool:
        """Whether a lane waits for its retry where it is: in the window, or in the buffer of its hook's cursor.

        All lanes of the hook share that buffer, so a lane that waits for long, or has many records there, gets a cursor
        of its own. If each lane that fails got one, a flaky endpoint that catches up would reach the limit of cursors.
        """
        stream, resource = post.pending.stream, post.pending.resource
        if post.pending.offset in self._ledger.streams[stream].unsettled:
            return True
        backlog = post.hook.backlogs[stream]
        crowded = len(post.lane.buffers[stream]) > self._policy.resource_buffer_records
        if crowded or wait_s > self._policy.retry_in_buffer_s:
            return False
        return backlog.cursor is not None and resource not in backlog.resource_cursors
