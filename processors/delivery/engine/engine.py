"""The delivery engine of one partition, sans I/O: what is sent when, and what an answer means.

The worker calls it from one thread, in turns: `advance` the clock, `read` what Kafka brought, send what `Dispatcher`
offers, `answer` what came back, `end_turn`; `snapshot` for the commit. The tests drive the same class through crashes,
zombies and hostile endpoints and judge every turn; rule numbers (R1 …) refer to `docs/adr`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from hookstream.schemas.delivery import Delivery
from hookstream.schemas.hook import HookState, NoticeKind

from .answers import Answers
from .catch_up import BacklogRecord, CatchUp
from .dispatcher import Dispatcher
from .hand_over import HandOver
from .hook_table import HookTable, Standing
from .isolation import Effects, Isolation
from .ledger import Ledger
from .model import LIVE, REPLAY, Endpoint, Pending, Post, StreamIndex, TrackedHook
from .operator_settings import OperatorSettings, SettingsTable
from .outcome import Outcome
from .partition_state import PartitionState, Snapshot
from .policy import EnginePolicy
from .probes import Probes
from .sending import Sending
from .snapshot import Restoration, stored
from .stream import Stream
from .table_changes import TableChanges
from .timers import Timers
from .tracker import SettledSet


class StreamStart(NamedTuple):
    """Where a stream begins: the restored commit and the state it points to."""

    offset: int
    settled: SettledSet
    state: PartitionState


class Engine:
    """One partition of `deliveries` and of `deliveries.replay`."""

    def __init__(  # noqa: PLR0913 - the parts are injected, nothing is looked up
        self,
        *,
        policy: EnginePolicy,
        table: HookTable,
        dispatcher: Dispatcher,
        effects: Effects,
        decode: Callable[[bytes], Delivery],
        random: Callable[[], float],
        starts: tuple[StreamStart, StreamStart],
        now: float,
        wall_ms: int,
        settings: SettingsTable | None = None,
    ) -> None:
        """Start where the commits say. `now` is monotonic seconds, `wall_ms` Unix milliseconds.

        `settings` are the operators' settings for endpoints; None where there are none.
        """
        streams = (
            Stream(LIVE, starts[LIVE].offset, starts[LIVE].settled),
            Stream(REPLAY, starts[REPLAY].offset, starts[REPLAY].settled),
        )
        self.ledger = Ledger(
            policy=policy, table=table, dispatcher=dispatcher, dispatches=self, random=random, streams=streams
        )
        self.policy = policy
        self._rejoin_at = 0.0
        self._rejoin_asked = False
        self._timers = Timers()
        self._probes = Probes(self.ledger, self._timers)
        self._isolation = Isolation(self.ledger, self._probes, effects)
        self._sending = Sending(self.ledger, self._timers, self._isolation, self._probes)
        self._answers = Answers(self.ledger, self._timers, self._isolation, self._probes, random)
        self._table_changes = TableChanges(self.ledger, self._isolation, self._probes)
        self._catch_up = CatchUp(self.ledger, self._isolation, self._probes, decode=decode)
        self._hand_over = HandOver(self.ledger)
        self.advance(now, wall_ms)
        restoration = Restoration(self.ledger, self._timers)
        self._settings = OperatorSettings(self.ledger, self._isolation, self._probes, settings)
        restoration.restore([start.state for start in starts])
        self._timers.at(now + self.policy.notice_every_s, self._every_minute)

    # -- turns ---------------------------------------------------------------------------------------------------

    def advance(self, now: float, wall_ms: int) -> None:
        """Begin a turn: move the clock and do what is due."""
        self.ledger.now, self.ledger.wall_ms = now, wall_ms
        self._timers.run(now)

    def next_due(self) -> float | None:
        """Monotonic time of the next thing to do, None if there is none."""
        return self._timers.next_due

    def end_turn(self) -> None:
        """End a turn: let cursors that have reached the live reading rejoin it.

        This looks at every cursor, so it is not done in every turn: those of five hundred endpoints that are down would
        cost more than the deliveries to the others. A touched endpoint is looked at in the same turn.
        """
        ledger = self.ledger
        catching_up = self.has_cursors
        if ledger.touched or (catching_up and ledger.now >= self._rejoin_at):
            self._rejoin_at = ledger.now + self.policy.rejoin_every_s
            self._catch_up.read_tails()
            self._probes.end_readings()
            self._hand_over.run()
        elif catching_up and not self._rejoin_asked:
            self._rejoin_asked = True
            self._timers.at(self._rejoin_at, self._rejoin_is_due)

    def _rejoin_is_due(self) -> None:
        """The turn that this timer brings looks at the cursors."""
        self._rejoin_asked = False

    # -- live reading --------------------------------------------------------------------------------------------

    def room(self, stream: StreamIndex) -> int:
        """How many records the live reading takes now.

        The reading does not go far ahead of a window that flows. It never waits for a full window (rule R6) whose
        oldest record is older than `fresh_window_s`: the lane of that record gets a cursor, which makes room.
        """
        held = self.ledger.streams[stream]
        policy = self.policy
        ahead = policy.read_ahead_records - len(held.unsettled)
        span = policy.window_records - held.span
        if span > 0 and ahead > 0 and held.bytes < policy.window_bytes:
            return min(ahead, span)
        oldest = held.unsettled[held.tracker.base]
        if self.ledger.now - oldest.read_at < policy.fresh_window_s:
            return 0
        if span > 0 and held.bytes < policy.window_bytes:
            return span
        self._isolation.evict_oldest(held, oldest)
        return max(0, policy.window_records - held.span)

    def skip_to(self, stream: StreamIndex, position: int) -> None:
        """Note that the log has no records below `position` that were not read."""
        self.ledger.streams[stream].tracker.skip_to(position)

    def read(self, stream_index: StreamIndex, offset: int, delivery: Delivery, size: int) -> None:
        """Take the next record of a log, `size` bytes long; call `room` first."""
        ledger = self.ledger
        stream = ledger.streams[stream_index]
        hook_id = delivery.hook_id
        hook = ledger.hooks.get(hook_id) or ledger.hook(hook_id, (delivery.client, delivery.event))
        if stream.hooks_with_cursor:
            stream.remember_tail(offset, delivery, self.policy.tail_records)
        if offset < stream.restored_settled.end and offset in stream.restored_settled:
            self._read_restored(hook, stream, offset, delivery)
            return
        standing = ledger.standing(delivery, hook, stream_index)
        if standing is Standing.CANCELLED or standing is Standing.SKIPPED:
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
        ledger, hook, index = self.ledger, pending.hook, stream.index
        ledger.queue(stream, pending, endpoint)
        endpoint.health.note_resource(pending.resource)
        if standing is Standing.HELD or endpoint.from_backlog[index]:
            ledger.open_cursor(hook, stream)
            if endpoint.health.breaker_open:
                self._probes.wait_for_next(endpoint)
        elif stream.hooks_with_cursor and ledger.has_resource_cursor(stream, endpoint, pending.resource):
            ledger.open_cursor(hook, stream, pending.resource)
        elif pending.lane is not None:
            ledger.offer(pending.lane)
            if endpoint.window_counts[index] > self.policy.lagging_share * self.policy.window_records:
                self._isolation.serve_slow_from_backlog(endpoint, stream)

    def _read_restored(self, hook: TrackedHook, stream: Stream, offset: int, delivery: Delivery) -> None:
        """Read a record that the restored commit calls settled: it is done, or pending from a cursor of that commit.

        A cursor that has opened below it since, or opens later, must not deliver it.
        """
        stream.tracker.read(offset, settled=True)
        backlog = hook.backlogs[stream.index]
        owner = backlog.cursor_for(delivery.resource)
        if owner is not None and not owner.restored:
            owner.settle(offset)
        elif owner is None:
            backlog.remember(offset, delivery.resource, lowest=stream.position - self.policy.window_records)

    def _await_table(self, hook: TrackedHook, stream: Stream) -> None:
        """The router knew a newer row than this worker: wait for it, then open a cursor and alert (rule R6)."""
        self._timers.at(self.ledger.now + self.policy.stale_wait_s, lambda: self._stop_awaiting(hook, stream))

    def _stop_awaiting(self, hook: TrackedHook, stream: Stream) -> None:
        limit = self.ledger.now - self.policy.stale_wait_s
        for pending in hook.backlogs[stream.index].unsettled():
            if pending.read_at > limit:
                return
            if self.ledger.standing(pending.delivery, hook, stream.index) is Standing.WAIT:
                self._isolation.give_up_waiting(hook, stream)
                return

    # -- requests and answers ------------------------------------------------------------------------------------

    def take(self, endpoint: Endpoint, stream: StreamIndex) -> Post | None:
        """Return the next request of an endpoint whose turn it is, see `Sending.take`."""
        return self._sending.take(endpoint, stream)

    def answer(self, post: Post, outcome: Outcome, duration_s: float) -> None:
        """Take the answer of a request that this engine sent, see `Answers.answer`."""
        self._answers.answer(post, outcome, duration_s)

    def abandon(self, post: Post) -> None:
        """Forget a request whose answer is not waited for: its partition was revoked."""
        self._answers.abandon(post)

    def dead_letter_acknowledged(self, stream: StreamIndex, pending: Pending) -> None:
        """Settle a dead letter: Kafka has acknowledged it (rule R7)."""
        held = self.ledger.streams[stream]
        if held.dead_letters_pending.pop(pending.offset, None) is not None:
            self.ledger.settle(held, pending.offset, pending.hook, pending.resource)
            self.ledger.offer_resource(pending.hook, pending.resource)

    def row_changed(self, client: int, event: str) -> None:
        """Follow a change of one subscription key; the table holds the new row already."""
        self._table_changes.row_changed(client, event)

    def settings_changed(self, client: int, target_digest: bytes) -> None:
        """Follow a change of the operators' settings for an endpoint, which the table holds already."""
        self._settings.changed(client, target_digest)

    def _every_minute(self) -> None:
        """Repeat notices, disable hooks whose endpoint failed for five days, forget what is idle."""
        ledger, policy = self.ledger, self.policy
        for endpoint in list(ledger.endpoints.values()):
            since = endpoint.health.failing_since_ms
            if since and ledger.wall_ms - since > policy.disable_after_s * 1000:
                for hook in list(endpoint.hooks.values()):
                    if hook.row is not None and hook.disabled_under is None and hook.row.state is HookState.ENABLED:
                        self._isolation.disable(hook, hook.row, NoticeKind.FAILING)
        for hook in ledger.hooks.values():
            if hook.disabled_under is not None and hook.row is not None and ledger.now >= hook.notice_at:
                if hook.row.revision == hook.disabled_under and hook.row.state is HookState.ENABLED:
                    self._isolation.notify(hook, hook.row)
                hook.notice_at = ledger.now + policy.notice_every_s
        self._settings.forget_old()
        ledger.forget_idle()
        self._timers.at(ledger.now + policy.notice_every_s, self._every_minute)

    # -- what is stored, and what is read for cursors ----------------------------------------------------------------

    def snapshot(self, stream: StreamIndex) -> Snapshot:
        """What a commit says of one stream: offset, settled set and state of one turn (rule R10).

        Disables and health are the live stream's; clocks and cursors are each stream's own.
        """
        held = self.ledger.streams[stream]
        offset, settled = held.settled_above()
        return Snapshot(offset, settled, stored(self.ledger, held))

    def lose_below(self, stream: StreamIndex, low: int) -> int:
        """Go on at the low watermark where retention passed a cursor; return how many offsets may have been lost."""
        return self._catch_up.lose_below(self.ledger.streams[stream], low)

    def plan(self, stream: StreamIndex, *, at: int | None = None, near: bool | None = None) -> int | None:
        """Where the catch-up reader should read next, see `CatchUp.plan`."""
        return self._catch_up.plan(self.ledger.streams[stream], at=at, near=near)

    def feed(self, stream: StreamIndex, start: int, end: int, records: Sequence[BacklogRecord]) -> None:
        """Take what the reader read, see `CatchUp.feed`."""
        self._catch_up.feed(self.ledger.streams[stream], start, end, records)

    # -- questions -------------------------------------------------------------------------------------------------

    @property
    def changes(self) -> int:
        """A number that grows with every change of what a stored state would hold."""
        return self.ledger.changes

    @property
    def has_cursors(self) -> bool:
        """Whether anything is pending from a backlog cursor."""
        live, replay = self.ledger.streams
        return bool(live.hooks_with_cursor or replay.hooks_with_cursor)

    @property
    def posts_in_flight(self) -> list[Post]:
        """The requests that were taken and have neither an answer nor been abandoned."""
        return [post for stream in self.ledger.streams for post in stream.in_flight.values()]

    def position(self, stream: StreamIndex) -> int:
        """The next offset that the live reading reads."""
        return self.ledger.streams[stream].position

    def progress(self, stream: StreamIndex) -> tuple[int, bytes]:
        """The lowest unsettled offset, and the settled set above it."""
        return self.ledger.streams[stream].settled_above()

    def settled_before(self, stream: StreamIndex, offset: int) -> bool:
        """Whether the commit that this engine started from calls an offset settled."""
        return offset in self.ledger.streams[stream].restored_settled

    def window_size(self, stream: StreamIndex) -> int:
        """How many unsettled records the window holds."""
        return len(self.ledger.streams[stream].unsettled)

    def window_span(self, stream: StreamIndex) -> int:
        """How many offsets the window spans; at most `window_records`."""
        return self.ledger.streams[stream].span

    def oldest_read_at(self, stream: StreamIndex) -> float | None:
        """When the lowest unsettled record was read, in monotonic seconds; None if there is none."""
        oldest = self.ledger.streams[stream].oldest
        return None if oldest is None else oldest.read_at

    def oldest_pending_ms(self, stream: StreamIndex) -> int | None:
        """Since when (Unix milliseconds) the oldest delivery is pending, None if none is known."""
        return self.ledger.streams[stream].oldest_pending_ms()

    def cursors(self, stream: StreamIndex) -> list[tuple[int, str | None]]:
        """Every backlog cursor: its hook, and its resource where it holds only one."""
        return [(hook.id, cursor.resource) for hook, cursor in self.ledger.streams[stream].open_cursors()]

    def take_settled_unsent(self) -> dict[Standing, int]:
        """How many deliveries were settled without a request since the last call, by the reason."""
        return self.ledger.take_settled_unsent()


__all__ = ["LIVE", "REPLAY", "Effects", "Engine", "StreamStart"]
