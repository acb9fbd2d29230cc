"""Where every record of a partition is: settled, unsettled in the window, or pending from a cursor.

The bookkeeping below the engine's decisions. Two streams are kept, live and replay; hooks, endpoints and lanes are
shared by both. Invariant: a record below a stream's position is in exactly one of those places (rules R1 and R2).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hookstream.schemas.delivery import Delivery
from hookstream.schemas.hook import HookState

from .dispatcher import Dispatcher
from .hook_table import Standing
from .model import (
    LIVE,
    Cursor,
    Endpoint,
    Lane,
    Pending,
    StreamIndex,
    TrackedHook,
)
from .policy import EnginePolicy
from .ready_lanes import ReadyLanes
from .restored_endpoints import RestoredEndpoints
from .retry_schedule import LaneClock
from .stream import Stream
from .tracked_hooks import TrackedHooks

ANY_RESOURCE = ""  # of a settled record of which only the hook is known


class Ledger:
    """The state of one partition, and the moves that keep each record in exactly one place."""

    def __init__(
        self,
        *,
        policy: EnginePolicy,
        tracked: TrackedHooks,
        dispatcher: Dispatcher,
        streams: tuple[Stream, Stream],
    ) -> None:
        """Start with nothing pending."""
        self.policy = policy
        self.tracked = tracked
        self.dispatcher = dispatcher
        self.ready = ReadyLanes(dispatcher)
        self.streams = streams
        self.restored = RestoredEndpoints()
        self.now = 0.0
        self.wall_ms = 0
        self.touched: dict[Endpoint, None] = {}  # endpoints whose cursors may be ready to rejoin
        self._settled_unsent = {Standing.CANCELLED: 0, Standing.BEFORE_START: 0}
        self.changes = 0  # of what a stored state would hold

    @property
    def has_cursors(self) -> bool:
        """Whether anything is pending from a backlog cursor."""
        live, replay = self.streams
        return bool(live.hooks_with_cursor or replay.hooks_with_cursor)

    # -- what the table says -------------------------------------------------------------------------------------

    def standing(self, delivery: Delivery, hook: TrackedHook, stream: StreamIndex) -> Standing:
        """Compare a delivery with the table: the revision first, only then the id (rule R8)."""
        row = hook.newest_row
        if row is None or row.revision < delivery.hook_revision:
            return Standing.WAIT
        if row.id != delivery.hook_id or row.state is HookState.DELETED:
            return Standing.CANCELLED
        if delivery.arrived_ms < row.not_before_ms and stream == LIVE:
            return Standing.BEFORE_START
        if row.state is HookState.DISABLED or hook.disabled_under is not None:
            return Standing.HELD
        return Standing.SEND

    def count(self, standing: Standing) -> None:
        """Count a delivery that settles without a request."""
        self._settled_unsent[standing] += 1

    def take_settled_unsent(self) -> dict[Standing, int]:
        """What was counted since the last call."""
        counted = self._settled_unsent
        self._settled_unsent = dict.fromkeys(counted, 0)
        return counted

    # -- window and cursors --------------------------------------------------------------------------------------

    def enter_window(self, stream: Stream, pending: Pending) -> None:
        """Take a record that was just read into the window."""
        stream.unsettled[pending.offset] = pending
        stream.bytes += pending.size
        pending.hook.backlogs[stream.index].window[pending.offset] = pending

    def queue(self, stream: Stream, pending: Pending, endpoint: Endpoint) -> None:
        """Give a window record its place in a lane."""
        endpoint.window_counts[stream.index] += 1
        lanes = endpoint.lanes
        lane = lanes.get(pending.resource)
        if lane is None:
            lane = lanes[pending.resource] = Lane(endpoint, pending.resource)
        lane.add_to_window(pending)

    def leave_window(self, stream: Stream, pending: Pending) -> None:
        """Take a record out of the window: it is settled, or pending from a cursor from now on."""
        offset = pending.offset
        del stream.unsettled[offset]
        del pending.hook.backlogs[stream.index].window[offset]
        stream.bytes -= pending.size
        stream.tracker.settle(offset)
        lane = pending.lane
        if lane is not None:
            queue = lane.windows[stream.index]
            if queue[0] is pending:  # the usual case, written out here because it is done for every delivery
                del queue[0]
                pending.lane = None
                lane.endpoint.window_counts[stream.index] -= 1
                if not queue and lane.empty:
                    lane.endpoint.lanes.pop(lane.resource, None)
            else:
                self.leave_lane(pending)
        pending.in_window = False

    def leave_lane(self, pending: Pending) -> None:
        """Take a record out of its lane, if it is in one."""
        lane = pending.lane
        if lane is None:
            return
        lane.remove(pending)
        pending.lane = None
        endpoint = lane.endpoint
        if pending.in_window:
            endpoint.window_counts[pending.stream] -= 1
        if lane.empty:
            endpoint.lanes.pop(lane.resource, None)

    def open_cursor(self, hook: TrackedHook, stream: Stream, resource: str | None = None) -> None:
        """Open a cursor for a hook (or for one resource of it) at its oldest unsettled record.

        The cursor takes over all that the window holds, in flight or not (rule R2). A resource's cursor takes its
        records from the cursor of its hook, if there is one, which no longer covers that resource.
        """
        backlog = hook.backlogs[stream.index]
        if backlog.cursor is not None if resource is None else resource in backlog.resource_cursors:
            return
        parent = backlog.cursor
        if resource is not None and parent is not None:
            cursor = self._split_cursor(parent, resource)
        else:
            cursor = self._cursor_of_window(hook, stream, resource)
        cursor.unserved_since = self.now
        if resource is None:
            backlog.cursor = cursor
        else:
            backlog.resource_cursors[resource] = cursor
        self._count_cursor(hook, stream, cursor)

    def _split_cursor(self, parent: Cursor, resource: str) -> Cursor:
        """Take what is pending of a resource from the cursor of its hook."""
        mine = [p for p in parent.buffer.values() if p.resource == resource]
        start = mine[0].offset if mine else parent.scan
        settled = {offset for offset in parent.settled if offset >= start}
        for pending in mine:
            del parent.buffer[pending.offset]
            self.leave_lane(pending)
        cursor = Cursor(start, settled, resource, oldest_ms=_oldest_ms(mine))
        cursor.restored = parent.restored
        return cursor

    def _cursor_of_window(self, hook: TrackedHook, stream: Stream, resource: str | None) -> Cursor:
        """Take what is pending of a hook, or of one resource of it, from the window.

        What lies below `known_from` came back with the restored cursor of a resource, and gets one again: a cursor of
        the hook that began there would deliver again what an earlier owner has settled of the other resources. So does
        a resource whose restored cursor began above the cursor that opens now, which would deliver what is below it.
        """
        backlog = hook.backlogs[stream.index]
        mine = backlog.unsettled(resource)
        if resource is None and mine and mine[0].offset < backlog.known_from:
            for low in sorted({pending.resource for pending in mine if pending.offset < backlog.known_from}):
                self.open_cursor(hook, stream, low)
            mine = backlog.unsettled()
        if resource is None and mine and backlog.resources_from:
            start = mine[0].offset
            for settled_below in sorted(each for each, begin in backlog.resources_from.items() if begin > start):
                self.open_cursor(hook, stream, settled_below)
            mine = backlog.unsettled()
        start = mine[0].offset if mine else stream.position
        settled = {
            offset
            for offset, of in backlog.settled
            if offset > start and (resource is None or of in (resource, ANY_RESOURCE))
        }
        for pending in mine:
            self.leave_window(stream, pending)
        return Cursor(start, settled, resource, oldest_ms=_oldest_ms(mine))

    def restore_cursor(self, hook: TrackedHook, stream: Stream, cursor: Cursor) -> None:
        """Take a cursor over from a stored state."""
        cursor.restored = True
        stream.restored_to = max(stream.restored_to or 0, cursor.next)
        backlog = hook.backlogs[stream.index]
        if cursor.resource is None:
            backlog.cursor = cursor
        else:
            backlog.resource_cursors[cursor.resource] = cursor
            backlog.resources_from[cursor.resource] = cursor.next
        backlog.known_from = stream.position if backlog.cursor is None else backlog.cursor.next
        for offset in cursor.settled:  # which the cursor forgets as it goes on
            backlog.remember(offset, ANY_RESOURCE, lowest=stream.position - self.policy.window_records)
        self._count_cursor(hook, stream, cursor)

    def _count_cursor(self, hook: TrackedHook, stream: Stream, cursor: Cursor) -> None:
        cursor.first_may_be_skipped = hook.endpoint is not None and bool(hook.endpoint.skips.single)
        if not stream.hooks_with_cursor:
            stream.tail.clear()
            stream.tail_bytes = 0
            stream.tail_start = stream.position
        stream.hooks_with_cursor[hook.id] = hook
        self.changes += 1

    def drop_cursor(self, hook: TrackedHook, stream: Stream, cursor: Cursor) -> None:
        """Forget a cursor; the caller has moved or settled its records."""
        backlog = hook.backlogs[stream.index]
        if cursor.resource is None:
            backlog.cursor = None
        else:
            del backlog.resource_cursors[cursor.resource]
        self.changes += 1
        if backlog.cursor is None and not backlog.resource_cursors:
            del stream.hooks_with_cursor[hook.id]

    def rewind(self, hooks: Iterable[TrackedHook]) -> None:
        """Forget what catch-up read ahead for hooks of which nothing may be sent now."""
        for hook in hooks:
            for stream in self.streams:
                for cursor in hook.backlogs[stream.index].cursors():
                    self.rewind_cursor(cursor)

    def rewind_cursor(self, cursor: Cursor) -> None:
        """Forget what catch-up read ahead for one cursor."""
        for pending in cursor.rewind():
            self.leave_lane(pending)

    def reenter_window(self, stream: Stream, hook: TrackedHook, cursor: Cursor) -> None:
        """Hand a cursor over: what it buffered goes back into the window, and the base may move down to it."""
        returned = list(cursor.buffer.values())
        cursor.buffer.clear()
        self.drop_cursor(hook, stream, cursor)
        for pending in returned:
            endpoint = hook.endpoint
            self.leave_lane(pending)
            pending.in_window = True
            pending.read_at = self.now
            self.enter_window(stream, pending)
            stream.tracker.unsettle(pending.offset)
            if endpoint is not None:
                self.queue(stream, pending, endpoint)

    def settle(self, stream: Stream, offset: int, hook: TrackedHook, resource: str) -> None:
        """Settle one record, wherever it is; its resource's clock keeps only whether the schedule ran out."""
        backlog = hook.backlogs[stream.index]
        if backlog.clocks:
            clock = backlog.clocks.pop(resource, None)
            if clock is not None:
                self.changes += 1
                if clock.schedule_exhausted:
                    backlog.clocks[resource] = LaneClock(schedule_exhausted=True)
        pending = stream.unsettled.get(offset)
        if pending is not None:
            self.leave_window(stream, pending)
        elif (cursor := backlog.cursor_for(resource)) is not None:
            buffered = cursor.buffer.pop(offset, None)
            if buffered is not None:
                self.leave_lane(buffered)
            cursor.settle(offset)
            if hook.endpoint is not None:
                self.touched[hook.endpoint] = None
        backlog.remember(offset, resource, lowest=stream.position - self.policy.window_records)
        if stream.dead_letters_pending:
            stream.dead_letters_pending.pop(offset, None)

    def settle_unbuffered(
        self, stream: Stream, offset: int, hook: TrackedHook, cursor: Cursor | None, resource: str
    ) -> None:
        """Settle a record that was just read and is in no buffer: for its cursor, and for one that opens after it."""
        if cursor is not None:
            cursor.settle(offset)
        lowest = stream.position - self.policy.window_records
        hook.backlogs[stream.index].remember(offset, resource, lowest=lowest)

    def go_on(self, endpoint: Endpoint) -> None:
        """Let an endpoint go on that has waited; a cursor of it that retention has emptied meanwhile rejoins."""
        self.touched[endpoint] = None
        self.ready.wake_lanes(endpoint)

    def has_resource_cursor(self, stream: Stream, endpoint: Endpoint, resource: str) -> bool:
        """Whether a hook of the endpoint that is served has a resource cursor for this lane."""
        return any(
            resource in hook.backlogs[stream.index].resource_cursors and not hook.held
            for hook in endpoint.hooks.values()
        )


def _oldest_ms(pending: Sequence[Pending]) -> int:
    """Since when the first of some pending deliveries is pending, 0 if there is none."""
    return pending[0].delivery.owed_since_ms if pending else 0
