"""Writes deliveries to `deliveries.replay`, and says so when Kafka has acknowledged them: replays, resends and pings.

A record carries the end that its client's partition of `deliveries` has at this moment. The worker holds it until its
live position has passed that, so a first delivery is never overtaken. It also carries the present time: it is pending
since then, however old its event is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import NoReturn, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer

from hookstream.processors import wall_clock
from hookstream.processors.deadline import Deadline
from hookstream.processors.errors import KafkaUnavailableError, ProduceFailedError, StoppedError
from hookstream.processors.kafka import (
    REQUEST_TIMEOUT_S,
    ClientConfig,
    KafkaConfig,
    make_consumer,
    make_producer,
    partitions_of,
    producer_config,
    reader_config,
)
from hookstream.processors.lifecycle import StopSignal
from hookstream.processors.offsets import end_offset
from hookstream.producers.delivery_report import failure_of
from hookstream.producers.murmur2 import partition_of
from hookstream.schemas.delivery import Delivery
from hookstream.schemas.topics import TopicNames

# A request waits for the answer.
ANSWER_WITHIN_S = 5.0
# The report of a record that timed out comes a little after its time.
_REPORT_GRACE_S = 1.0
_TURN_S = 0.05
_LOOKING = "cannot look up where the deliveries end"


class ReplayWriter:
    """Writes batches, each acknowledged whole before `write` returns. Any thread; batches come one after the other."""

    def __init__(
        self,
        kafka: KafkaConfig,
        topics: TopicNames,
        *,
        encode: Callable[[Delivery], bytes],
        acknowledged_within_s: float | None = ANSWER_WITHIN_S,
        now_ms: Callable[[], int] = wall_clock.now_ms,
    ) -> None:
        """Prepare; nothing is connected yet.

        `acknowledged_within_s` is how long a batch takes at most, looking its partitions up included; a second more
        where the reports of what timed out are awaited. None waits until the broker answers.
        """
        self._kafka = kafka
        self._live, self._topic = topics.deliveries, topics.replays
        self._encode = encode
        self._within_s = acknowledged_within_s
        self._now_ms = now_ms
        timeout_ms = 0 if acknowledged_within_s is None else round(acknowledged_within_s * 1000)
        # What is behind a failed record fails with it: a batch that is written again is in order.
        own: ClientConfig = {"enable.gapless.guarantee": True}
        self._config = producer_config(kafka, message_timeout_ms=timeout_ms, own=own)
        self._lock = threading.Lock()
        self._producer: Producer | None = None
        self._lookup: Consumer | None = None
        self._partitions = 0

    def write(self, deliveries: Sequence[Delivery], *, job: str, stop: StopSignal | None = None) -> None:
        """Write deliveries in their order, as part of `job`, and return when Kafka has acknowledged every one.

        Raises:
            KafkaUnavailableError: no answer in time; some may be in the topic all the same.
            ProduceFailedError: Kafka refuses one.
            StoppedError: asked to stop first; some may be in the topic.
        """
        with self._lock:
            try:
                self._write(deliveries, job, stop)
            except Exception:
                self._abandon()
                raise

    def close(self) -> None:
        """Disconnect. Nothing waits in it: every call waits for its own reports. Calling it twice is harmless."""
        with self._lock:
            self._abandon()

    def __enter__(self) -> Self:
        """Use as a context: closed at its end."""
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        """Close."""
        self.close()

    def _write(self, deliveries: Sequence[Delivery], job: str, stop: StopSignal | None) -> None:
        deadline = None if self._within_s is None else Deadline.after(self._within_s)
        ends = self._live_ends((delivery.key for delivery in deliveries), deadline)
        producer = self._producer = self._producer or make_producer(self._config)
        now_ms = self._now_ms()
        reports = _Reports(self._topic, len(deliveries), deadline, stop)
        for delivery in deliveries:
            partition = partition_of(delivery.key, self._partitions)
            value = self._encode(replace(delivery, replay=job, live_end=ends[partition], replayed_at_ms=now_ms))
            while not self._handed_over(producer, delivery.key, value, partition, reports):
                reports.wait(producer)
        while reports.awaited:
            reports.wait(producer)

    def _handed_over(self, producer: Producer, key: bytes, value: bytes, partition: int, reports: _Reports) -> bool:
        """Give the record to the producer; False if its queue is full."""
        try:
            producer.produce(self._topic, value, key, partition, on_delivery=reports.take)
        except BufferError:
            return False
        except KafkaException as exc:
            reports.fail(exc.args[0])
        return True

    def _live_ends(self, keys: Iterable[bytes], deadline: Deadline | None) -> dict[int, int]:
        """The end of every partition of `deliveries` that these keys are in."""

        def left_s() -> float:
            return REQUEST_TIMEOUT_S if deadline is None else deadline.left_s(REQUEST_TIMEOUT_S, _LOOKING)

        consumer = self._lookup = self._lookup or make_consumer(reader_config(self._kafka))
        if not self._partitions:
            self._partitions = len(partitions_of(consumer, self._live, timeout_s=left_s()))
        partitions = {partition_of(key, self._partitions) for key in set(keys)}
        return {each: end_offset(consumer, self._live, each, timeout_s=left_s()) for each in partitions}

    def _abandon(self) -> None:
        """Drop what is unsent, and begin anew next time: the producer may have failed for good."""
        if self._producer is not None:
            self._producer.purge(in_queue=True, in_flight=True, blocking=False)
            self._producer = None
        if self._lookup is not None:
            self._lookup.close()
            self._lookup = None
        self._partitions = 0


class _Reports:
    """The delivery reports of one batch."""

    def __init__(self, topic: str, records: int, deadline: Deadline | None, stop: StopSignal | None) -> None:
        self.awaited = records
        self._topic = topic
        self._stop = stop
        self._deadline = None if deadline is None else replace(deadline, ends_s=deadline.ends_s + _REPORT_GRACE_S)
        self._failure: KafkaError | None = None

    def take(self, error: KafkaError | None, message: Message) -> None:
        """Take one report."""
        failure = failure_of(error, message)
        if failure is None:
            self.awaited -= 1
        elif self._failure is None:
            self._failure = failure

    def wait(self, producer: Producer) -> None:
        """Serve reports for a moment.

        Raises:
            KafkaUnavailableError, ProduceFailedError, StoppedError: as `write`.
        """
        producer.poll(_TURN_S)
        if self._failure is not None:
            self.fail(self._failure)
        if self._stop is not None and self._stop.asked:
            message = f"asked to stop before {self._topic} acknowledged"
            raise StoppedError(message)
        if self._deadline is not None and self.awaited and self._deadline.over:
            message = f"{self._topic} did not acknowledge in time"
            raise KafkaUnavailableError(message)

    def fail(self, error: KafkaError) -> NoReturn:
        """Say what a failed report means.

        Raises:
            KafkaUnavailableError: the broker did not answer.
            ProduceFailedError: it said no.
        """
        message = f"{self._topic} did not acknowledge: {error.str()} ({error.name()})"
        if error.code() in _RETRIABLE:
            raise KafkaUnavailableError(message)
        raise ProduceFailedError(message)


_RETRIABLE = frozenset(
    {
        KafkaError._MSG_TIMED_OUT,
        KafkaError._GAPLESS_GUARANTEE,
        KafkaError._TIMED_OUT,
        KafkaError.DUPLICATE_SEQUENCE_NUMBER,
    }
)
