"""A compacted topic in one process, with producers and consumers in place of Kafka's, for the worlds of relays.

Of a batch the broker stores all, some or nothing, and says so, or does not; what a producer gave up may be stored late.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, KafkaException, Message

from hookstream.producers.murmur2 import partition_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from tests.support.simulated_processes import SimulatedProcess

_DAY_S = 86_400.0
_FATES = ("stored",) * 9 + ("some", "silent", "refused", "away", "duplicate")
_ANY_PARTITION = -1
_NO_OFFSET = -1001


@dataclass
class SimulatedTopic:
    """What is in the topic, and what a producer has given up and the broker may store still."""

    name: str
    partitions: int = 1
    records: list[Message] = field(default_factory=list)
    """What compaction has left, in the order in which it was stored."""
    ends: list[int] = field(default_factory=list)
    """By partition: the offset of the next record."""
    late: deque[tuple[int, bytes, bytes | None]] = field(default_factory=deque)
    """Partition, key and value."""

    def __post_init__(self) -> None:
        self.ends = [0] * self.partitions

    def append(self, partition: int, key: bytes, value: bytes | None, *, at_s: float) -> Message:
        """Store a record."""
        stamp = TIMESTAMP_LOG_APPEND_TIME, round(at_s * 1000)
        offset = self.ends[partition]
        record = Message(topic=self.name, partition=partition, offset=offset, key=key, value=value, timestamp=stamp)
        self.records.append(record)
        self.ends[partition] += 1
        return record

    def newest(self) -> dict[bytes, bytes | None]:
        """The last value of each key."""
        return {record.key() or b"": record.value() for record in self.records}

    def compact(self, *, at_s: float) -> None:
        """Keep the last record of each key; a tombstone goes after a day, but not the last record of its partition."""
        last = {(record.partition(), record.key()): record.offset() for record in self.records}
        tails = {record.partition(): record.offset() for record in self.records}
        self.records = [
            record
            for record in self.records
            if tails[record.partition()] == record.offset()
            or (
                last[record.partition(), record.key()] == record.offset()
                and (record.value() is not None or at_s - record.timestamp()[1] / 1000 < _DAY_S)
            )
        ]

    def delete(self) -> None:
        """Delete the topic, and make it anew."""
        self.records, self.ends = [], [0] * self.partitions
        self.late.clear()


class TopicWorld(Protocol):
    """The world, as its producers and consumers know it."""

    random: Random
    now: float
    fair: bool
    """Nothing fails."""
    topic: SimulatedTopic

    def interleave(self, owner: SimulatedProcess) -> None:
        """Others go on while this process waits; raises where it is killed meanwhile."""
        ...

    def store(self, partition: int, key: bytes, value: bytes | None) -> int:
        """A record is in the topic; give its offset."""
        ...


class TopicProducer:
    """A relay's producer."""

    def __init__(self, world: TopicWorld, owner: SimulatedProcess) -> None:
        self._world, self._owner = world, owner
        self._queue: list[tuple[int, bytes, bytes | None, Callable[[KafkaError | None, Message], None]]] = []

    def produce(  # Kafka's own signature
        self, _topic: str, value: bytes | None, key: bytes, partition: int, *, on_delivery: Any, headers: object
    ) -> None:
        """Take a record, or have no room for it."""
        del headers
        if not self._world.fair and self._world.random.random() < 0.01:
            raise BufferError
        if partition == _ANY_PARTITION:
            partition = partition_of(key, self._world.topic.partitions)
        self._queue.append((partition, key, value, on_delivery))

    def flush(self, timeout_s: float) -> int:
        """Send everything, and report what the broker says."""
        world, random = self._world, self._world.random
        world.interleave(self._owner)
        queue, self._queue = self._queue, []
        fate = "stored" if world.fair else random.choice(_FATES)
        stored = random.randint(0, len(queue)) if fate in {"some", "silent"} else len(queue)
        reports = []
        for index, (partition, key, value, report) in enumerate(queue):
            if fate in {"refused", "away"} or (fate == "duplicate" and random.random() < 0.5) or index >= stored:
                error = KafkaError.TOPIC_AUTHORIZATION_FAILED if fate == "refused" else KafkaError._MSG_TIMED_OUT
                message = self._message(partition, key, _NO_OFFSET)
                # A record that is called a duplicate has no error and no offset, whether it was ever written or not.
                reports.append((report, None if fate == "duplicate" else KafkaError(error), message))
                if fate in {"some", "silent"} and random.random() < 0.5:
                    world.topic.late.append((partition, key, value))
            else:
                offset = world.store(partition, key, value)
                offset = _NO_OFFSET if fate == "duplicate" else offset
                reports.append((report, None, self._message(partition, key, offset)))
        world.interleave(self._owner)
        world.now += timeout_s if fate in {"some", "silent", "away"} else 0.01
        if fate == "silent":
            return len(reports)
        for report, failure, message in reports:
            report(failure, message)
        return 0

    def purge(self, **_: object) -> None:
        """Give up on what is queued."""
        self._queue.clear()

    def _message(self, partition: int, key: bytes, offset: int) -> Message:
        return Message(topic=self._world.topic.name, partition=partition, offset=offset, key=key)


class TopicConsumer:
    """A relay's consumer: it sees what is stored, some time later, and that the topic was cut."""

    def __init__(self, world: TopicWorld) -> None:
        self._world = world
        self._next: dict[int, int] = {}

    def list_topics(self, name: str, **_: object) -> SimpleNamespace:
        """Tell the partitions."""
        found = SimpleNamespace(error=None, partitions=dict.fromkeys(range(self._world.topic.partitions)))
        return SimpleNamespace(topics={name: found})

    def assign(self, partitions: Sequence[Any]) -> None:
        """Begin there."""
        self._next = {place.partition: place.offset for place in partitions}

    def get_watermark_offsets(self, place: Any, **_: object) -> tuple[int, int]:
        """Tell the bounds."""
        world = self._world
        if not world.fair and world.random.random() < 0.02:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT, "no broker"))
        return 0, world.topic.ends[place.partition]

    def consume(self, count: int, _timeout_s: float) -> list[Message]:
        """Give some records."""
        world, topic = self._world, self._world.topic
        if any(offset > topic.ends[partition] for partition, offset in self._next.items()):
            return [Message(topic=topic.name, error=KafkaError(KafkaError._AUTO_OFFSET_RESET))]
        if not world.fair:
            count = min(count, world.random.choice((0, 1, 1000)))
        found = [record for record in topic.records if self._is_new(record)][:count]
        self._next |= {record.partition() or 0: (record.offset() or 0) + 1 for record in found}
        return found

    def close(self) -> None:
        """Read no more."""

    def _is_new(self, record: Message) -> bool:
        return (record.offset() or 0) >= self._next[record.partition() or 0]
