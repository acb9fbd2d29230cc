"""Backlog cursors that want the log read again: which ones, how far, and what becomes of each record they find."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from hookstream.schemas.delivery import DeadLetterReason, Delivery

from .hook_table import Standing
from .isolation import Isolation
from .ledger import Ledger
from .model import Cursor, Endpoint, Pending, TrackedHook
from .probes import Probes
from .stream import Stream


class Scanner(NamedTuple):
    """A cursor that wants the log read from its `scan` on. `expiring`: only as far as records are too old to keep."""

    hook: TrackedHook
    cursor: Cursor
    expiring: bool


class CursorScans:
    """The rules of reading for cursors, on one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        """Work on a ledger."""
        self._ledger = ledger
        self._policy = ledger.policy

    def scanners(self, stream: Stream) -> Iterator[Scanner]:
        """Cursors that want the log read: catching up with room in the buffer, or too old."""
        position = stream.position
        for hook, cursor in stream.open_cursors():
            if cursor.scan >= position:
                continue
            if self._catching_up(stream, hook, cursor):
                if 2 * len(cursor.buffer) <= self._capacity(cursor):
                    yield Scanner(hook, cursor, expiring=False)
            elif (cursor.first_may_be_skipped or self._too_old(hook, cursor.oldest_ms)) and self.has_room(cursor):
                yield Scanner(hook, cursor, expiring=True)

    def has_room(self, cursor: Cursor) -> bool:
        """Whether a cursor's buffer takes one more record."""
        return len(cursor.buffer) < self._capacity(cursor)

    def why_dead(self, hook: TrackedHook, delivery: Delivery) -> DeadLetterReason | None:
        """Why a record goes to the dead letters unsent, None if it does not."""
        if self._expires(delivery.owed_since_ms):
            return DeadLetterReason.EXPIRED
        if hook.endpoint is not None and hook.endpoint.skips.covers(delivery):
            return DeadLetterReason.SKIPPED
        return None

    def _catching_up(self, stream: Stream, hook: TrackedHook, cursor: Cursor) -> bool:
        """Whether a cursor's records may be sent now, or soon."""
        ledger = self._ledger
        if hook.held:
            return False
        endpoint = hook.endpoint
        if endpoint is None or endpoint.health.waits(ledger.now):
            return False
        if cursor.resource is not None:
            clock = hook.backlogs[stream.index].clocks.get(cursor.resource)
            if clock is not None and clock.due - ledger.now > self._policy.retry_in_window_s:
                return False
        return True

    def _too_old(self, hook: TrackedHook, oldest_ms: int) -> bool:
        """Whether the first pending record of a cursor is too old to be kept, or was skipped with all before a time."""
        if not oldest_ms:
            return False
        skip_before_ms = 0 if hook.endpoint is None else hook.endpoint.skips.drained_before_ms
        return self._expires(oldest_ms) or oldest_ms < skip_before_ms

    def _expires(self, since_ms: int) -> bool:
        return self._ledger.wall_ms - since_ms > self._policy.expire_after_s * 1000

    def _capacity(self, cursor: Cursor) -> int:
        """How many records a cursor's buffer takes: fewer of large bodies, by the last one that it took."""
        policy = self._policy
        records = policy.buffer_records if cursor.resource is None else policy.resource_buffer_records
        last = next(reversed(cursor.buffer.values()), None)
        if last is None or not last.delivery.body:
            return records
        return min(records, max(1, policy.buffer_bytes // len(last.delivery.body)))


class Stretch:
    """One stretch [start, end) of the log on its way to the cursors and probes that want it."""

    def __init__(
        self,
        ledger: Ledger,
        scans: CursorScans,
        probes: Probes,
        isolation: Isolation,
        stream: Stream,
        *,
        start: int,
        end: int,
    ) -> None:
        """Find the cursors and probes that take part: those whose own offset lies inside the stretch."""
        self._ledger = ledger
        self._scans = scans
        self._probes = probes
        self._isolation = isolation
        self._stream = stream
        self._end = min(end, stream.position)
        self.clients: set[bytes] = set()
        """The keys of the records that are wanted."""
        self._scanners: dict[int, Scanner] = {}  # by identity of the cursor
        for scanner in scans.scanners(stream):
            if start <= scanner.cursor.scan < self._end:
                self._scanners[id(scanner.cursor)] = scanner
                self.clients.add(scanner.hook.subscription_key[0].encode())
        self._joined = list(self._scanners.values())
        self._probed: dict[str, list[Endpoint]] = defaultdict(list)  # by client
        for endpoint in probes.reading(stream, start, self._end):
            self._probed[endpoint.client_id].append(endpoint)
            self.clients.add(endpoint.client_id.encode())

    def take(self, offset: int, delivery: Delivery) -> None:
        """Give one record to the cursor that it is pending from, and to the probes of its endpoint."""
        stream = self._stream
        if offset >= self._end:
            return
        hook = self._ledger.tracked.hooks.get(delivery.hook_id)
        if hook is None:
            return
        cursor = hook.backlogs[stream.index].cursor_for(delivery.resource)
        if cursor is None or offset < cursor.next or offset in cursor.settled:
            return
        scanner = self._scanners.get(id(cursor))
        if scanner is not None and offset >= cursor.scan:
            self._buffer(scanner, offset, delivery)
        endpoint = hook.endpoint
        probed = self._probed.get(delivery.client)
        if (
            probed
            and endpoint in probed
            and not hook.held
            and not self._probes.take(stream, endpoint, hook, offset, delivery)
        ):
            probed.remove(endpoint)

    def _buffer(self, scanner: Scanner, offset: int, delivery: Delivery) -> None:
        hook, cursor, expiring = scanner
        ledger, stream = self._ledger, self._stream
        if not self._scans.has_room(cursor):
            self._stop(cursor, offset)
            return
        standing = ledger.standing(delivery, hook, stream.index)
        if standing in (Standing.CANCELLED, Standing.BEFORE_START) and offset not in stream.in_flight:
            ledger.count(standing)
            ledger.settle_unbuffered(stream, offset, hook, cursor, delivery.resource)
            stream.dead_letters_pending.pop(offset, None)
            return
        reason = None if offset in stream.in_flight else self._scans.why_dead(hook, delivery)
        if expiring and reason is None:
            cursor.first_may_be_skipped = False
            cursor.oldest_ms = delivery.owed_since_ms
            self._stop(cursor, offset)
            return
        pending = Pending(stream.index, offset, delivery, hook, 0, ledger.now)
        pending.in_window = False
        if not cursor.buffer:
            cursor.oldest_ms = delivery.owed_since_ms
        cursor.buffer[offset] = pending
        if hook.endpoint is not None and not hook.held:
            hook.endpoint.lane(pending.resource).add_to_buffer(pending)
        if reason is not None:
            self._isolation.dead_letter(stream, pending, reason)

    def _stop(self, cursor: Cursor, offset: int) -> None:
        """A cursor stops here: its buffer is full, or what follows is kept."""
        cursor.scan = offset
        del self._scanners[id(cursor)]

    def finish(self) -> None:
        """Move what still takes part to the end of the stretch, and let its lanes have their turn."""
        ledger = self._ledger
        for scanner in self._scanners.values():
            scanner.cursor.scan = self._end
            scanner.cursor.trim()
        woken: dict[Endpoint, None] = {}
        for hook, cursor, _ in self._joined:
            cursor.unserved_since = ledger.now
            if hook.endpoint is not None:
                woken[hook.endpoint] = None
        for endpoints in self._probed.values():
            self._probes.read_to(self._stream, endpoints, self._end)
        for endpoint in woken:
            ledger.touched[endpoint] = None
            ledger.ready.wake_lanes(endpoint)
        if self._joined:
            ledger.changes += 1
