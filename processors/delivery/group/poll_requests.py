"""What the event loop asks of the poll thread, and what it may know of it: the only object that both threads use."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeAlias

from confluent_kafka import TopicPartition

Committed: TypeAlias = Callable[[str | None], None]
"""Called in the poll thread with why a commit failed, or None."""


class PollRequests:
    """Any thread may read it; `commit`, `drain`, `finish` and `end` belong to the event loop's thread."""

    def __init__(self) -> None:
        """Nothing is asked."""
        self.beat = time.monotonic()
        """When the poll thread last showed that it lives."""
        self.expired = 0
        """Offsets that retention deleted before they were read."""
        self.commits: SimpleQueue[tuple[list[TopicPartition], Committed]] = SimpleQueue()
        self.last_commits: list[TopicPartition] = []
        self.draining = threading.Event()
        self.finishing = threading.Event()

    def commit(self, offsets: list[TopicPartition], committed: Committed) -> None:
        """Commit in one request; wait for the answer before the next."""
        self.commits.put((offsets, committed))

    def drain(self) -> None:
        """Hand over nothing more, but stay in the group."""
        self.draining.set()

    def finish(self, commits: list[TopicPartition]) -> None:
        """Commit this, leave the group, end."""
        self.last_commits = commits
        self.end()

    def end(self) -> None:
        """Leave the group, end."""
        self.draining.set()
        self.finishing.set()
