"""What the engine holds in memory: pending deliveries, backlog cursors, lanes, endpoints, clients, and their hooks.

Lane = (endpoint, resource): one request in flight, its head is the lowest offset. A cursor holds any amount of backlog
in the log itself, by its offset. A record below the reading position is in exactly one place (the executable model in
`tests` checks it): settled; unsettled in the window; pending from the cursor (hook, resource) if there is one; else
pending from the cursor of the hook.

These are plain mutable records that refer to each other, so they are in one module; the rules that move them are in
`ledger.py`, `sending.py`, `answers.py`, `isolation.py` and `catch_up.py`.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable
from typing import NewType, Protocol

from hookstream.schemas.delivery import Delivery
from hookstream.schemas.hook import HookState, NoticeKind

from .endpoint_health import EndpointHealth
from .hook_table import HookRow
from .policy import EnginePolicy
from .retry_schedule import FRESH, LaneClock
from .skips import Skips
from .told import Told

StreamIndex = NewType("StreamIndex", int)
LIVE = StreamIndex(0)
REPLAY = StreamIndex(1)

_SMOOTHING = 0.1
_FORGOTTEN_S = 0.05
_PRUNE_AT = 64


class Pending:
    """One delivery that is not settled, in the window or in a cursor's buffer."""

    __slots__ = ("delivery", "hook", "in_window", "lane", "offset", "read_at", "resource", "row", "size", "stream")

    def __init__(
        self, stream: StreamIndex, offset: int, delivery: Delivery, hook: TrackedHook, size: int, read_at: float
    ) -> None:
        """Hold a delivery that was just read."""
        self.stream = stream
        self.offset = offset
        self.delivery = delivery
        self.hook = hook
        self.resource = delivery.resource
        self.size = size
        self.read_at = read_at
        self.lane: Lane | None = None
        self.row: HookRow | None = None  # the row under which it may be sent; decided again after a change
        self.in_window = True

    def __lt__(self, other: Pending) -> bool:
        """Order by offset."""
        return self.offset < other.offset


class Lane:
    """One resource of one endpoint. `windows` and `buffers` are ordered by offset, one list a stream."""

    __slots__ = ("buffers", "endpoint", "in_flight", "queued", "resource", "windows")

    def __init__(self, endpoint: Endpoint, resource: str) -> None:
        """Start empty."""
        self.endpoint = endpoint
        self.resource = resource
        self.in_flight = False
        self.queued = [False, False]  # is among the endpoint's ready lanes, a flag a stream
        self.windows: tuple[list[Pending], list[Pending]] = ([], [])
        self.buffers: tuple[list[Pending], list[Pending]] = ([], [])

    @property
    def empty(self) -> bool:
        """Whether the lane may be forgotten."""
        return not (self.in_flight or self.windows[0] or self.buffers[0] or self.windows[1] or self.buffers[1])

    def add_to_window(self, pending: Pending) -> None:
        """Queue in offset order; a record is inserted only after a hand-over or a retarget."""
        pending.lane = self
        queue = self.windows[pending.stream]
        if queue and pending.offset < queue[-1].offset:
            insort(queue, pending)
        else:
            queue.append(pending)

    def add_to_buffer(self, pending: Pending) -> None:
        """Queue what catch-up read, in offset order over all cursors of the lane."""
        pending.lane = self
        insort(self.buffers[pending.stream], pending)

    def remove(self, pending: Pending) -> None:
        """Take a pending delivery out of the window or the buffer."""
        queue = (self.windows if pending.in_window else self.buffers)[pending.stream]
        if queue and queue[0] is pending:
            del queue[0]
        elif pending in queue:
            queue.remove(pending)


class Client:
    """One client: its share of what may be in flight, over all of its endpoints."""

    __slots__ = ("blocked", "in_flight", "sent_sum", "slowness_s")

    def __init__(self) -> None:
        """Start with nothing in flight."""
        self.in_flight = 0
        self.sent_sum = 0.0  # of the times at which what is in flight was sent: gives its mean age at no cost
        self.slowness_s = 0.0  # smoothed duration of requests since one was slow, 0 while none is
        self.blocked: dict[Endpoint, None] = {}  # ready, but the client is at its share; in the order of their turns

    def note_slow_request(self, duration_s: float) -> None:
        """Note how long a request took while the client answers slowly."""
        self.slowness_s += (duration_s - self.slowness_s) * _SMOOTHING
        if self.slowness_s < _FORGOTTEN_S:
            self.slowness_s = 0.0


