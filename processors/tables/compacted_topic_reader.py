"""Reads a compacted topic: from its first record to its end, then whatever is appended.

`assign()`-based: it belongs to no group and commits nothing. Its owner steps it, or a thread (`TableThread`); what it
reads goes through one callback in batches, so that a table stays with the thread that uses it.
What this process remembers of a partition moves when the callback has the records, and not before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

import structlog
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from hookstream.processors.deadline import Deadline
from hookstream.processors.errors import ExpiredRecordsError, ProcessorError
from hookstream.processors.kafka import (
    KafkaConfig,
    consume_batch,
    is_retriable,
    kafka_error,
    make_consumer,
    partitions_of,
    reader_config,
    translated,
)
from hookstream.processors.offsets import end_offset, watermarks
from hookstream.processors.topics import topic_ids
from hookstream.producers.errors import RegistryError
from hookstream.schemas.errors import UndecodableError

from .held_records import HeldRecords

_T = TypeVar("_T")

_PROGRESS_EVERY_S = 5.0

log = structlog.get_logger("hookstream.table")


class Unreadable:
    """In place of a row: the bytes are no row of any schema."""


UNREADABLE = Unreadable()


class TopicRecord(NamedTuple, Generic[_T]):
    """One record of the topic, decoded."""

    partition: int
    offset: int
    key: bytes | None
    row: _T | Unreadable


class TopicBatch(NamedTuple, Generic[_T]):
    """Records in the order of each partition, and the next offset to read in the partitions that were read."""

    records: Sequence[TopicRecord[_T]]
    next_offsets: Mapping[int, int]


class CompactedTopicReader(Generic[_T]):
    """Reads the topic in steps. One thread at a time; `topic_id` and `bounds` are valid after `open`."""

    def __init__(
        self,
        kafka: KafkaConfig,
        topic: str,
        *,
        decode: Callable[[bytes | None], _T],
        deliver: Callable[[TopicBatch[_T]], None],
        partitions: Sequence[int] | None = None,
    ) -> None:
        """Prepare to read; `deliver` is called in the stepping thread. `partitions`: these, and not all."""
        self.topic_id: str | None = None
        self.bounds: Mapping[int, tuple[int, int]] = {}
        """By partition: the first offset that the topic held when `open` was called, and its end then."""
        self._kafka = kafka
        self._topic = topic
        self._decode = decode
        self._deliver = deliver
        self._partitions = partitions
        self._consumer: Consumer | None = None
        self._next: dict[int, int] = {}
        self._held = HeldRecords(topic)
        self._report_progress_at: Deadline | None = None

    def open(self) -> None:
        """Find the topic's id and the ends of its partitions, and start at their first records.

        Raises:
            KafkaUnavailableError: no answer, or there is no such topic (yet). It may be called again.
            KafkaRefusedError: no right to read it.
        """
        self.topic_id = topic_ids(self._kafka, [self._topic])[self._topic]
        consumer = make_consumer(reader_config(self._kafka))
        try:
            partitions = self._partitions if self._partitions is not None else partitions_of(consumer, self._topic)
            bounds = {partition: watermarks(consumer, self._topic, partition) for partition in partitions}
            with translated(f"cannot read {self._topic}"):
                consumer.assign([TopicPartition(self._topic, partition, low) for partition, (low, _) in bounds.items()])
        except ProcessorError:
            consumer.close()
            raise
        self.bounds = bounds
        self._next = {partition: low for partition, (low, _) in bounds.items()}
        self._consumer = consumer
        self._report_progress_at = Deadline.after(_PROGRESS_EVERY_S)

    def close(self) -> None:
        """Stop reading. Calling it twice is harmless."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
        self._held.clear()

    def covered_by(self, next_offsets: Mapping[int, int]) -> bool:
        """Whether a table that was read this far knows everything that was there when `open` was called."""
        return all(next_offsets.get(partition, low) >= end for partition, (low, end) in self.bounds.items())

    @property
    def loaded(self) -> bool:
        """Whether everything was read, and delivered, that was there when `open` was called."""
        return self._consumer is not None and self.covered_by(self._next)

    def end(self, partition: int = 0) -> int:
        """Ask the broker where a partition ends now.

        Raises:
            KafkaUnavailableError: no answer.
        """
        return end_offset(self._opened(), self._topic, partition)

    def step(self, timeout_s: float) -> int:
        """Read what is there, waiting at most `timeout_s` for the first record; give the number of records delivered.

        Raises:
            ExpiredRecordsError: the topic was cut or re-created under the reader: it has to start again.
            KafkaRefusedError: no right to read it (any more).
        """
        consumer = self._opened()
        with translated(f"cannot read {self._topic}"):
            messages = self._held.next_batch(lambda: consume_batch(consumer, timeout_s), timeout_s=timeout_s)
        return self._take(messages) if messages else 0

    def _opened(self) -> Consumer:
        if self._consumer is None:
            message = f"the reader of {self._topic} is not open"
            raise RuntimeError(message)
        return self._consumer

    def _take(self, messages: list[Message]) -> int:
        records: list[TopicRecord[_T]] = []
        read: dict[int, int] = {}
        for index, message in enumerate(messages):
            partition, offset = message.partition(), message.offset()
            error = message.error()
            if error is not None:
                self._take_error(error)
                if error.code() == KafkaError._PARTITION_EOF and partition is not None and offset is not None:
                    self._pass_end(read, partition, offset)
                continue
            assert partition is not None  # noqa: S101  # a record that was read has a position
            assert offset is not None  # noqa: S101  # as above
            row: _T | Unreadable
            try:
                row = self._decode(message.value())
            except UndecodableError as exc:
                row = UNREADABLE
                log.error(  # noqa: TRY400  # the traceback says nothing
                    "a row cannot be read",
                    topic=self._topic,
                    partition=partition,
                    offset=offset,
                    reason=str(exc),
                )
            except RegistryError as exc:
                self._held.hold(messages[index:], exc)
                break
            records.append(TopicRecord(partition, offset, message.key(), row))
            read[partition] = offset + 1
        else:
            self._held.decoded()
        if read:
            self._deliver(TopicBatch(records, read))
            self._next.update(read)
        self._report_progress()
        return len(records)

    def _pass_end(self, read: dict[int, int], partition: int, end: int) -> None:
        """Pass offsets at the end of a partition that hold no record, such as those of markers."""
        if end > read.get(partition, self._next[partition]):
            read[partition] = end

    def _take_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            message = f"{self._topic} was cut or re-created while it was read (at {dict(self._next)})"
            raise ExpiredRecordsError(message)
        if error.code() != KafkaError._PARTITION_EOF and not is_retriable(error):
            raise kafka_error(error, f"cannot read {self._topic}")

    def _report_progress(self) -> None:
        """Write a line of log now and then while the past is read, and at its end where that took long."""
        due = self._report_progress_at
        if due is None or not (self.loaded or due.over):
            return
        if due.over:
            ends = {partition: end for partition, (_, end) in self.bounds.items()}
            log.info("reading a table", topic=self._topic, next_offsets=dict(self._next), ends=ends)
        self._report_progress_at = None if self.loaded else Deadline.after(_PROGRESS_EVERY_S)
