"""Records on their way from the poll thread to the event loop, and how many of them may wait. Sans-I/O.

While more records wait than the loop takes in half a second, nothing is consumed. If that lasts, the partitions that
hold most of them are paused, so that the others' records arrive: pausing throws away what librdkafka has fetched, so it
is for a partition that stands still and not for one that flows. What waits in a paused partition delays no other, as
long as there is memory for it; beyond that, others are paused as soon as they hold a little.

A partition that is nearly empty is resumed whatever the others hold: it may have been paused with records that the loop
was about to take.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from hookstream.processors.delivery.checkpoints.partition_lookup import PartitionStarting
from hookstream.processors.kafka import TopicPartitionKey

if TYPE_CHECKING:
    from confluent_kafka import Message

MAX_WAITING_RECORDS = 10_000
MAX_WAITING_BYTES = 16 * 1024 * 1024
PAUSE_AFTER_S = 0.5


class Inbox:
    """Records of one partition of one topic: the poll thread appends, the loop takes, each writes its own counts."""

    __slots__ = ("given", "given_bytes", "messages", "taken", "taken_bytes")

    def __init__(self) -> None:
        """Start empty."""
        self.messages: deque[Message] = deque()
        self.given = self.given_bytes = 0
        self.taken = self.taken_bytes = 0

    @property
    def waiting(self) -> int:
        """Records that the loop has not taken."""
        return self.given - self.taken

    @property
    def waiting_bytes(self) -> int:
        """Bytes of them."""
        return self.given_bytes - self.taken_bytes


class AssignedPartition(NamedTuple):
    """A partition that the group gave to this worker: where it starts, and the inboxes of live and replay."""

    starting: PartitionStarting
    inboxes: tuple[Inbox, Inbox]


class Inboxes(dict[TopicPartitionKey, Inbox]):
    """Every inbox of the process, and the decision what to read. Belongs to the poll thread."""

    def __init__(self) -> None:
        super().__init__()
        self.paused: set[TopicPartitionKey] = set()
        self._full_since = 0.0

    def full(self, now: float) -> bool:
        """Whether nothing more should be consumed now."""
        records = size = paused_records = paused_size = 0
        for key, inbox in self.items():
            if key in self.paused:
                paused_records += inbox.waiting
                paused_size += inbox.waiting_bytes
            else:
                records += inbox.waiting
                size += inbox.waiting_bytes
        full = (
            records + max(0, paused_records - MAX_WAITING_RECORDS) >= MAX_WAITING_RECORDS
            or size + max(0, paused_size - MAX_WAITING_BYTES) >= MAX_WAITING_BYTES
        )
        if not full:
            self._full_since = 0.0
        elif not self._full_since:
            self._full_since = now
        return full

    def to_pause(self, now: float) -> set[TopicPartitionKey] | None:
        """While full: what to pause before reading on; None while it is too early for that."""
        if now - self._full_since < PAUSE_AFTER_S:
            return None
        return {key for key in self if key not in self.paused and not self._holds_less(key, parts=2)}

    def to_resume(self) -> set[TopicPartitionKey]:
        """What was paused and is nearly empty."""
        return {key for key in self.paused if key in self and self._holds_less(key, parts=16)}

    def _holds_less(self, key: TopicPartitionKey, *, parts: int) -> bool:
        """Whether a partition holds less than its part of what all may hold, divided by `parts`."""
        inbox, divisor = self[key], parts * len(self)
        few = inbox.waiting < max(1, MAX_WAITING_RECORDS // divisor)
        return few and inbox.waiting_bytes < max(1, MAX_WAITING_BYTES // divisor)

    def drop(self, key: TopicPartitionKey) -> bool:
        """Forget an inbox; says whether there was one."""
        self.paused.discard(key)
        return self.pop(key, None) is not None