class Endpoint:
    """One (client, target), served by one engine: its lanes, its health, its place in the round robin."""

    __slots__ = (
        "client",
        "client_id",
        "dispatched",
        "engine",
        "from_backlog",
        "health",
        "hooks",
        "in_flight",
        "lanes",
        "probing",
        "quick",
        "ready",
        "sent_sum",
        "skips",
        "target",
        "told",
        "window_counts",
    )

    def __init__(
        self,
        engine: Dispatches,
        client_id: str,
        target: str,
        client: Client,
        policy: EnginePolicy,
        random: Callable[[], float],
    ) -> None:
        """Start healthy, with nothing to send."""
        self.engine = engine
        self.client_id = client_id
        self.target = target
        self.client = client
        self.health = EndpointHealth(policy, random)
        self.skips = Skips()
        self.told = Told()
        self.lanes: dict[str, Lane] = {}
        self.hooks: dict[int, TrackedHook] = {}
        self.ready: tuple[deque[Lane], deque[Lane]] = (deque(), deque())
        self.dispatched = [False, False]  # whether it is in the round robin, a flag a stream
        self.in_flight = 0
        self.sent_sum = 0.0  # as its client's
        self.quick = False  # the last answer was a 2xx, and came quickly
        self.window_counts = [0, 0]
        self.from_backlog = [False, False]  # its hooks are served through cursors
        self.probing = False  # a probe is in flight

    def lane(self, resource: str) -> Lane:
        """Return the lane of a resource, made on first use."""
        lane = self.lanes.get(resource)
        if lane is None:
            lane = self.lanes[resource] = Lane(self, resource)
        return lane


class Dispatches(Protocol):
    """What the round robin asks of an endpoint's engine."""

    def take(self, endpoint: Endpoint, stream: StreamIndex) -> Post | None:
        """Return the next request of a ready endpoint, or None."""
        ...

    def abandon(self, post: Post) -> None:
        """Forget a request that was taken and is not sent."""
        ...


class Cursor:
    """Everything of one hook (or of one resource of it) from `next` on is pending, but for what is settled above.

    `scan` is where catch-up reads on; what it has read and not settled is in `buffer`, by offset, ascending.
    `oldest_ms` is the time since which the first is pending, 0 while unknown. `first_may_be_skipped`: an operator
    skipped a delivery that may be the first, so catch-up looks at the first even while the cursor waits. `restored`:
    this cursor, or the one from which it was taken, came with the state of the last owner, whose commit calls its
    pending records settled.
    """

    __slots__ = (
        "_trim_at",
        "buffer",
        "first_may_be_skipped",
        "oldest_ms",
        "resource",
        "restored",
        "scan",
        "settled",
        "unserved_since",
    )

    def __init__(self, scan: int, settled: set[int], resource: str | None, *, oldest_ms: int = 0) -> None:
        """Hold everything from `scan` on, but for `settled`."""
        self.scan = scan
        self.settled = settled
        self.resource = resource
        self.buffer: dict[int, Pending] = {}
        self.oldest_ms = oldest_ms
        self.first_may_be_skipped = False
        self.restored = False
        self.unserved_since = 0.0
        self._trim_at = _PRUNE_AT

    @property
    def next(self) -> int:
        """The lowest offset that may be pending from it."""
        for offset in self.buffer:
            return offset
        return self.scan

    def rewind(self) -> list[Pending]:
        """Forget what was read ahead, so that it takes no memory while it waits; return what was buffered."""
        forgotten = list(self.buffer.values())
        self.scan = self.next
        self.buffer.clear()
        return forgotten

    def settle(self, offset: int) -> None:
        """Note that a record of it is settled."""
        self.settled.add(offset)
        if len(self.settled) >= self._trim_at:
            self.trim()
            self._trim_at = max(_PRUNE_AT, 2 * len(self.settled))

    def trim(self) -> None:
        """Forget settled offsets below the lowest pending one."""
        if self.settled:
            lowest = self.next
            self.settled = {offset for offset in self.settled if offset >= lowest}


