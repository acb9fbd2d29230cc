"""Kafka's logs without Kafka, for what reads ranges of them: parts may be deleted, and ends may hold no record."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, Message, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Place = tuple[str, int]


@dataclass
class Logs:
    """One consumer of logs that a test writes; every topic has `partitions` of them.

    `now_s` is a clock: each call of `consume` that has nothing to give takes the whole of its time.
    """

    partitions: int = 1
    records: dict[Place, list[bytes]] = field(default_factory=dict)
    lows: dict[Place, int] = field(default_factory=dict)
    """The first offset that is not deleted."""
    hidden: dict[Place, int] = field(default_factory=dict)
    """From this offset on nothing is given (yet), though the bounds count it."""
    before_reading: Callable[[], None] = lambda: None
    """What happens between the question for the bounds and the first record."""
    at: dict[Place, int] = field(default_factory=dict)
    now_s: float = 1000.0
    assigned: list[dict[Place, int]] = field(default_factory=list)
    _ended: set[Place] = field(default_factory=set)

    def __call__(self) -> float:
        """Tell the time."""
        return self.now_s

    def made(self, _config: object) -> Logs:
        """Stand in for `make_consumer`."""
        return self

    def write(self, topic: str, *values: bytes, partition: int = 0) -> None:
        """Append records."""
        self.records.setdefault((topic, partition), []).extend(values)

    def list_topics(self, topic: str, timeout: float) -> Any:
        """Describe a topic."""
        del timeout
        found = SimpleNamespace(error=None, partitions=dict.fromkeys(range(self.partitions)))
        return SimpleNamespace(topics={topic: found})

    def get_watermark_offsets(self, asked: TopicPartition, timeout: float, *, cached: bool) -> tuple[int, int]:
        """Tell the bounds of a log."""
        del timeout, cached
        place = (asked.topic, asked.partition)
        return self.lows.get(place, 0), len(self.records.get(place, ()))

    def committed(self, partitions: Sequence[TopicPartition], timeout: float) -> Sequence[TopicPartition]:
        """Know of no commit."""
        del timeout
        return partitions

    def assign(self, places: Iterable[TopicPartition]) -> None:
        """Read these."""
        self.at = {}
        self.incremental_assign(places)

    def incremental_assign(self, places: Iterable[TopicPartition]) -> None:
        """Read these too."""
        starts = {(place.topic, place.partition): place.offset for place in places}
        self.assigned.append(starts)
        self.at |= starts
        self._ended -= starts.keys()

    def incremental_unassign(self, places: Iterable[TopicPartition]) -> None:
        """Read these no more."""
        for place in places:
            del self.at[place.topic, place.partition]

    def unassign(self) -> None:
        """Read nothing."""
        self.at = {}

    def close(self) -> None:
        """Nothing to close."""

    def consume(self, count: int, timeout: float) -> list[Message]:
        """Give what follows in each log, its end once, and an error where a position was deleted."""
        before, self.before_reading = self.before_reading, lambda: None
        before()
        found = [message for place in list(self.at) for message in self._next(place, count)]
        if not found:
            self.now_s += timeout
        return found

    def _next(self, place: Place, count: int) -> list[Message]:
        log, at = self.records.get(place, []), self.at[place]
        if not self.lows.get(place, 0) <= at <= len(log):
            return [_error(place, at, KafkaError._AUTO_OFFSET_RESET)]
        readable = min(len(log), self.hidden.get(place, len(log)))
        end = min(readable, at + count)
        self.at[place] = end
        found = [_record(place, offset, log[offset]) for offset in range(at, end)]
        if end >= readable and place not in self._ended:
            self._ended.add(place)
            found.append(_error(place, end, KafkaError._PARTITION_EOF))
        return found


def _record(place: Place, offset: int, value: bytes) -> Message:
    return Message(topic=place[0], partition=place[1], offset=offset, key=b"9999", value=value, timestamp=(1, 5))


def _error(place: Place, offset: int, code: int) -> Message:
    return Message(topic=place[0], partition=place[1], offset=offset, error=KafkaError(code))
