"""One log of a partition, live or replay: how far it was read, and what of it is not settled."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from hookstream.schemas.delivery import DeadLetterReason, Delivery

from .model import Cursor, Pending, Post, StreamIndex, TrackedHook
from .tracker import OffsetTracker, SettledSet


class Stream:
    """One log of the partition: what was read of it and is not settled, and what a restored commit said."""

    __slots__ = (
        "bytes",
        "dead_letters_pending",
        "hooks_with_cursor",
        "in_flight",
        "index",
        "restored_settled",
        "restored_to",
        "tail",
        "tail_bytes",
        "tail_start",
        "tracker",
        "unsettled",
    )

    def __init__(self, index: StreamIndex, position: int, restored_settled: SettledSet) -> None:
        """Start reading at `position`; what the restored commit calls settled may be pending from a cursor."""
        self.index = index
        self.tracker = OffsetTracker(position)
        self.restored_settled = restored_settled
        self.restored_to: int | None = restored_settled.end  # of it and its cursors; None once that is read again
        self.unsettled: dict[int, Pending] = {}
        self.bytes = 0
        self.in_flight: dict[int, Post] = {}
        self.dead_letters_pending: dict[int, DeadLetterReason] = {}  # dead letters produced, not acknowledged
        self.hooks_with_cursor: dict[int, TrackedHook] = {}
        self.tail: deque[tuple[int, Delivery]] = deque()
        self.tail_start = position
        self.tail_bytes = 0

    @property
    def position(self) -> int:
        """The next offset that the live reading reads."""
        return self.tracker.position

    @property
    def oldest(self) -> Pending | None:
        """The lowest unsettled record of the window, None if all that was read is settled."""
        return self.unsettled.get(self.tracker.base)

    @property
    def span(self) -> int:
        """How many offsets lie between the lowest unsettled one and the position."""
        return self.tracker.position - self.tracker.base

    def open_cursors(self) -> Iterator[tuple[TrackedHook, Cursor]]:
        """Every cursor, with its hook."""
        for hook in self.hooks_with_cursor.values():
            for cursor in hook.backlogs[self.index].cursors():
                yield hook, cursor

    def oldest_pending_ms(self) -> int | None:
        """Since when the oldest delivery of the window and of all cursors is pending, None if none is known."""
        oldest = self.oldest
        found = [] if oldest is None else [oldest.delivery.owed_since_ms]
        for _, cursor in self.open_cursors():
            if cursor.buffer:
                found.append(next(iter(cursor.buffer.values())).delivery.owed_since_ms)
            elif cursor.scan < self.position and cursor.oldest_ms:
                found.append(cursor.oldest_ms)
        return min(found, default=None)

    def settled_above(self) -> tuple[int, bytes]:
        """The lowest unsettled offset and what is settled above it, as a commit says it.

        What the restored commit calls settled stays so until it is read again: a partition may be given away before
        that, and the next owner must not deliver those records twice.
        """
        restored = self.restored_settled
        return self.tracker.settled_above(restored if self.position < restored.end else None)

    def remember_tail(self, offset: int, delivery: Delivery, most: int, most_bytes: int) -> None:
        """Keep what the live reading has just read for the cursors that are about to rejoin it."""
        self.tail.append((offset, delivery))
        self.tail_bytes += len(delivery.body)
        while len(self.tail) > most or self.tail_bytes > most_bytes:
            first, dropped = self.tail.popleft()
            self.tail_bytes -= len(dropped.body)
            self.tail_start = first + 1
