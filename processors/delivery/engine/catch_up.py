"""Catch-up: which part of the log to read again for pending deliveries, and who gets what was read.

The worker's reader asks `plan` where to read and gives what it read to `feed`. Cursors that are catching up buffer what
is pending from them; cursors whose records grow too old give them to the dead letters; the probes of quarantined
endpoints find the heads of lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from hookstream.schemas.delivery import Delivery

from .cursor_scans import CursorScans, Stretch
from .isolation import Isolation
from .ledger import Ledger
from .probes import Probes
from .stream import Stream


class BacklogRecord(NamedTuple):
    """A record as the reader gives it: undecoded, because most are of clients without a backlog."""

    offset: int
    key: bytes
    value: bytes
    traceparent: bytes | None = None


class CatchUp:
    """What one partition reads again."""

    def __init__(
        self, ledger: Ledger, isolation: Isolation, probes: Probes, *, decode: Callable[[bytes], Delivery]
    ) -> None:
        """Work on a ledger; `decode` reads a record's value."""
        self._ledger = ledger
        self._isolation = isolation
        self._probes = probes
        self._scans = CursorScans(ledger)
        self._decode = decode

    def plan(self, stream: Stream, *, at: int | None = None, near: bool | None = None) -> int | None:
        """Return the offset to read next, or None if no cursor wants anything read.

        `at` is where the reader stands: it goes on there if that is wanted. `near` asks for cursors within a window
        of the position (True) or only for the others (False), so that two readers share the work.
        """
        best: tuple[float, int] | None = None
        edge = stream.position - self._ledger.policy.window_records
        for scan, unserved_since in self._wanted(stream):
            if scan == at:
                return at
            if near is not None and near is not (scan >= edge):
                continue
            if best is None or (unserved_since, scan) < best:
                best = (unserved_since, scan)
        return None if best is None else best[1]

    def feed(self, stream: Stream, start: int, end: int, records: Sequence[BacklogRecord]) -> None:
        """Take what the log holds in [start, end): every record there, in order; gaps are offsets that do not exist."""
        stretch = self._stretch(stream, start, end)
        if stretch.clients:
            for record in records:
                if record.key in stretch.clients:
                    stretch.take(record.offset, self._decode(record.value))
        stretch.finish()

    def read_tails(self) -> None:
        """Give cursors that are close to the position what the live reading has just read.

        Or a cursor would stay behind a busy live reading for ever, by the time that a read of the log takes.
        """
        for stream in self._ledger.streams:
            if not stream.hooks_with_cursor:
                continue
            tail_start, position = stream.tail_start, stream.position
            if any(tail_start <= scan for scan, _ in self._wanted(stream)):
                stretch = self._stretch(stream, tail_start, position)
                for offset, delivery in stream.tail:
                    if delivery.key in stretch.clients:
                        stretch.take(offset, delivery)
                stretch.finish()

    def lose_below(self, stream: Stream, low: int) -> int:
        """Retention passed a cursor: go on at the low watermark; return how many offsets may have been lost."""
        lost = 0
        for hook, cursor in stream.open_cursors():
            if cursor.scan < low:
                lost += low - cursor.scan
                cursor.scan = low
                cursor.trim()
                self._ledger.changes += 1
                if hook.endpoint is not None:  # its whole backlog may be gone, and what waited behind it goes on
                    self._ledger.go_on(hook.endpoint)
        self._probes.lose_below(stream, low)
        return lost

    def _wanted(self, stream: Stream) -> Iterator[tuple[int, float]]:
        """Where the log is wanted, and since when."""
        for scanner in self._scans.scanners(stream):
            yield scanner.cursor.scan, scanner.cursor.unserved_since
        yield from self._probes.wanted(stream)

    def _stretch(self, stream: Stream, start: int, end: int) -> Stretch:
        return Stretch(self._ledger, self._scans, self._probes, self._isolation, stream, start=start, end=end)
