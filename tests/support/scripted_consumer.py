"""A Kafka consumer that gives what a test wrote down, for readers whose client is made by their module."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterable


def record(value: bytes | None, *, topic: str = "t", partition: int = 0, offset: int = 0, key: bytes = b"k") -> Message:
    """Make a record as it is read."""
    return Message(topic=topic, partition=partition, offset=offset, key=key, value=value)


@dataclass
class ScriptedConsumer:
    """`batches` are what is read, one after the other; `commits` say whether each commit is taken: an error, or None.

    The topic has one partition, which holds `end` records.
    """

    batches: deque[list[Message]] = field(default_factory=deque)
    commits: deque[KafkaError | None] = field(default_factory=deque)
    end: int = 0
    committed: list[list[tuple[int, int]]] = field(default_factory=list)
    """(partition, offset) of each commit that was asked for."""
    closed: bool = False
    _rest: list[Message] = field(default_factory=list)

    def consume(self, count: int, _timeout_s: float) -> list[Message]:
        """Give the next batch: its first record, then the others."""
        if not self._rest:
            if count > 1 or not self.batches:
                return []
            self._rest = self.batches.popleft()
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    def commit(self, *, offsets: Iterable[TopicPartition], asynchronous: bool) -> list[TopicPartition]:
        """Take a commit, or refuse it whole by raising, as the real one does where the group says no."""
        assert not asynchronous
        asked = list(offsets)
        self.committed.append([(tp.partition, tp.offset) for tp in asked])
        error = self.commits.popleft() if self.commits else None
        if error is not None:
            raise KafkaException(error)
        return asked

    def subscribe(self, _topics: list[str], **_callbacks: object) -> None:
        """Join nothing."""

    def assign(self, _partitions: list[TopicPartition]) -> None:
        """Read from the first record on, whatever is asked for."""

    def incremental_unassign(self, _partitions: list[TopicPartition]) -> None:
        """Leave nothing."""

    def list_topics(self, topic: str, *, timeout: float) -> SimpleNamespace:
        """Describe the topic."""
        del timeout
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions={0: None})})

    def get_watermark_offsets(self, _tp: TopicPartition, *, timeout: float, cached: bool) -> tuple[int, int]:
        """Tell the first offset, and the one after the last."""
        del timeout, cached
        return 0, self.end

    def close(self) -> None:
        """Note it."""
        self.closed = True
