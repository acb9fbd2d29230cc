"""Serving what is owed: which part of the log to read next, what to do with it, and the way back into the window.

The worker's reader asks `plan` where to read and gives what it read to `feed`. Cursors that are catching up buffer what
they owe; cursors whose records grow too old give them to the dead letters; quarantined endpoints find the heads of
their lanes, to probe with. Hand-over to the main lane is decided in one turn, for a whole group (rule R5).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from hookstream.schemas.delivery import DeadLetterReason, Delivery

from .isolation import Isolation
from .ledger import Ledger, Standing, Stream
from .model import LIVE, REPLAY, Cursor, Endpoint, Pending, TrackedHook
from .policy import EnginePolicy


class OwedRecord(NamedTuple):
    """A record as the reader hands it over: undecoded, because most are of clients that owe nothing."""

    offset: int
    key: bytes
    value: bytes
    traceparent: bytes | None = None


class Scanner(NamedTuple):
    """A cursor that wants the log read from its `scan` on. `expiring`: only as far as records are too old to keep."""

    hook: TrackedHook
    cursor: Cursor
    expiring: bool


class CatchUp:
    """What one partition does about its cursors."""

    def __init__(
        self,
        ledger: Ledger,
        isolation: Isolation,
        *,
        decode: Callable[[bytes], Delivery],
    ) -> None:
        """Work on a ledger; `decode` reads a record's value."""
        self._ledger = ledger
        self._policy: EnginePolicy = ledger.policy
        self._decode = decode
        self._isolation = isolation

    # -- what to read --------------------------------------------------------------------------------------------

    def plan(self, stream: Stream, *, at: int | None = None, near: bool | None = None) -> int | None:
        """Return the offset to read next, or None if no cursor wants anything read.

        `at` is where the reader stands: it goes on there if somebody wants it. `near` asks for cursors within a window
        of the position (True) or only for the others (False), so that two readers share the work.
        """
        best: tuple[float, int] | None = None
        edge = stream.position - self._policy.window_records
        for scan, unserved_since in self._wanted(stream):
            if scan == at:
                return at
            if near is not None and near is not (scan >= edge):
                continue
            if best is None or (unserved_since, scan) < best:
                best = (unserved_since, scan)
        return None if best is None else best[1]

    def _wanted(self, stream: Stream) -> Iterable[tuple[int, float]]:
        for scanner in self._scanners(stream):
            yield scanner.cursor.scan, scanner.cursor.unserved_since
        for endpoint in self._walkers(stream):
            scan = self._walk_scan(endpoint, stream)
            if scan < stream.position:  # what waits behind the log's end would keep the reader from everybody else
                yield scan, endpoint.health.probe_at

    def _scanners(self, stream: Stream) -> Iterable[Scanner]:
        """Cursors that want the log read: catching up with room in the buffer, or too old."""
        if not stream.owing:
            return
        for hook in stream.owing.values():
            for cursor in hook.backlogs[stream.index].cursors():
                if cursor.scan >= stream.position:
                    continue
                if self._catching_up(stream, hook, cursor):
                    if 2 * len(cursor.buffer) <= self._capacity(cursor):
                        yield Scanner(hook, cursor, expiring=False)
                elif (cursor.suspect or self._too_old(hook, cursor.oldest_ms)) and (
                    len(cursor.buffer) < self._capacity(cursor)
                ):
                    yield Scanner(hook, cursor, expiring=True)

    def _catching_up(self, stream: Stream, hook: TrackedHook, cursor: Cursor) -> bool:
        """Whether a cursor's records may be sent now, or soon."""
        ledger = self._ledger
        if ledger.held(hook):
            return False
        endpoint = hook.endpoint
        if endpoint is None or endpoint.health.waits(ledger.now):
            return False
        if cursor.resource is not None:
            clock = hook.backlogs[stream.index].clocks.get(cursor.resource)
            if clock is not None and clock.due - ledger.now > self._policy.near_s:
                return False
        return True

    def _leaves(self, hook: TrackedHook, delivery: Delivery) -> DeadLetterReason | None:
        """Why a record goes to the dead letters unsent, None if it does not."""
        if self._expires(delivery.owed_since_ms):
            return DeadLetterReason.EXPIRED
        if hook.endpoint is not None and hook.endpoint.health.skips(delivery):
            return DeadLetterReason.SKIPPED
        return None

    def _expires(self, since_ms: int) -> bool:
        return self._ledger.wall_ms - since_ms > self._policy.expire_after_s * 1000

    def _too_old(self, hook: TrackedHook, oldest_ms: int) -> bool:
        """Whether the first record that a cursor owes is too old to be kept, or was skipped with all before a time."""
        if not oldest_ms:
            return False
        skip_before_ms = 0 if hook.endpoint is None else hook.endpoint.health.skip_before_ms
        return self._expires(oldest_ms) or oldest_ms < skip_before_ms

    def _capacity(self, cursor: Cursor) -> int:
        return self._policy.buffer_records if cursor.resource is None else self._policy.resource_buffer_records

    # -- what was read -------------------------------------------------------------------------------------------

    def feed(self, stream: Stream, start: int, end: int, records: Sequence[OwedRecord]) -> None:
        """Take what the log holds in [start, end): every record there, in order; gaps are offsets that do not exist."""
        reading = _Reading(self, stream, start, end)
        if reading.clients:
            for record in records:
                if record.key in reading.clients:
                    reading.take(record.offset, self._decode(record.value))
        reading.finish()

    def meet(self) -> None:
        """Let cursors that are close to the position read what the main lane has just read, then hand over who can.

        Without it a cursor would trail a busy main lane for ever by what a read of the log takes.
        """
        for stream in self._ledger.streams:
            if not stream.owing:
                continue
            tail_start, position = stream.tail_start, stream.position
            if any(tail_start <= scan for scan, _ in self._wanted(stream)):
                reading = _Reading(self, stream, tail_start, position)
                for offset, delivery in stream.tail:
                    if delivery.key in reading.clients:
                        reading.take(offset, delivery)
                reading.finish()
        self.end_walks()
        if self._ledger.touched:
            touched, self._ledger.touched = self._ledger.touched, {}
            for stream in self._ledger.streams:
                if stream.owing or any(endpoint.behind[stream.index] for endpoint in touched):
                    for endpoint in touched:
                        self._hand_over(stream, endpoint)

    def lose_below(self, stream: Stream, low: int) -> int:
        """Retention passed a cursor: go on at the low watermark; return how many offsets may have been lost."""
        lost = 0
        for hook in list(stream.owing.values()):
            for cursor in hook.backlogs[stream.index].cursors():
                if cursor.scan < low:
                    lost += low - cursor.scan
                    cursor.scan = low
                    cursor.trim()
                    self._ledger.changes += 1
                    if hook.endpoint is not None:  # what it owed may be gone whole
                        self._ledger.touched[hook.endpoint] = None
        for endpoint in self._walkers(stream):
            endpoint.probe.scans[stream.index] = max(self._walk_scan(endpoint, stream), low)
        return lost

    # -- probes --------------------------------------------------------------------------------------------------

    def _walkers(self, stream: Stream) -> Iterable[Endpoint]:
        for endpoint in self._ledger.probing_endpoints:
            walk = endpoint.probe
            if walk.wanted and walk.stream == stream.index:
                yield endpoint

    def _walk_scan(self, endpoint: Endpoint, stream: Stream) -> int:
        """Where the walk goes on; a walk that has reached the position is done with this stream."""
        walk = endpoint.probe
        scan = walk.scans[stream.index]
        if scan is None:
            owed = self._owing_cursors(endpoint, stream)
            scan = walk.scans[stream.index] = min((cursor.next for _, cursor in owed), default=stream.position)
        return scan

    def _owing_cursors(self, endpoint: Endpoint, stream: Stream) -> list[tuple[TrackedHook, Cursor]]:
        return [
            (hook, cursor)
            for hook in endpoint.hooks.values()
            if not self._ledger.held(hook)
            for cursor in hook.backlogs[stream.index].cursors()
        ]

    def end_walks(self) -> None:
        """Finish the readings that have reached the position of both logs."""
        ledger = self._ledger
        for endpoint in list(ledger.probing_endpoints):
            walk = endpoint.probe
            while walk.wanted and self._walk_scan(endpoint, ledger.streams[walk.stream]) >= (
                ledger.streams[walk.stream].position
            ):
                if walk.stream == LIVE:
                    walk.stream = REPLAY
                elif walk.fresh or (walk.heads and not walk.replaced):
                    self.offer_probe(endpoint)
                elif walk.replaced:
                    walk.begin_round()
                    walk.want()
                else:
                    self._end_fruitless_round(endpoint)

    def offer_probe(self, endpoint: Endpoint) -> None:
        """End a reading of a walk: there is something to probe with."""
        endpoint.probe.refresh()
        self._ledger.probing_endpoints.pop(endpoint, None)
        self._ledger.wake(endpoint)

    def _end_fruitless_round(self, endpoint: Endpoint) -> None:
        """A round found nothing to probe with. If it met nothing that is owed at all, the cursors go with it."""
        ledger, walk = self._ledger, endpoint.probe
        rereading = any(stream.position < stream.reread.end for stream in ledger.streams)
        if not (walk.found or endpoint.in_flight or rereading):
            for stream in ledger.streams:
                for hook, cursor in self._owing_cursors(endpoint, stream):
                    ledger.rewind_cursor(cursor)
                    ledger.drop_cursor(hook, stream, cursor)
        else:
            if walk.burying:  # in a moment the next of its lane is the head
                endpoint.health.look_again(ledger.now)
            else:
                endpoint.health.probed(ledger.now)
            self._isolation.await_probe(endpoint)
        walk.restart()
        ledger.probing_endpoints.pop(endpoint, None)

    # -- hand-over -----------------------------------------------------------------------------------------------

    def _hand_over(self, stream: Stream, endpoint: Endpoint) -> None:
        """Move cursors that have met the main lane back into the window, group by group."""
        ledger, index = self._ledger, stream.index
        if endpoint.health.waits(ledger.now) or stream.position < stream.reread.end:
            return
        for group in self._hook_groups(stream, endpoint):
            cursors = [hook.backlogs[index].cursor for hook in group]
            if self._meets(stream, cursors) and not self._awaits_table(stream, cursors):
                for hook in group:
                    self._leave_exceptions(stream, endpoint, hook)
                    cursor = hook.backlogs[index].cursor
                    if cursor is not None:
                        ledger.reenter_window(stream, hook, cursor)
        if endpoint.behind[index] and not any(
            hook.backlogs[index].cursor is not None and not ledger.held(hook) for hook in endpoint.hooks.values()
        ):
            endpoint.behind[index] = False
            ledger.changes += 1
        if not endpoint.behind[index]:
            for resource, hooks in self._resource_groups(stream, endpoint).items():
                self._hand_over_resource(stream, resource, hooks)
        ledger.wake_lanes(endpoint)

    def _hook_groups(self, stream: Stream, endpoint: Endpoint) -> list[list[TrackedHook]]:
        """All hooks of an endpoint that is behind go together; otherwise each goes alone."""
        hooks = [
            hook
            for hook in endpoint.hooks.values()
            if hook.backlogs[stream.index].cursor is not None and not self._ledger.held(hook)
        ]
        if endpoint.behind[stream.index]:
            return [hooks] if hooks else []
        return [[hook] for hook in hooks]

    def _resource_groups(self, stream: Stream, endpoint: Endpoint) -> dict[str, list[TrackedHook]]:
        groups = defaultdict(list)
        for hook in endpoint.hooks.values():
            if not self._ledger.held(hook):
                for resource in hook.backlogs[stream.index].exceptions:
                    groups[resource].append(hook)
        return groups

    def _hand_over_resource(self, stream: Stream, resource: str, hooks: list[TrackedHook]) -> None:
        """Not while a hook of it has a cursor of its own, nor while its head has failed."""
        backlogs = [hook.backlogs[stream.index] for hook in hooks]
        for backlog in backlogs:
            failed = backlog.clock(resource).attempts and backlog.exceptions[resource].buffer
            if backlog.cursor is not None or failed:
                return
        if self._meets(stream, [backlog.exceptions[resource] for backlog in backlogs]):
            for hook, backlog in zip(hooks, backlogs, strict=True):
                self._ledger.reenter_window(stream, hook, backlog.exceptions[resource])

    def _meets(self, stream: Stream, cursors: Sequence[Cursor | None]) -> bool:
        """Whether a whole group has been read to the position, and what it buffers fits into the window."""
        position = stream.position
        found = [cursor for cursor in cursors if cursor is not None]
        lowest = min((cursor.next for cursor in found), default=position)
        return position - lowest < self._policy.window_records and all(cursor.scan >= position for cursor in found)

    def _awaits_table(self, stream: Stream, cursors: Sequence[Cursor | None]) -> bool:
        """Whether a record waits for a row that the table does not show: in the window it would hold the offset."""
        newest = (next(reversed(cursor.buffer.values()), None) for cursor in cursors if cursor is not None)
        return any(
            pending is not None and self._ledger.standing(pending.delivery, pending.hook, stream.index) is Standing.WAIT
            for pending in newest
        )

    def _leave_exceptions(self, stream: Stream, endpoint: Endpoint, hook: TrackedHook) -> None:
        """Records of a lane that is still behind another hook's resource cursor join one of their own."""
        cursor = hook.backlogs[stream.index].cursor
        if cursor is None:
            return
        for resource in sorted({pending.resource for pending in cursor.buffer.values()}):
            if self.lane_is_parked(stream, endpoint, resource):
                self._ledger.open_cursor(hook, stream, resource)

    def lane_is_parked(self, stream: Stream, endpoint: Endpoint, resource: str) -> bool:
        """Whether a hook of the endpoint that is served has a resource cursor for this lane."""
        return any(
            resource in hook.backlogs[stream.index].exceptions and not self._ledger.held(hook)
            for hook in endpoint.hooks.values()
        )


