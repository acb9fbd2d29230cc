"""Reads ranges of offsets of many logs at once: in no group, committing nothing, and honest about what is not there.

Each range ends in one of three ways, which every reader gets in the same words. It was *read*. It is *unread* from some
offset on, because there was no more time, or because its reader had enough. Or a part of it was *lost*: deleted before
it was read. What is behind a lost part is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from hookstream.processors.deadline import Deadline
from hookstream.processors.kafka import (
    BATCH_RECORDS,
    REQUEST_TIMEOUT_S,
    KafkaConfig,
    TopicPartitionKey,
    consume_batch,
    is_retriable,
    kafka_error,
    make_consumer,
    partitions_of,
    reader_config,
    translated,
)
from hookstream.processors.offsets import offsets_of_times, watermarks

Take: TypeAlias = Callable[[TopicPartitionKey, Message], bool]
"""Takes a record, and says whether more of its log is wanted."""

_WAIT_S = 0.1
# A log that is read to its end is asked for more meanwhile; a range elsewhere would wait for that answer.
_FETCH_WAIT_MS = 10
_BATCH_RECORDS = 5_000


class OffsetRange(NamedTuple):
    """Offsets of one log: from the first one on, and before the second."""

    start: int
    end: int

    @property
    def size(self) -> int:
        """How many offsets these are; not each of them has a record."""
        return max(0, self.end - self.start)


@dataclass(frozen=True, slots=True)
class Scanned:
    """What became of the ranges that were asked for."""

    reached: Mapping[TopicPartitionKey, int]
    """How far each was read: the next offset."""
    unread: Mapping[TopicPartitionKey, OffsetRange]
    """What is left of those that were not read to their end."""
    lost: list[tuple[TopicPartitionKey, OffsetRange]]
    """What was deleted before it was read."""


class RangeReader:
    """Reads ranges batch by batch, each in the order of its log. One thread.

    An end of a log below the end of its range is waited at: after a change of leaders it may be there for a moment.
    """

    def __init__(
        self, ranges: Mapping[TopicPartitionKey, OffsetRange], *, doing: str, deadline: Deadline | None = None
    ) -> None:
        """Prepare. `doing` starts the message of errors; after the `deadline` the broker is asked nothing more."""
        self.reached: dict[TopicPartitionKey, int] = {key: each.start for key, each in ranges.items()}
        self.lost: list[tuple[TopicPartitionKey, OffsetRange]] = []
        self._ends = {key: each.end for key, each in ranges.items()}
        self._open = {key for key, each in ranges.items() if each.size}
        self._doing = doing
        self._deadline = deadline
        self._consumer: Consumer | None = None

    @property
    def done(self) -> bool:
        """Whether nothing more will be read."""
        return not self._open

    @property
    def attached(self) -> bool:
        """Whether there is a consumer to read with."""
        return self._consumer is not None

    def attach(self, consumer: Consumer) -> None:
        """Read with this consumer from now on, from where each range was read to.

        Raises:
            KafkaUnavailableError, KafkaRefusedError: as everywhere.
        """
        with translated(self._doing):
            consumer.assign([TopicPartition(*key, self.reached[key]) for key in self._open])
        self._consumer = consumer

    def detach(self) -> None:
        """Forget the consumer, which its owner closes."""
        self._consumer = None

    def leave(self, key: TopicPartitionKey) -> None:
        """Read no more of a range."""
        self._open.discard(key)

    def result(self) -> Scanned:
        """What became of the ranges so far."""
        unread = {key: OffsetRange(at, self._ends[key]) for key, at in self.reached.items() if at < self._ends[key]}
        return Scanned(self.reached, unread, self.lost)

    def read(self, timeout_s: float, *, limit: int = BATCH_RECORDS) -> Iterator[tuple[TopicPartitionKey, Message]]:
        """Give what is there, waiting at most `timeout_s` for the first record.

        A record counts as read when the next one is asked for: one that `leave` is called at does not.

        Raises:
            KafkaRefusedError: no right to read it (any more).
        """
        consumer = self._consumer
        if consumer is None:
            message = "the ranges have no consumer"
            raise RuntimeError(message)
        was_open = set(self._open)
        with translated(self._doing):
            messages = consume_batch(consumer, timeout_s, limit=limit)
        for message_ in messages:
            key = (message_.topic() or "", message_.partition() or 0)
            if key not in self._open:
                continue
            error, offset = message_.error(), message_.offset() or 0
            if error is not None:
                self._take_error(consumer, error, key, offset)
            elif self.reached[key] <= offset < self._ends[key]:
                yield key, message_
                if key in self._open:
                    self._reach(key, offset + 1)
            else:
                self._reach(key, offset)
        self._unassign(consumer, was_open - self._open)

    def _reach(self, key: TopicPartitionKey, offset: int) -> None:
        end = self._ends[key]
        self.reached[key] = max(self.reached[key], min(offset, end))
        if offset >= end:
            self._open.discard(key)

    def _take_error(self, consumer: Consumer, error: KafkaError, key: TopicPartitionKey, offset: int) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            self._reach(key, offset)  # the last offsets may hold no record
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            self._pass_lost(consumer, key)
        elif not is_retriable(error):
            raise kafka_error(error, self._doing)

    def _pass_lost(self, consumer: Consumer, key: TopicPartitionKey) -> None:
        """The log has nothing at this position: go on at what is left of it, and note what is not."""
        timeout_s = REQUEST_TIMEOUT_S if self._deadline is None else min(REQUEST_TIMEOUT_S, self._deadline.remaining_s)
        if timeout_s <= 0:
            return
        low, high = watermarks(consumer, *key, timeout_s=timeout_s)
        at, end = self.reached[key], self._ends[key]
        there = end if at > high else min(max(low, at), end)  # a log that ends before it was cut, or made again
        if there > at:
            self.lost.append((key, OffsetRange(at, there)))
        self._reach(key, there)
        if key in self._open:
            with translated(self._doing):
                consumer.incremental_unassign([TopicPartition(*key)])
                consumer.incremental_assign([TopicPartition(*key, there)])

    def _unassign(self, consumer: Consumer, keys: Iterable[TopicPartitionKey]) -> None:
        left = [TopicPartition(*key) for key in keys]
        if left:
            with translated(self._doing):
                consumer.incremental_unassign(left)


class LogScanner:
    """Answers questions about logs, and scans ranges of them. One consumer. One thread at a time."""

    def __init__(self, kafka: KafkaConfig) -> None:
        """Open it; it connects when it is asked something.

        Raises:
            KafkaRefusedError: a configuration that librdkafka refuses.
        """
        self._consumer: Consumer = make_consumer(reader_config(kafka, own={"fetch.wait.max.ms": _FETCH_WAIT_MS}))
        self._embedded = kafka.embedded

    def close(self) -> None:
        """Close it."""
        self._consumer.close()

    def watermarks(self, topic: str, partition: int, deadline: Deadline) -> OffsetRange:
        """First offset that a log holds, and the one after its last.

        Raises:
            KafkaUnavailableError, KafkaRefusedError: as everywhere.
        """
        timeout_s = deadline.left_s(REQUEST_TIMEOUT_S, f"cannot look {topic} up")
        return OffsetRange(*watermarks(self._consumer, topic, partition, timeout_s=timeout_s))

    def partitions(self, topic: str, deadline: Deadline) -> range:
        """The numbers of a topic's partitions.

        Raises:
            KafkaUnavailableError: no answer, or there is no such topic (yet).
            KafkaRefusedError: no right to see it.
        """
        timeout_s = deadline.left_s(REQUEST_TIMEOUT_S, f"cannot look {topic} up")
        return partitions_of(self._consumer, topic, timeout_s=timeout_s)

    def offsets_at(
        self, topic: str, partitions: Iterable[int], at_ms: int, deadline: Deadline
    ) -> dict[int, int | None]:
        """The first offset of that time or later in each partition; None where there is none.

        Ask it before anything is scanned: afterwards the answer is slow. The embedded Kafka cannot look times up: of
        it nothing is given.

        Raises:
            KafkaUnavailableError, KafkaRefusedError: as everywhere.
        """
        if self._embedded:
            return {}
        doing = f"cannot look times of {topic} up"
        asked = [TopicPartition(topic, partition, at_ms) for partition in partitions]
        found = offsets_of_times(self._consumer, asked, doing, timeout_s=deadline.left_s(REQUEST_TIMEOUT_S, doing))
        return {tp.partition: tp.offset if tp.offset >= 0 else None for tp in found}

    def scan(
        self,
        wanted: Mapping[TopicPartitionKey, OffsetRange],
        take: Take,
        *,
        deadline: Deadline,
    ) -> Scanned:
        """Give each record of these ranges to `take`, in the order of each log.

        It ends early at the deadline, and for one log where `take` says that it had enough: the record that
        it says so at counts as not read.

        Raises:
            KafkaUnavailableError: no answer to where a log begins.
            KafkaRefusedError: no right to read.
        """
        reader = RangeReader(wanted, doing="cannot read the logs of deliveries", deadline=deadline)
        if not any(each.size for each in wanted.values()):
            return reader.result()
        reader.attach(self._consumer)
        try:
            while not (reader.done or deadline.over):
                for key, message in reader.read(min(_WAIT_S, deadline.remaining_s), limit=_BATCH_RECORDS):
                    if not take(key, message):
                        reader.leave(key)
        finally:
            self._consumer.unassign()
        return reader.result()
