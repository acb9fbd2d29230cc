"""One log of a partition, live or replay: how far it was read, and what of it is not settled."""

from __future__ import annotations

from collections import deque

from hookstream.schemas.delivery import DeadLetterReason, Delivery

from .model import Pending, Post, StreamIndex, TrackedHook
from .tracker import OffsetTracker, SettledSet


class Stream:
    """One log of the partition: what was read of it and is not settled, and what a restored commit said."""

    __slots__ = (
        "bytes",
        "cursors",
        "dying",
        "in_flight",
        "index",
        "owing",
        "reread",
        "tail",
        "tail_start",
        "tracker",
        "unsettled",
    )

    def __init__(self, index: StreamIndex, position: int, reread: SettledSet) -> None:
        """Start reading at `position`; below `reread.end`, "settled" may mean "owed by a cursor"."""
        self.index = index
        self.tracker = OffsetTracker(position)
        self.reread = reread
        self.unsettled: dict[int, Pending] = {}
        self.bytes = 0
        self.in_flight: dict[int, Post] = {}
        self.dying: dict[int, DeadLetterReason] = {}  # dead letters produced, not acknowledged
        self.owing: dict[int, TrackedHook] = {}  # hooks that have a cursor here
        self.cursors = 0
        self.tail: deque[tuple[int, Delivery]] = deque()
        self.tail_start = position

    @property
    def position(self) -> int:
        """The next offset the main lane reads."""
        return self.tracker.position

    def settled_above(self) -> tuple[int, bytes]:
        """The lowest unsettled offset and what is settled above it, as a commit says it.

        What the restored commit said counts until it is re-read: a partition that is given away again before that must
        not be delivered twice.
        """
        return self.tracker.settled_above(self.reread if self.position < self.reread.end else None)

    def remember_tail(self, offset: int, delivery: Delivery, most: int) -> None:
        """Keep what the main lane has just read for the cursors that are about to meet it."""
        self.tail.append((offset, delivery))
        if len(self.tail) > most:
            self.tail_start = self.tail.popleft()[0] + 1
