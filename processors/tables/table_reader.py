"""Reads the `subscriptions` topic: from its first record to its end, then whatever is appended.

`assign()`-based: it belongs to no group and commits nothing. It is stepped by whoever owns it, or lives in a thread of
its own (`TableThread`); what it reads goes through one callback in batches, so that the table itself stays with the
thread that uses it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import structlog
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from hookstream.processors.errors import ExpiredRecordsError, ProcessorError
from hookstream.processors.kafka import (
    KafkaConfig,
    consume_batch,
    end_offset,
    is_away,
    kafka_error,
    make_consumer,
    reader_config,
    translated,
    watermarks,
)
from hookstream.processors.topics import topic_ids
from hookstream.producers.errors import RegistryError
from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.hook import Hook, ResyncMark

from .held_records import HeldRecords
from .subscription_table import SubscriptionTable

Row: TypeAlias = Hook | ResyncMark | None
RowDecoder: TypeAlias = Callable[[bytes | None], Row]

# The topic has one partition. The embedded mock gives every topic four: there too, writers and readers use this one.
PARTITION = 0

_PROGRESS_EVERY_S = 5.0

log = structlog.get_logger("hookstream.table")


class _Unreadable:
    """In place of a row: the bytes are no row of any schema."""


UNREADABLE = _Unreadable()


@dataclass(frozen=True, slots=True)
class TableBatch:
    """Records of the topic in its order: (offset, key, row), and the next offset to read after them."""

    records: list[tuple[int, bytes | None, Row | _Unreadable]]
    next_offset: int

    def apply_to(self, table: SubscriptionTable) -> None:
        """Bring a table up to date; call it in the thread that uses the table."""
        apply = table.apply
        for offset, key, row in self.records:
            if isinstance(row, _Unreadable):
                table.apply_unreadable(offset, key)
            else:
                apply(offset, key, row)
        table.advance(self.next_offset)


class TableReader:
    """Reads the topic in steps. One thread at a time; `topic_id` and `target_offset` are valid after `open`."""

    def __init__(
        self, kafka: KafkaConfig, topic: str, *, decode: RowDecoder, deliver: Callable[[TableBatch], None]
    ) -> None:
        """Prepare to read; `deliver` is called in the stepping thread."""
        self.topic_id: str | None = None
        self.target_offset = 0
        """The end of the topic when `open` was called: up to here the past has to be read before the present counts."""
        self.next_offset = 0
        self._kafka = kafka
        self._topic = topic
        self._decode = decode
        self._deliver = deliver
        self._consumer: Consumer | None = None
        self._held = HeldRecords(topic)
        self._progress_at = 0.0

    def open(self) -> None:
        """Find the topic's id and its end, and start at its first record.

        Raises:
            KafkaUnavailableError: no answer, or there is no such topic (yet). It may be called again.
            KafkaRefusedError: no right to read it.
        """
        self.topic_id = topic_ids(self._kafka, [self._topic])[self._topic]
        consumer = make_consumer(reader_config(self._kafka))
        try:
            low, self.target_offset = watermarks(consumer, self._topic, PARTITION)
            with translated(f"cannot read {self._topic}"):
                consumer.assign([TopicPartition(self._topic, PARTITION, low)])
        except ProcessorError:
            consumer.close()
            raise
        self.next_offset = low
        self._consumer = consumer
        self._progress_at = time.monotonic() + _PROGRESS_EVERY_S

    def close(self) -> None:
        """Stop reading. Calling it twice is harmless."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
        self._held.clear()

    @property
    def loaded(self) -> bool:
        """Whether everything was read that was there when `open` was called."""
        return self._consumer is not None and self.next_offset >= self.target_offset

    def end(self) -> int:
        """Ask the broker where the topic ends now.

        Raises:
            KafkaUnavailableError: no answer.
        """
        return end_offset(self._opened(), self._topic, PARTITION)

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
            message = "the reader of the subscriptions table is not open"
            raise RuntimeError(message)
        return self._consumer

    def _take(self, messages: list[Message]) -> int:
        before = self.next_offset
        records: list[tuple[int, bytes | None, Row | _Unreadable]] = []
        for index, message in enumerate(messages):
            error = message.error()
            if error is not None:
                self._take_error(error, message.offset())
                continue
            offset = message.offset()
            assert offset is not None  # noqa: S101  # a record that was read has one
            try:
                row: Row | _Unreadable = self._decode(message.value())
            except UndecodableError as exc:
                row = UNREADABLE
                log.error(  # noqa: TRY400  # the traceback says nothing
                    "a row cannot be read; its subscription key stays unknown until `hookstream subscriptions resync`",
                    topic=self._topic,
                    offset=offset,
                    reason=str(exc),
                )
            except RegistryError as exc:
                self._held.hold(messages[index:], exc)
                break
            records.append((offset, message.key(), row))
            self.next_offset = offset + 1
        else:
            self._held.decoded()
        if records or self.next_offset != before:
            self._deliver(TableBatch(records, self.next_offset))
        self._tell_progress()
        return len(records)

    def _take_error(self, error: KafkaError, offset: int | None) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            if offset is not None:
                self.next_offset = max(self.next_offset, offset)
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            message = f"{self._topic} was cut or re-created while it was read (at offset {self.next_offset})"
            raise ExpiredRecordsError(message)
        elif not is_away(error):
            raise kafka_error(error, f"cannot read {self._topic}")

    def _tell_progress(self) -> None:
        if self._progress_at and (self.loaded or time.monotonic() >= self._progress_at):
            started_late = time.monotonic() >= self._progress_at
            self._progress_at = 0.0 if self.loaded else time.monotonic() + _PROGRESS_EVERY_S
            if started_late:
                log.info("reading the subscriptions table", offset=self.next_offset, end=self.target_offset)


class SteppedReader(Protocol):
    """What reads in steps."""

    def step(self, timeout_s: float) -> int:
        """Read what is there, waiting for the first of it."""
        ...

    def close(self) -> None:
        """Stop reading."""
        ...


class TableThread:
    """Steps a reader in a thread of its own until it is stopped; `failed` is called there with what ended it early."""

    def __init__(
        self,
        reader: SteppedReader,
        *,
        failed: Callable[[Exception], None],
        name: str = "subscription-table",
    ) -> None:
        """Take an open reader; it is closed when the thread ends."""
        self._reader = reader
        self._failed = failed
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start reading."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop reading and wait for the thread."""
        self._stopping.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._reader.step(_STEP_S)
        except Exception as exc:  # noqa: BLE001 - a table that nobody reads any more would be followed for ever
            self._failed(exc)
        finally:
            self._reader.close()


_STEP_S = 0.2