class _Reading:
    """One stretch [start, end) of the log on its way to the cursors and walks that want it."""

    def __init__(self, catch_up: CatchUp, stream: Stream, start: int, end: int) -> None:
        """Find who takes part: whoever's own place lies inside the stretch."""
        self._catch_up = catch_up
        self._ledger = catch_up._ledger  # noqa: SLF001 - one class in two
        self._policy = self._ledger.policy
        self._stream = stream
        self._end = min(end, stream.position)
        self.clients: set[bytes] = set()
        self._cursors: dict[int, Scanner] = {}  # by identity of the cursor
        for scanner in catch_up._scanners(stream):  # noqa: SLF001
            if start <= scanner.cursor.scan < self._end:
                self._cursors[id(scanner.cursor)] = scanner
                self.clients.add(b"%d" % scanner.hook.slot[0])
        self._joined = list(self._cursors.values())
        self._walks: dict[int, list[Endpoint]] = defaultdict(list)  # by client
        for endpoint in catch_up._walkers(stream):  # noqa: SLF001
            if start <= catch_up._walk_scan(endpoint, stream) < self._end:  # noqa: SLF001
                self._walks[endpoint.client_id].append(endpoint)
                self.clients.add(b"%d" % endpoint.client_id)

    def take(self, offset: int, delivery: Delivery) -> None:
        """Give one record to the cursor that owes it, and to its endpoint's walk."""
        stream = self._stream
        if offset >= self._end:
            return
        hook = self._ledger.hooks.get(delivery.hook_id)
        if hook is None:
            return
        resource = delivery.resource
        cursor = hook.backlogs[stream.index].owner(resource)
        if cursor is None or offset < cursor.next or offset in cursor.settled:
            return
        scanner = self._cursors.get(id(cursor))
        if scanner is not None and offset >= cursor.scan:
            self._buffer(scanner, offset, delivery)
        endpoint = hook.endpoint
        walks = self._walks.get(delivery.client)
        if walks and endpoint in walks and not self._ledger.held(hook):
            self._meet_head(endpoint, hook, offset, delivery, resource)

    def _buffer(self, scanner: Scanner, offset: int, delivery: Delivery) -> None:
        hook, cursor, expiring = scanner
        ledger, stream = self._ledger, self._stream
        catch_up = self._catch_up
        if len(cursor.buffer) >= catch_up._capacity(cursor):  # noqa: SLF001
            self._leave(cursor, offset)
            return
        standing = ledger.standing(delivery, hook, stream.index)
        if standing in (Standing.CANCELLED, Standing.SKIPPED) and offset not in stream.in_flight:
            ledger.count(standing)
            cursor.settle(offset)
            stream.dying.pop(offset, None)
            return
        leaves = None if offset in stream.in_flight else catch_up._leaves(hook, delivery)  # noqa: SLF001
        if expiring and leaves is None:
            cursor.suspect = False
            cursor.oldest_ms = delivery.owed_since_ms
            self._leave(cursor, offset)
            return
        pending = Pending(stream.index, offset, delivery, hook, 0, ledger.now)
        pending.in_window = False
        if not cursor.buffer:
            cursor.oldest_ms = delivery.owed_since_ms
        cursor.buffer[offset] = pending
        if hook.endpoint is not None and not ledger.held(hook):
            hook.endpoint.lane(pending.resource).add_to_buffer(pending)
        if leaves is not None:
            catch_up._isolation.bury(stream, pending, leaves)  # noqa: SLF001

    def _meet_head(self, endpoint: Endpoint, hook: TrackedHook, offset: int, delivery: Delivery, resource: str) -> None:
        """Note the head of a lane that this round of probes has not met yet."""
        walk = endpoint.probe
        scan = walk.scans[self._stream.index]
        if scan is None or offset < scan or resource in walk.seen:
            return
        if len(walk.fresh) >= self._policy.probe_candidates:
            self._walks[endpoint.client_id].remove(endpoint)
            walk.scans[self._stream.index] = offset
            self._catch_up.offer_probe(endpoint)
            return
        if len(walk.seen) >= self._policy.probe_resources:
            walk.seen.clear()
        standing = self._ledger.standing(delivery, hook, self._stream.index)
        if standing in (Standing.CANCELLED, Standing.SKIPPED):
            return
        walk.seen.add(resource)
        walk.found = True
        if offset in self._stream.dying:
            walk.burying = True
        elif standing is Standing.SEND:
            pending = Pending(self._stream.index, offset, delivery, hook, 0, self._ledger.now)
            pending.in_window = False
            walk.fresh.append(pending)

    def _leave(self, cursor: Cursor, offset: int) -> None:
        """A cursor stops here: its buffer is full, or what follows is kept."""
        cursor.scan = offset
        del self._cursors[id(cursor)]

    def finish(self) -> None:
        """Move everybody who is still taking part to the end of the stretch, and let their lanes have their turn."""
        ledger = self._ledger
        for scanner in self._cursors.values():
            scanner.cursor.scan = self._end
            scanner.cursor.trim()
        woken: dict[Endpoint, None] = {}
        for hook, cursor, _ in self._joined:
            cursor.unserved_since = ledger.now
            if hook.endpoint is not None:
                woken[hook.endpoint] = None
        for endpoints in self._walks.values():
            for endpoint in list(endpoints):
                endpoint.probe.scans[self._stream.index] = self._end
                if endpoint.probe.fresh and not endpoint.probe.heads:
                    self._catch_up.offer_probe(endpoint)
        for endpoint in woken:
            ledger.touched[endpoint] = None
            ledger.wake_lanes(endpoint)
        if self._joined:
            ledger.changes += 1
