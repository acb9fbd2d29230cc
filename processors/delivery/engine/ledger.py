"""Where every record of a partition is: settled, unsettled in the window, or pending from a cursor.

The bookkeeping below the engine's decisions. Two streams are kept, live and replay; hooks, endpoints and lanes are
shared by both. Invariant: a record below a stream's position is in exactly one of those places (rules R1 and R2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hookstream.schemas.delivery import Delivery
from hookstream.schemas.hook import HookState

from .dispatcher import Dispatcher
from .hook_table import HookTable, Standing
from .model import (
    LIVE,
    REPLAY,
    Backlog,
    Client,
    Cursor,
    Dispatches,
    Endpoint,
    Lane,
    Pending,
    StreamIndex,
    TrackedHook,
)
from .policy import EnginePolicy
from .retry_schedule import LaneClock
from .stream import Stream

STREAMS = (LIVE, REPLAY)
ANY_RESOURCE = ""  # of a settled record of which only the hook is known


class Ledger:
    """The state of one partition, and the moves that keep each record in exactly one place."""

    def __init__(
        self,
        *,
        policy: EnginePolicy,
        table: HookTable,
        dispatcher: Dispatcher,
        dispatches: Dispatches,
        random: Callable[[], float],
        streams: tuple[Stream, Stream],
    ) -> None:
        """Start with nothing known of any hook."""
        self.policy = policy
        self.table = table
        self.dispatcher = dispatcher
        self.streams = streams
        self.now = 0.0
        self.wall_ms = 0
        self.hooks: dict[int, TrackedHook] = {}
        self.hooks_of_key: dict[tuple[str, str], dict[int, TrackedHook]] = {}
        self.endpoints: dict[tuple[str, str], Endpoint] = {}
        self.clients: dict[str, Client] = {}
        self.touched: dict[Endpoint, None] = {}  # endpoints whose cursors may be ready to rejoin
        self._settled_unsent = {Standing.CANCELLED: 0, Standing.SKIPPED: 0}
        self.changes = 0  # of what a stored state would hold
        self._dispatches = dispatches
        self._random = random
        self.preparations: list[Callable[[Endpoint], None]] = []  # what a new endpoint inherits: health, settings

    # -- hooks and endpoints -------------------------------------------------------------------------------------

    def hook(self, hook_id: int, subscription_key: tuple[str, str]) -> TrackedHook:
        """Return what is held of a hook, made on first use from the table's row."""
        hook = self.hooks.get(hook_id)
        if hook is None:
            hook = self.hooks[hook_id] = TrackedHook(hook_id, subscription_key, (Backlog(), Backlog()))
            self.hooks_of_key.setdefault(subscription_key, {})[hook_id] = hook
            row = hook.newest_row = self.table.get(*subscription_key)
            if row is not None and row.id == hook_id:
                hook.row = row
                self.attach(hook, self.endpoint(subscription_key[0], row.target))
        return hook

    def endpoint(self, client_id: str, target: str) -> Endpoint:
        """Return an endpoint, made on first use."""
        key = (client_id, target)
        endpoint = self.endpoints.get(key)
        if endpoint is None:
            client = self.clients.get(client_id)
            if client is None:
                client = self.clients[client_id] = Client()
            endpoint = Endpoint(self._dispatches, client_id, target, client, self.policy, self._random)
            self.endpoints[key] = endpoint
            for prepare in self.preparations:
                prepare(endpoint)
        return endpoint

    def attach(self, hook: TrackedHook, endpoint: Endpoint) -> None:
        """Serve a hook at an endpoint."""
        if hook.endpoint is not None:
            left = hook.endpoint
            left.hooks.pop(hook.id, None)
            if not left.hooks:
                left.client.blocked.pop(left, None)  # or a client that is retargeted all the time would keep them all
        hook.endpoint = endpoint
        endpoint.hooks[hook.id] = hook

    def forget_idle(self) -> None:
        """Drop hooks and endpoints of which nothing has to be remembered."""
        for hook in list(self.hooks.values()):
            idle = not hook.in_flight and hook.disabled_under is None and not hook.throttled
            if idle and all(backlog.empty for backlog in hook.backlogs):
                del self.hooks[hook.id]
                of_key = self.hooks_of_key[hook.subscription_key]
                del of_key[hook.id]
                if not of_key:
                    del self.hooks_of_key[hook.subscription_key]
                if hook.endpoint is not None:
                    hook.endpoint.hooks.pop(hook.id, None)
        for key, endpoint in list(self.endpoints.items()):
            waiting = endpoint.lanes or endpoint.in_flight or any(endpoint.from_backlog) or any(endpoint.dispatched)
            if not (endpoint.hooks or waiting) and endpoint.health.unremarkable(self.now):
                del self.endpoints[key]
                endpoint.client.blocked.pop(endpoint, None)
        for client_id in self.clients.keys() - {endpoint.client_id for endpoint in self.endpoints.values()}:
            del self.clients[client_id]

    # -- what the table says -------------------------------------------------------------------------------------

    def standing(self, delivery: Delivery, hook: TrackedHook, stream: StreamIndex) -> Standing:
        """Compare a delivery with the table: the revision first, only then the id (rule R8)."""
        row = hook.newest_row
        if row is None or row.revision < delivery.hook_revision:
            return Standing.WAIT
        if row.id != delivery.hook_id or row.state is HookState.DELETED:
            return Standing.CANCELLED
        if delivery.arrived_ms < row.not_before_ms and stream == LIVE:
            return Standing.SKIPPED
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

    @staticmethod
    def held(hook: TrackedHook) -> bool:
        """Whether nothing of a hook is sent: it is disabled, or the table does not know where to."""
        return (
            hook.endpoint is None
            or hook.disabled_under is not None
            or hook.row is None
            or hook.row.state is HookState.DISABLED
        )

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
            mine = [p for p in parent.buffer.values() if p.resource == resource]
            start = mine[0].offset if mine else parent.scan
            settled = {offset for offset in parent.settled if offset >= start}
            for pending in mine:
                del parent.buffer[pending.offset]
                self.leave_lane(pending)
        else:
            mine = backlog.unsettled(resource)
            start = mine[0].offset if mine else stream.position
            settled = {
                offset
                for offset, of in backlog.settled
                if offset > start and (resource is None or of in (resource, ANY_RESOURCE))
            }
            for pending in mine:
                self.leave_window(stream, pending)
        oldest_ms = mine[0].delivery.owed_since_ms if mine else 0
        cursor = Cursor(start, settled, resource, oldest_ms=oldest_ms)
        cursor.unserved_since = self.now
        cursor.restored = resource is not None and parent is not None and parent.restored
        if resource is None:
            backlog.cursor = cursor
        else:
            backlog.resource_cursors[resource] = cursor
        self._count_cursor(hook, stream, cursor)

    def adopt_cursor(self, hook: TrackedHook, stream: Stream, cursor: Cursor) -> None:
        """Take a cursor over from a stored state."""
        cursor.restored = True
        backlog = hook.backlogs[stream.index]
        if cursor.resource is None:
            backlog.cursor = cursor
        else:
            backlog.resource_cursors[cursor.resource] = cursor
        self._count_cursor(hook, stream, cursor)

    def _count_cursor(self, hook: TrackedHook, stream: Stream, cursor: Cursor) -> None:
        cursor.first_may_be_skipped = hook.endpoint is not None and bool(hook.endpoint.health.skipped)
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
        lowest = stream.position - self.policy.window_records
        for offset in cursor.settled:
            hook.backlogs[stream.index].remember(offset, ANY_RESOURCE, lowest=lowest)

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

    def has_resource_cursor(self, stream: Stream, endpoint: Endpoint, resource: str) -> bool:
        """Whether a hook of the endpoint that is served has a resource cursor for this lane."""
        return any(
            resource in hook.backlogs[stream.index].resource_cursors and not self.held(hook)
            for hook in endpoint.hooks.values()
        )

    # -- readiness -----------------------------------------------------------------------------------------------

    def offer(self, lane: Lane) -> None:
        """Give a lane its turn, if it has anything to send."""
        if lane.in_flight:
            return
        endpoint = lane.endpoint
        for stream in STREAMS:
            if (lane.windows[stream] or lane.buffers[stream]) and not lane.queued[stream]:
                lane.queued[stream] = True
                endpoint.ready[stream].append(lane)
                self.dispatcher.offer(endpoint, stream)

    def offer_resource(self, hook: TrackedHook, resource: str) -> None:
        """Give the lane of one resource of a hook its turn, at the hook's present endpoint."""
        if hook.endpoint is not None and (lane := hook.endpoint.lanes.get(resource)) is not None:
            self.offer(lane)

    def wake(self, endpoint: Endpoint) -> None:
        """Give an endpoint its turn again."""
        for stream in STREAMS:
            self.dispatcher.offer(endpoint, stream)

    def wake_lanes(self, endpoint: Endpoint) -> None:
        """Give an endpoint and every lane of it their turns again."""
        for lane in list(endpoint.lanes.values()):
            self.offer(lane)
        self.wake(endpoint)
