"""Probes of a quarantined endpoint: which delivery is sent next, and how the heads of its lanes are found.

A quarantined endpoint gets one real delivery at a time, the head of another lane each time, because one resource may be
what it refuses. The heads are found by reading the log from where the endpoint's backlog cursors begin; the times of
the probes are `EndpointHealth`'s.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from hookstream.schemas.delivery import Delivery

from .hook_table import HookRow, Standing
from .ledger import Ledger
from .model import LIVE, REPLAY, Cursor, Endpoint, Lane, Pending, StreamIndex, TrackedHook
from .stream import Stream
from .timers import Timers


class ProbeWalk:
    """The turn of the probes over the heads of one quarantined endpoint's lanes.

    `heads` take turns; `tried` counts the turns since the last reading. A reading (`wanted`) goes on where the last
    one ended, an offset a stream in `scans`, and collects the heads of lanes that it has not `seen` in this round (a
    set a stream) in `fresh`, which then replace `heads`. A round that has reached the end of both logs and `replaced`
    heads, or dropped one, is followed by one from the start. `begins` is where the round began, an offset a stream.
    """

    __slots__ = (
        "awaits_dead_letter",
        "begins",
        "forgot",
        "found_pending",
        "fresh",
        "heads",
        "replaced",
        "scans",
        "seen",
        "stream",
        "tried",
        "wanted",
    )

    def __init__(self) -> None:
        """Start the first round with nothing known."""
        self.heads: deque[Pending] = deque()
        self.begin_round()

    def begin_round(self) -> None:
        """Read from the beginning again; the known heads keep their turns until others are found."""
        self.fresh: list[Pending] = []
        self.seen: tuple[set[str], set[str]] = (set(), set())
        self.scans: list[int | None] = [None, None]
        self.begins = [0, 0]
        self.stream = LIVE
        self.wanted = False
        self.forgot = False  # whether there were more lanes than `seen` holds
        self.found_pending = False  # whether this round found any pending delivery
        self.awaits_dead_letter = False  # whether it found a head whose dead letter is not acknowledged
        self.replaced = False
        self.tried = 0

    def has_seen(self, stream: StreamIndex, resource: str) -> bool:
        """Whether the head of a lane is known: of the stream, or a live one that a replay has to wait for.

        A replay hides no live head: that may be read later, and the replay waits for it.
        """
        return any(resource in seen for seen in self.seen[: stream + 1])

    def want(self) -> None:
        """Ask for a reading."""
        self.wanted = True
        self.stream = LIVE

    def refresh(self) -> None:
        """End a reading: the heads that it found take the turns."""
        if self.fresh:
            self.replaced = self.replaced or bool(self.heads)
            self.heads = deque(self.fresh)
            self.fresh = []
        self.wanted = False
        self.tried = 0


class ProbeRules(Protocol):
    """What `Sending` decides about one head."""

    def probe_row(self, endpoint: Endpoint, head: Pending) -> HookRow | None:
        """Return the row to probe under, or None if the head may not be sent."""
        ...

    def replayable(self, pending: Pending, lane: Lane) -> bool:
        """Whether a replay's delivery may be sent."""
        ...


class Probe(NamedTuple):
    """The delivery to probe with."""

    head: Pending
    lane: Lane
    row: HookRow


