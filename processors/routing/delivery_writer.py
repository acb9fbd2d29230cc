"""The router's producer: deliveries and dead letters, in order, each with a report. One thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from hookstream.processors.deadline import Deadline
from hookstream.processors.errors import ProduceFailedError
from hookstream.processors.kafka import (
    REQUEST_TIMEOUT_S,
    KafkaConfig,
    TopicPartitionKey,
    make_producer,
    producer_config,
    translated,
)
from hookstream.schemas.catalogue import InternalSchema
from hookstream.schemas.codecs.dead_letters import dead_letter_decoder, dead_letter_encoder
from hookstream.schemas.codecs.deliveries import delivery_decoder, delivery_encoder
from hookstream.schemas.delivery import DeadLetter, Delivery
from hookstream.schemas.topics import TopicNames
from hookstream.schemas.trace_context import HEADER

from .pipeline import Batch, Pipeline

# What says that the record is wrong, and not the broker or the network.
_REJECTS = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.POLICY_VIOLATION,
    }
)
_COLLECT_FAILURES_S = 2.0
_TURN_S = 0.05
Headers: TypeAlias = list[tuple[str, str | bytes | None]]


class RecordTooLargeError(Exception):
    """The producer's own limit refuses the record before it is sent."""


RejectedRecords: TypeAlias = dict[TopicPartitionKey, list[int]]
"""Offsets of the records that were refused, by source topic and partition."""


class DeliveryWriter:
    """Writes deliveries and dead letters; failures are collected and asked for with `check`."""

    def __init__(
        self,
        kafka: KafkaConfig,
        topics: TopicNames,
        *,
        delivery_schema_id: int,
        dead_letter_schema_id: int,
        max_bytes: int,
    ) -> None:
        """Open a producer; `max_bytes` is the largest record that it takes.

        Raises:
            KafkaRefusedError: a configuration that librdkafka refuses.
        """
        config = producer_config(kafka, message_timeout_ms=0, max_message_bytes=max_bytes)
        # A refused record stops the producer before a later one can overtake it.
        config["enable.gapless.guarantee"] = True
        self._producer: Producer = make_producer(config)
        self._pipeline = Pipeline()
        self._fatal: KafkaError | None = None
        self._deliveries = topics.deliveries
        self._dead_letters = topics.dead_letters
        self._encode_delivery = delivery_encoder(delivery_schema_id)
        self._encode_dead_letter = dead_letter_encoder(dead_letter_schema_id)

    def warm_up(self) -> None:
        """Connect and get a producer id: the first produce of a process takes half a second otherwise.

        Raises:
            KafkaUnavailableError: no answer.
        """
        with translated("cannot reach Kafka"):
            self._producer.list_topics(self._deliveries, timeout=REQUEST_TIMEOUT_S)

    @property
    def outstanding(self) -> int:
        """Reports that are awaited."""
        return self._pipeline.outstanding

    @property
    def failed(self) -> bool:
        """Whether a report failed: nothing more may be written or committed beyond what is done."""
        return self._fatal is not None or bool(self._pipeline.failures)

    def open_batch(self) -> Batch:
        """Start a batch; seal it when everything was written."""
        return self._pipeline.open()

    def write(self, batch: Batch, delivery: Delivery, traceparent: bytes | None) -> bool:
        """Hand a delivery to the producer; False if its queue is full: poll, then try again.

        Raises:
            RecordTooLargeError: it was not taken.
            ProduceFailedError: the producer has failed.
        """
        headers: Headers | None = None if traceparent is None else [(HEADER, traceparent)]
        return self._produce(batch, self._deliveries, delivery.key, self._encode_delivery(delivery), headers)

    def write_dead_letter(self, batch: Batch, dead_letter: DeadLetter) -> bool:
        """Hand a dead letter to the producer; False if its queue is full: poll, then try again.

        Raises:
            RecordTooLargeError: it was not taken.
            ProduceFailedError: the producer has failed.
        """
        key = None if dead_letter.client is None else dead_letter.client.encode()
        return self._produce(batch, self._dead_letters, key, self._encode_dead_letter(dead_letter), None)

    def poll(self, timeout_s: float) -> None:
        """Take the reports that have come in, and settle what is complete."""
        try:
            self._producer.poll(timeout_s)
        except KafkaException as exc:  # a fatal error, once; the reports that explain it come with later polls
            self._fatal = exc.args[0]
        self._pipeline.settle()

    def drain(self, timeout_s: float) -> bool:
        """Wait until every report is in; False if some are not, at the deadline or because one failed."""
        deadline = Deadline.after(timeout_s)
        while self.outstanding and not self.failed and not deadline.over:
            self.poll(min(deadline.remaining_s, 0.1))
        self._pipeline.settle()
        return not self.outstanding

    def failures(self) -> tuple[str, RejectedRecords]:
        """After a failed report: stop the producer, and say why it failed, and which records were rejected."""
        self._give_up()
        failures = self._pipeline.failures
        first = next((error for error, _ in failures if error.code() in _REJECTS), self._fatal or failures[0][0])
        rejected: RejectedRecords = {}
        for error, message in failures:
            if error.code() in _REJECTS:
                topic, partition, offset = self._source(message)
                rejected.setdefault((topic, partition), []).append(offset)
        return f"{first.str()} ({first.name()})", rejected

    def close(self) -> None:
        """Drop what was not sent. Drain first; what is dropped here was not committed and will be routed again."""
        self._give_up()

    def _give_up(self) -> None:
        """Throw away what is queued or in flight, and take the reports of that. A failed producer refuses to flush."""
        self._producer.purge()
        deadline = Deadline.after(_COLLECT_FAILURES_S)
        while len(self._producer) and not deadline.over:
            self.poll(_TURN_S)

    def _produce(self, batch: Batch, topic: str, key: bytes | None, value: bytes, headers: Headers | None) -> bool:
        try:
            self._producer.produce(topic, value, key, on_delivery=batch.report, headers=headers)
        except BufferError:
            return False
        except KafkaException as exc:
            error: KafkaError = exc.args[0]
            if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                raise RecordTooLargeError(error.str()) from exc
            message = f"the producer takes no more records: {error.str()} ({error.name()})"
            raise ProduceFailedError(message) from exc
        batch.pending += 1
        return True

    def _source(self, message: Message) -> tuple[str, int, int]:
        """Read the source position out of what was to be written."""
        if message.topic() == self._deliveries:
            delivery = _read_delivery(message.value())
            return delivery.source_topic, delivery.source_partition, delivery.source_offset
        dead_letter = _read_dead_letter(message.value())
        return dead_letter.topic, dead_letter.partition, dead_letter.offset


# What this process wrote, it wrote with its own schemas.
_read_delivery: Callable[[bytes | None], Delivery] = delivery_decoder(lambda _: InternalSchema.DELIVERY.text)
_read_dead_letter: Callable[[bytes | None], DeadLetter] = dead_letter_decoder(lambda _: InternalSchema.DEAD_LETTER.text)