class Backlog:
    """What one stream holds of one hook: its records in the window, its cursors, its lane clocks.

    `settled` are (offset, resource) of records that were settled above a pending one: a cursor that opens below them
    must not deliver them again. `settled` says nothing of offsets below `known_from`: what an earlier owner has settled
    there is known by the restored cursors alone. Nor does it of a resource below its offset in `resources_from`, where
    the restored cursor of that resource began: all of it was settled there.
    """

    __slots__ = (
        "_prune_at",
        "clocks",
        "cursor",
        "known_from",
        "resource_cursors",
        "resources_from",
        "settled",
        "window",
    )

    def __init__(self) -> None:
        """Hold nothing."""
        self.window: dict[int, Pending] = {}
        self.settled: list[tuple[int, str]] = []
        self.known_from = 0
        self.resources_from: dict[str, int] = {}
        self.cursor: Cursor | None = None
        self.resource_cursors: dict[str, Cursor] = {}  # by resource
        self.clocks: dict[str, LaneClock] = {}
        self._prune_at = _PRUNE_AT

    def cursor_for(self, resource: str) -> Cursor | None:
        """The cursor from which records of this resource are pending, if there is one."""
        return self.resource_cursors.get(resource) or self.cursor

    def clock(self, resource: str) -> LaneClock:
        """The clock of a resource, a fresh one if nothing failed."""
        return self.clocks.get(resource, FRESH)

    def cursors(self) -> list[Cursor]:
        """All cursors of this hook in this stream."""
        found = list(self.resource_cursors.values())
        if self.cursor is not None:
            found.append(self.cursor)
        return found

    def unsettled(self, resource: str | None = None) -> list[Pending]:
        """What the window holds of this hook (and resource), by offset."""
        return sorted(p for p in self.window.values() if resource is None or p.resource == resource)

    def remember(self, offset: int, resource: str, *, lowest: int) -> None:
        """Remember that a record is settled; below `lowest` no cursor can open."""
        if not (self.window or self.cursor or self.resource_cursors):
            if self.settled:
                self.settled.clear()
            return
        self.settled.append((offset, resource))
        if len(self.settled) >= self._prune_at:
            floor = min(
                min(self.window, default=offset), max(lowest, min((c.next for c in self.cursors()), default=offset))
            )
            self.settled = [entry for entry in self.settled if entry[0] >= floor]
            self._prune_at = max(_PRUNE_AT, 2 * len(self.settled))

    @property
    def empty(self) -> bool:
        """Whether nothing has to be remembered."""
        return not (self.window or self.cursor or self.resource_cursors or self.clocks)


class TrackedHook:
    """A hook of which the engine holds something: pending deliveries, cursors, clocks, a disable."""

    __slots__ = (
        "backlogs",
        "disabled_under",
        "endpoint",
        "id",
        "in_flight",
        "in_flight_to",
        "newest_row",
        "notice_at",
        "notice_kind",
        "refilled_at",
        "row",
        "subscription_key",
        "throttled",
        "tokens",
    )

    def __init__(self, hook_id: int, subscription_key: tuple[str, str], backlogs: tuple[Backlog, Backlog]) -> None:
        """Hold nothing yet."""
        self.id = hook_id
        self.subscription_key = subscription_key
        self.newest_row: HookRow | None = None  # the newest row of the subscription key, perhaps another hook's
        self.row: HookRow | None = None  # the newest row that shows this hook
        self.endpoint: Endpoint | None = None
        self.backlogs = backlogs
        self.disabled_under: int | None = None  # revision of the row under which this engine disabled it
        self.notice_at = 0.0
        self.notice_kind = NoticeKind.GONE
        self.in_flight = 0
        self.in_flight_to: Endpoint | None = None
        self.tokens = 1.0
        self.refilled_at = 0.0
        self.throttled: dict[Lane, None] = {}  # lanes that wait for a token

    @property
    def held(self) -> bool:
        """Whether nothing of the hook is sent: it is disabled, or the table does not know where to."""
        return (
            self.endpoint is None
            or self.disabled_under is not None
            or self.row is None
            or self.row.state is HookState.DISABLED
        )


class Post:
    """One HTTP request to make, with what is needed when it is answered."""

    __slots__ = ("endpoint", "hook", "lane", "number", "pending", "probe", "row", "sent_at")

    def __init__(
        self, pending: Pending, hook: TrackedHook, lane: Lane, row: HookRow, number: int, *, probe: bool, sent_at: float
    ) -> None:
        """Decide on a request; `number` is that of the attempt, from 1."""
        self.pending = pending
        self.hook = hook
        self.lane = lane
        self.endpoint = lane.endpoint
        self.row = row
        self.number = number
        self.probe = probe
        self.sent_at = sent_at
