"""Reads stretches of logs for cursors: `assign()`-based, in a thread of its own, in no group, committing nothing.

A reader serves every partition, one place in each, and there are two of them: one for cursors that are near the end of
their log, one for the others. It opens a consumer when somebody wants something read and closes it when nobody did for
a while. A stretch that goes on where the last one ended is read from what was fetched ahead; any other costs a fetch.
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

from hookstream.processors.delivery.engine.catch_up import OwedRecord
from hookstream.processors.errors import KafkaUnavailableError
from hookstream.processors.kafka import (
    KafkaConfig,
    consume_batch,
    is_away,
    kafka_error,
    make_consumer,
    reader_config,
    translated,
    watermarks,
)
from hookstream.schemas.trace_context import find

from .inbox import TopicSide

CHUNK_RECORDS = 500
_AHEAD_RECORDS = 2 * CHUNK_RECORDS
_WAIT_S = 0.02
_CLOSE_AFTER_S = 10.0
_QUEUED_KBYTES = 2 * 1024
_FETCH_BYTES = 256 * 1024
# A place that moves waits for the fetch that is under way: 500 ms by default, at the end of the log. While nothing is
# request nothing is assigned, so this costs nothing then.
_FETCH_WAIT_MS = 10

log = structlog.get_logger("hookstream.deliver")


class Chunk(NamedTuple):
    """What a log holds in [start, end), or the low watermark where `start` is below it."""

    side: TopicSide
    start: int
    end: int
    records: Sequence[OwedRecord]
    low: int | None = None


@dataclass(slots=True)
class _Place:
    """One partition of one topic that is being read: [held_from, next_offset) is in `ahead`.

    `start` is where the chunk begins that somebody waits for, None while nobody does.
    """

    start: int | None
    held_from: int
    next_offset: int
    ahead: deque[OwedRecord] = field(default_factory=deque)
    paused: bool = False

    def goes_on_at(self, start: int) -> bool:
        """Whether a chunk from `start` can be had by reading on; drops what lies below it."""
        if not self.held_from <= start <= self.next_offset:
            return False
        while self.ahead and self.ahead[0].offset < start:
            self.ahead.popleft()
        self.start = self.held_from = start
        return True


class LogReader:
    """One place in each partition of each topic. `read`, `leave` and `close` may be called from any thread."""

    def __init__(
        self,
        kafka: KafkaConfig,
        *,
        name: str,
        deliver: Callable[[Chunk], None],
        failed: Callable[[Exception], None],
        prepare: Callable[[Sequence[OwedRecord]], bool] = lambda _: True,
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
        self._requests: SimpleQueue[tuple[TopicSide, int | None] | None] = SimpleQueue()
        self._places: dict[TopicSide, _Place] = {}
        self._consumer: Consumer | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=f"read-{name}", daemon=True)

    def start(self) -> None:
        """Start the thread; it sleeps until something is request."""
        self._thread.start()

    def read(self, side: TopicSide, start: int) -> None:
        """Ask for one chunk that begins at `start`."""
        self._requests.put((side, start))

    def leave(self, side: TopicSide) -> None:
        """Nobody wants anything of this partition any more."""
        self._requests.put((side, None))

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
                if self._places and not self._stopped:
                    self._step()
        except Exception as exc:  # noqa: BLE001 - whatever it is, the process has to end
            self._failed(exc)
        finally:
            self._close_consumer()

    def _take_requests(self) -> None:
        """Take what was asked; with nothing to read, sleep until something is."""
        try:
            while True:
                idle = not self._places
                request = self._requests.get(block=idle, timeout=_CLOSE_AFTER_S if idle else None)
                if request is None:
                    self._stopped = True
                    return
                self._take(*request)
        except Empty:
            if not self._places:
                self._close_consumer()

    def _take(self, side: TopicSide, start: int | None) -> None:
        place = self._places.get(side)
        if start is None:
            if place is not None:
                del self._places[side]
                with translated("cannot leave a partition"):
                    self._opened().incremental_unassign([TopicPartition(*side)])
            return
        if place is not None and place.goes_on_at(start):
            return
        with translated("cannot read a log"):
            if place is not None:
                self._opened().incremental_unassign([TopicPartition(*side)])
            self._opened().incremental_assign([TopicPartition(*side, start)])
            self._opened().resume([TopicPartition(*side)])  # a pause outlives the assignment that it was made in
        self._places[side] = _Place(start, start, start)

    def _step(self) -> None:
        consumer = self._opened()
        for side, place in self._places.items():
            if place.start is not None and place.ahead:
                self._cut(side, place)
        self._set_pauses(consumer)
        with translated("cannot read a log"):
            messages = consume_batch(consumer, _WAIT_S)
        for message in messages:
            self._take_message(message)

    def _take_message(self, message: Message) -> None:
        side = (message.topic() or "", message.partition() or 0)
        place = self._places.get(side)
        error = message.error()
        if error is None:
            offset = message.offset() or 0
            if place is not None and offset >= place.next_offset:
                traceparent = find(message.headers()) if self._tracing else None
                place.ahead.append(OwedRecord(offset, message.key() or b"", message.value() or b"", traceparent))
                place.next_offset = offset + 1
        elif error.code() == KafkaError._PARTITION_EOF:
            if place is not None:
                place.next_offset = max(place.next_offset, message.offset() or 0)
                self._reach_end(side, place)
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            if place is not None:
                self._meet_low(side, place)
        elif not is_away(error):
            raise kafka_error(error, "cannot read a log")

    def _cut(self, side: TopicSide, place: _Place) -> None:
        """Deliver one chunk of what is ahead."""
        start, ahead = place.start, place.ahead
        if start is None:
            return
        size = min(len(ahead), CHUNK_RECORDS)
        records = [ahead[index] for index in range(size)]
        if not self._prepare(records):
            return
        for _ in range(size):
            ahead.popleft()
        end = ahead[0].offset if ahead else place.next_offset
        place.start, place.held_from = None, end
        self._deliver(Chunk(side, start, end, records))

    def _reach_end(self, side: TopicSide, place: _Place) -> None:
        """The log ends here: who waits hears of it, so that offsets that hold no record are passed."""
        if place.start is not None and not place.ahead and place.next_offset > place.start:
            start, place.start, place.held_from = place.start, None, place.next_offset
            self._deliver(Chunk(side, start, place.next_offset, ()))

    def _meet_low(self, side: TopicSide, place: _Place) -> None:
        """What was asked for is deleted: say where the log begins now."""
        try:
            low = watermarks(self._opened(), *side)[0]
        except KafkaUnavailableError:
            return
        start = place.start if place.start is not None else place.next_offset
        del self._places[side]
        with translated("cannot leave a partition"):
            self._opened().incremental_unassign([TopicPartition(*side)])
        self._deliver(Chunk(side, start, start, (), low))

    def _set_pauses(self, consumer: Consumer) -> None:
        """Fetch no further ahead where nobody asks for more."""
        for side, place in self._places.items():
            request = len(place.ahead) >= _AHEAD_RECORDS
            if request != place.paused and (request or len(place.ahead) < CHUNK_RECORDS):
                place.paused = request
                with translated("cannot pause"):
                    (consumer.pause if request else consumer.resume)([TopicPartition(*side)])

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