class Probes:
    """The walks of the quarantined endpoints of one partition."""

    def __init__(self, ledger: Ledger, timers: Timers) -> None:
        """Work on a ledger."""
        self._ledger = ledger
        self._policy = ledger.policy
        self._timers = timers
        self._walks: dict[Endpoint, ProbeWalk] = {}
        self._wanting: dict[Endpoint, ProbeWalk] = {}  # those of them that want the log read

    # -- turns ---------------------------------------------------------------------------------------------------

    def begin(self, endpoint: Endpoint) -> None:
        """Start a walk with the heads in the window, unless a cursor holds deliveries below them."""
        self._wanting.pop(endpoint, None)
        walk = self._walks[endpoint] = ProbeWalk()
        streams = self._ledger.streams
        if any(hook.id in stream.hooks_with_cursor for hook in endpoint.hooks.values() for stream in streams):
            return
        heads: dict[str, Pending] = {}
        for hook in endpoint.hooks.values():
            for pending in hook.backlogs[LIVE].unsettled():
                known = heads.get(pending.resource)
                if known is None and len(heads) >= self._policy.probe_candidates:
                    continue
                if known is None or pending.offset < known.offset:
                    heads[pending.resource] = pending
        walk.heads.extend(sorted(heads.values()))
        walk.seen[LIVE].update(heads)
        walk.found_pending = bool(heads)

    def forget(self, endpoint: Endpoint) -> None:
        """Drop a walk: the quarantine is over, or the next walk has to start from the beginning."""
        self._walks.pop(endpoint, None)
        self._wanting.pop(endpoint, None)

    def wait_for_next(self, endpoint: Endpoint) -> None:
        """Give a quarantined endpoint its turn when its next probe is due."""
        health = endpoint.health
        due = max(health.probe_times.due, health.retry_after_until)
        self._timers.at(due, lambda: self._ledger.ready.wake(endpoint))

    def next(self, endpoint: Endpoint, rules: ProbeRules) -> Probe | None:
        """Return the next probe of a quarantined endpoint, if one is due; ask for a reading if no head is left."""
        if endpoint.probing or self._ledger.now < endpoint.health.probe_times.due:
            return None
        walk = self._walk(endpoint)
        if walk.tried < len(walk.heads) or not self._reads_first(walk):
            for _ in range(len(walk.heads)):
                head = walk.heads.popleft()
                row = self._row(endpoint, walk, head, rules)
                if row is None:
                    walk.replaced = True  # what follows it in its lane is found by a round from the start
                    continue
                walk.heads.append(head)
                lane = endpoint.lane(head.resource)
                buffered = lane.buffers[head.stream]
                if buffered and buffered[0].offset < head.offset:
                    continue  # the dead letter of a lower one is not acknowledged yet
                overtakes = head.stream == REPLAY and not self._found_nothing_before(endpoint, walk, head)
                if lane.in_flight or (overtakes and not rules.replayable(head, lane)):
                    continue
                walk.tried += 1
                return Probe(head, lane, row)
        if not walk.wanted:
            walk.want()
            self._wanting[endpoint] = walk
        return None

    def _walk(self, endpoint: Endpoint) -> ProbeWalk:
        walk = self._walks.get(endpoint)
        if walk is None:  # the quarantine was restored, or its walk was forgotten
            walk = self._walks[endpoint] = ProbeWalk()
        return walk

    def _found_nothing_before(self, endpoint: Endpoint, walk: ProbeWalk, replay: Pending) -> bool:
        """Whether this round has read all that a replay must not overtake, and nothing of its lane is pending there.

        Cursors stay while their endpoint waits, also those that owe nothing, so a cursor says nothing (rule R12).
        """
        scan, end, resource = walk.scans[LIVE], replay.delivery.live_end, replay.resource
        if scan is None or min(scan, self._ledger.streams[LIVE].position) < end or walk.forgot:
            return False
        lane = endpoint.lanes.get(resource)
        waits = resource in walk.seen[LIVE] or (lane is not None and bool(lane.windows[LIVE]))
        return not (waits or self._began_above(endpoint, walk))

    def _reads_first(self, walk: ProbeWalk) -> bool:
        """Every known head had its turn: whether there are others to be read first.

        A lane whose head was about to become a dead letter when it was found has another by now, perhaps a good one.
        """
        walk.replaced = walk.replaced or walk.awaits_dead_letter
        return walk.replaced or any(
            scan is None or scan < stream.position
            for scan, stream in zip(walk.scans, self._ledger.streams, strict=True)
        )

    def _row(self, endpoint: Endpoint, walk: ProbeWalk, head: Pending, rules: ProbeRules) -> HookRow | None:
        """The row to probe under, None if the head is no longer pending at this endpoint or may not be sent."""
        hook = head.hook
        cursor = hook.backlogs[head.stream].cursor_for(head.resource)
        if (
            cursor is None
            or head.offset < cursor.next
            or head.offset in cursor.settled
            or hook.endpoint is not endpoint
        ):
            return None
        row = rules.probe_row(endpoint, head)
        if row is None and head.offset in self._ledger.streams[head.stream].dead_letters_pending:
            walk.awaits_dead_letter = True
        return row

    # -- readings ------------------------------------------------------------------------------------------------

    def wanted(self, stream: Stream) -> Iterator[tuple[int, float]]:
        """Where walks want a log read, and since when; one that has reached the end of it would hold the reader up."""
        for endpoint, walk in self._wanting_of(stream):
            scan = self._scan(endpoint, walk, stream)
            if scan < stream.position:
                yield scan, endpoint.health.probe_times.due

    def reading(self, stream: Stream, start: int, end: int) -> list[Endpoint]:
        """The endpoints whose walks want offsets of [start, end)."""
        return [
            endpoint for endpoint, walk in self._wanting_of(stream) if start <= self._scan(endpoint, walk, stream) < end
        ]

    def take(self, stream: Stream, endpoint: Endpoint, hook: TrackedHook, offset: int, delivery: Delivery) -> bool:
        """Note the head of a lane that this round has not seen yet; return False when the walk has read enough."""
        walk = self._walks[endpoint]
        scan = walk.scans[stream.index]
        resource = delivery.resource
        if scan is None or offset < scan or walk.has_seen(stream.index, resource):
            return True
        if len(walk.fresh) >= self._policy.probe_candidates:
            walk.scans[stream.index] = offset
            self._offer(endpoint, walk)
            return False
        seen = walk.seen[stream.index]
        if len(seen) >= self._policy.probe_resources:
            walk.forgot = True
            seen.clear()
        standing = self._ledger.standing(delivery, hook, stream.index)
        if standing in (Standing.CANCELLED, Standing.BEFORE_START):
            return True
        seen.add(resource)
        walk.found_pending = True
        if offset in stream.dead_letters_pending:
            walk.awaits_dead_letter = True
        elif standing is Standing.SEND:
            pending = Pending(stream.index, offset, delivery, hook, 0, self._ledger.now)
            pending.in_window = False
            walk.fresh.append(pending)
        return True

    def read_to(self, stream: Stream, endpoints: Iterable[Endpoint], end: int) -> None:
        """Go on at `end` in the next reading; walks that had no heads take what was found at once."""
        for endpoint in endpoints:
            walk = self._walks[endpoint]
            walk.scans[stream.index] = end
            if walk.fresh and not walk.heads:
                self._offer(endpoint, walk)

    def lose_below(self, stream: Stream, low: int) -> None:
        """Go on at the low watermark where retention passed a walk."""
        for endpoint, walk in self._wanting_of(stream):
            walk.scans[stream.index] = max(self._scan(endpoint, walk, stream), low)

    def end_readings(self) -> None:
        """Finish the readings that have reached the position of both logs."""
        for endpoint, walk in list(self._wanting.items()):
            while walk.wanted and self._at_end(endpoint, walk):
                if walk.stream == LIVE:
                    walk.stream = REPLAY
                elif walk.fresh or (walk.heads and not walk.replaced):
                    self._offer(endpoint, walk)
                elif walk.replaced or self._began_above(endpoint, walk):
                    walk.begin_round()
                    walk.want()
                elif self._scan(endpoint, walk, self._ledger.streams[LIVE]) < self._ledger.streams[LIVE].position:
                    walk.stream = LIVE  # a cursor may have opened for what was read meanwhile
                else:
                    self._end_fruitless_round(endpoint, walk)
                    break

    def _at_end(self, endpoint: Endpoint, walk: ProbeWalk) -> bool:
        stream = self._ledger.streams[walk.stream]
        return self._scan(endpoint, walk, stream) >= stream.position

    def _began_above(self, endpoint: Endpoint, walk: ProbeWalk) -> bool:
        """Whether a cursor of the endpoint has opened below where the round began."""
        return any(
            cursor.next < walk.begins[stream.index]
            for stream in self._ledger.streams
            for _, cursor in self._cursors(endpoint, stream)
        )

    def _offer(self, endpoint: Endpoint, walk: ProbeWalk) -> None:
        """End a reading of a walk: there is something to probe with."""
        walk.refresh()
        self._wanting.pop(endpoint, None)
        self._ledger.ready.wake(endpoint)

    def _end_fruitless_round(self, endpoint: Endpoint, walk: ProbeWalk) -> None:
        """A round found nothing to probe with. If it found no pending delivery at all, the cursors go with it."""
        ledger, health = self._ledger, endpoint.health
        rereading = any(stream.position < stream.restored_settled.end for stream in ledger.streams)
        if not (walk.found_pending or endpoint.in_flight or rereading):
            for stream in ledger.streams:
                for hook, cursor in self._cursors(endpoint, stream):
                    ledger.rewind_cursor(cursor)
                    ledger.drop_cursor(hook, stream, cursor)
        else:
            if walk.awaits_dead_letter:  # in a moment the next of its lane is the head
                health.probe_times.schedule(ledger.now)
            else:
                health.probe_times.note_failure(ledger.now)
            self.wait_for_next(endpoint)
        self.forget(endpoint)

    def _wanting_of(self, stream: Stream) -> Iterator[tuple[Endpoint, ProbeWalk]]:
        for endpoint, walk in self._wanting.items():
            if walk.stream == stream.index:
                yield endpoint, walk

    def _scan(self, endpoint: Endpoint, walk: ProbeWalk, stream: Stream) -> int:
        """Where a walk reads on: at first where the lowest cursor of the endpoint begins."""
        scan = walk.scans[stream.index]
        if scan is None:
            begins = (cursor.next for _, cursor in self._cursors(endpoint, stream))
            scan = walk.scans[stream.index] = walk.begins[stream.index] = min(begins, default=stream.position)
        return scan

    def _cursors(self, endpoint: Endpoint, stream: Stream) -> list[tuple[TrackedHook, Cursor]]:
        return [
            (hook, cursor)
            for hook in endpoint.hooks.values()
            if not hook.held
            for cursor in hook.backlogs[stream.index].cursors()
        ]
