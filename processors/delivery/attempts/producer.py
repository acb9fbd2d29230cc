"""The attempt log's input: one record of `attempts` for every HTTP request.

A record here is worth less than a delivery. Deliveries never wait for it: where the producer's queue is full (the
broker is away or slow), or Kafka refuses a record, it is dropped and counted. Belongs to the event loop's thread.
"""

from __future__ import annotations

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from hookstream.processors.delivery.engine.lanes import Post
from hookstream.processors.delivery.http.exchange import Answer
from hookstream.processors.kafka import KafkaConfig, make_producer, producer_config
from hookstream.schemas.attempt import AttemptResult

from .bytes import AttemptBytes

# Held back for company: 20,000 records a second are then 40 requests and not thousands.
_LINGER_MS = 25.0
# Kept while the broker is away; what comes then is dropped.
_QUEUE_RECORDS = 50_000
_QUEUE_KBYTES = 16 * 1024
_GIVE_UP_MS = 60_000
_MAX_RECORD_BYTES = 256 * 1024
_CLOSE_WITHIN_S = 2.0

log = structlog.get_logger("hookstream.deliver")


class AttemptLog:
    """Collects the attempts of a turn and hands them to the producer at its end."""

    def __init__(self, kafka: KafkaConfig, topic: str, *, schema_id: int) -> None:
        """Open a producer.

        Raises:
            KafkaRefusedError: a configuration that librdkafka refuses.
        """
        config = producer_config(
            kafka,
            linger_ms=_LINGER_MS,
            message_timeout_ms=_GIVE_UP_MS,
            max_message_bytes=_MAX_RECORD_BYTES,
            own={
                "queue.buffering.max.messages": _QUEUE_RECORDS,
                "queue.buffering.max.kbytes": _QUEUE_KBYTES,
                "delivery.report.only.error": True,
                "on_delivery": self._report,
            },
        )
        self._producer: Producer = make_producer(config)
        self._topic = topic
        self._bytes = AttemptBytes(schema_id)
        self._waiting: list[dict[str, bytes]] = []
        self._told = 0
        self.dropped = 0
        """Attempts that the log will not know of."""

    def add(self, post: Post, result: AttemptResult, answer: Answer, *, partition: int, wall_ms: int) -> None:
        """Note one request that has ended."""
        key, value = self._bytes.encode(post, result, answer, partition=partition, wall_ms=wall_ms)
        self._waiting.append({"value": value, "key": key})

    def flush(self) -> None:
        """Hand over what was noted; returns at once."""
        waiting = self._waiting
        if not waiting:
            return
        self._waiting = []
        try:
            taken = self._producer.produce_batch(self._topic, waiting)
        except (BufferError, KafkaException):
            taken = 0
        self.dropped += len(waiting) - taken

    def poll(self) -> None:
        """Take the reports of what Kafka refused, and tell what was dropped; call it about once a second."""
        self._producer.poll(0)
        if self.dropped > self._told:
            log.warning("attempt records were dropped", since_start=self.dropped, now=self.dropped - self._told)
            self._told = self.dropped

    def close(self) -> None:
        """Send what is unsent, for a moment."""
        self.flush()
        self.dropped += self._producer.flush(_CLOSE_WITHIN_S)

    def _report(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self.dropped += 1
