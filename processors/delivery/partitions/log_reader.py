"""Reads stretches of logs for cursors: `assign()`-based, in a thread of its own, in no group, committing nothing.

A reader serves every partition, at one position in each, and there are two of them: one for cursors that are near the
end of their log, one for the others. It opens a consumer at the first request and closes it when there was none for a
while. A stretch that goes on where the last one ended is read from what was fetched ahead; any other costs a fetch.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import NamedTuple

import structlog
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from hookstream.processors.delivery.engine.catch_up import BacklogRecord
from hookstream.processors.errors import KafkaUnavailableError
from hookstream.processors.kafka import (
    KafkaConfig,
    TopicPartitionKey,
    consume_batch,
    is_retriable,
    kafka_error,
    make_consumer,
    reader_config,
    translated,
)
from hookstream.processors.offsets import watermarks
from hookstream.schemas.trace_context import find

CHUNK_RECORDS = 500
_AHEAD_RECORDS = 2 * CHUNK_RECORDS
_AHEAD_BYTES = 2 * 1024 * 1024
_WAIT_S = 0.02
_CLOSE_AFTER_S = 10.0
_QUEUED_KBYTES = 2 * 1024
_FETCH_BYTES = 256 * 1024
# A position that moves waits for the fetch that is under way: 500 ms by default, at the end of the log. While nothing
# is requested nothing is assigned, so this costs nothing then.
_FETCH_WAIT_MS = 10

log = structlog.get_logger("hookstream.deliver")


class Chunk(NamedTuple):
    """What a log holds in [start, end), or the low watermark where `start` is below it."""

    key: TopicPartitionKey
    start: int
    end: int
    records: Sequence[BacklogRecord]
    low: int | None = None


@dataclass(slots=True)
class _ReadPosition:
    """One partition of one topic that is being read: [held_from, next_offset) is in `ahead`.

    `start` is where the chunk begins that is requested, None while none is.
    """

    start: int | None
    held_from: int
    next_offset: int
    ahead: deque[BacklogRecord] = field(default_factory=deque)
    ahead_bytes: int = 0
    paused: bool = False

    def goes_on_at(self, start: int) -> bool:
        """Whether a chunk from `start` can be had by reading on; drops what lies below it."""
        if not self.held_from <= start <= self.next_offset:
            return False
        while self.ahead and self.ahead[0].offset < start:
            self.pop()
        self.start = self.held_from = start
        return True

    def push(self, record: BacklogRecord) -> None:
        """Hold one more record."""
        self.ahead.append(record)
        self.ahead_bytes += len(record.value)
        self.next_offset = record.offset + 1

    def pop(self) -> None:
        """Drop the first record."""
        self.ahead_bytes -= len(self.ahead.popleft().value)

    @property
    def full(self) -> bool:
        """Whether no more is fetched ahead."""
        return len(self.ahead) >= _AHEAD_RECORDS or self.ahead_bytes >= _AHEAD_BYTES

    @property
    def low(self) -> bool:
        """Whether more is fetched again."""
        return len(self.ahead) < CHUNK_RECORDS and self.ahead_bytes < _AHEAD_BYTES // 2


class LogReader:
    """One position in each partition of each topic. `read`, `leave` and `close` may be called from any thread."""

    def __init__(
        self,
        kafka: KafkaConfig,
        *,
        name: str,
        deliver: Callable[[Chunk], None],
        failed: Callable[[Exception], None],
        prepare: Callable[[Sequence[BacklogRecord]], bool] = lambda _: True,
        tracing: bool = False,
    ) -> None:
        """`deliver`, `failed` and `prepare` (can these records be decoded now?) are called in the reader's thread.

        `tracing`: say which trace a record belongs to.
        """
        self._kafka = kafka
        self._deliver = deliver
        self._failed = failed
        self._prepare = prepare
        self._tracing = tracing
        self._requests: SimpleQueue[tuple[TopicPartitionKey, int | None] | None] = SimpleQueue()
        self._positions: dict[TopicPartitionKey, _ReadPosition] = {}
        self._consumer: Consumer | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=f"read-{name}", daemon=True)

    def start(self) -> None:
        """Start the thread; it sleeps until something is requested."""
        self._thread.start()

    def read(self, key: TopicPartitionKey, start: int) -> None:
        """Ask for one chunk that begins at `start`."""
        self._requests.put((key, start))

    def leave(self, key: TopicPartitionKey) -> None:
        """Read nothing more of this partition."""
        self._requests.put((key, None))

    def close(self, timeout_s: float = 5.0) -> None:
        """End the thread."""
        self._requests.put(None)
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopped:
                self._take_requests()
                if self._positions and not self._stopped:
                    self._step()
        except Exception as exc:  # noqa: BLE001 - whatever it is, the process has to end
            self._failed(exc)
        finally:
            self._close_consumer()

    def _take_requests(self) -> None:
        """Take what was asked; with nothing to read, sleep until something is."""
        try:
            while True:
                idle = not self._positions
                request = self._requests.get(block=idle, timeout=_CLOSE_AFTER_S if idle else None)
                if request is None:
                    self._stopped = True
                    return
                self._take(*request)
        except Empty:
            if not self._positions:
                self._close_consumer()

    def _take(self, key: TopicPartitionKey, start: int | None) -> None:
        position = self._positions.get(key)
        if start is None:
            if position is not None:
                del self._positions[key]
                with translated("cannot leave a partition"):
                    self._opened().incremental_unassign([TopicPartition(*key)])
            return
        if position is not None and position.goes_on_at(start):
            return
        with translated("cannot read a log"):
            if position is not None:
                self._opened().incremental_unassign([TopicPartition(*key)])
            self._opened().incremental_assign([TopicPartition(*key, start)])
            self._opened().resume([TopicPartition(*key)])  # a pause outlives the assignment that it was made in
        self._positions[key] = _ReadPosition(start, start, start)

    def _step(self) -> None:
        consumer = self._opened()
        for key, position in self._positions.items():
            if position.start is not None and position.ahead:
                self._cut(key, position)
        self._set_pauses(consumer)
        with translated("cannot read a log"):
            messages = consume_batch(consumer, _WAIT_S)
        for message in messages:
            self._take_message(message)

    def _take_message(self, message: Message) -> None:
        key = (message.topic() or "", message.partition() or 0)
        position = self._positions.get(key)
        error = message.error()
        if error is None:
            offset = message.offset() or 0
            if position is not None and offset >= position.next_offset:
                traceparent = find(message.headers()) if self._tracing else None
                position.push(BacklogRecord(offset, message.key() or b"", message.value() or b"", traceparent))
        elif error.code() == KafkaError._PARTITION_EOF:
            if position is not None:
                position.next_offset = max(position.next_offset, message.offset() or 0)
                self._reach_end(key, position)
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            if position is not None:
                self._report_low(key, position)
        elif not is_retriable(error):
            raise kafka_error(error, "cannot read a log")

    def _cut(self, key: TopicPartitionKey, position: _ReadPosition) -> None:
        """Deliver one chunk of what is ahead."""
        start, ahead = position.start, position.ahead
        if start is None:
            return
        size = min(len(ahead), CHUNK_RECORDS)
        records = [ahead[index] for index in range(size)]
        if not self._prepare(records):
            return
        for _ in range(size):
            position.pop()
        end = ahead[0].offset if ahead else position.next_offset
        position.start, position.held_from = None, end
        self._deliver(Chunk(key, start, end, records))

    def _reach_end(self, key: TopicPartitionKey, position: _ReadPosition) -> None:
        """The log ends here: answer the request, so that offsets that hold no record are passed."""
        if position.start is not None and not position.ahead and position.next_offset > position.start:
            start, position.start, position.held_from = position.start, None, position.next_offset
            self._deliver(Chunk(key, start, position.next_offset, ()))

    def _report_low(self, key: TopicPartitionKey, position: _ReadPosition) -> None:
        """What was requested is deleted: answer with where the log begins now."""
        try:
            low = watermarks(self._opened(), *key)[0]
        except KafkaUnavailableError:
            return
        start = position.start if position.start is not None else position.next_offset
        del self._positions[key]
        with translated("cannot leave a partition"):
            self._opened().incremental_unassign([TopicPartition(*key)])
        self._deliver(Chunk(key, start, start, (), low))

    def _set_pauses(self, consumer: Consumer) -> None:
        """Fetch no further ahead where no more is requested."""
        for key, position in self._positions.items():
            enough = position.full
            if enough != position.paused and (enough or position.low):
                position.paused = enough
                with translated("cannot pause"):
                    (consumer.pause if enough else consumer.resume)([TopicPartition(*key)])

    def _opened(self) -> Consumer:
        if self._consumer is None:
            own = {
                "queued.max.messages.kbytes": _QUEUED_KBYTES,
                "fetch.message.max.bytes": _FETCH_BYTES,
                "fetch.wait.max.ms": _FETCH_WAIT_MS,
            }
            self._consumer = make_consumer(reader_config(self._kafka, own=own))
        return self._consumer

    def _close_consumer(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
