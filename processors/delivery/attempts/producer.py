"""The attempt log's input: one record of `attempts` for every HTTP request.

A record here is worth less than a delivery. Deliveries never wait for it: where its client's share of the queue is full
(the broker is unreachable or slow), or Kafka refuses a record, it is dropped and counted. Of a 2xx's answer the first
1,000 bytes are kept, of others the first 20,000 while there is room. Belongs to the event loop's thread.
"""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from hookstream.processors.delivery.engine.model import Post
from hookstream.processors.delivery.http.exchange import Answer
from hookstream.processors.kafka import KafkaConfig, make_producer, producer_config
from hookstream.processors.wall_clock import now_ms
from hookstream.schemas.attempt import GAP_HEADER, AttemptResult, gap_of

from .budget import SHORT_ANSWER_BYTES, AttemptBudget
from .bytes import AttemptBytes
from .dropped import DroppedAttempts

# Held back for company: 20,000 records a second are then 40 requests and not thousands.
_LINGER_MS = 25.0
# Kept while the broker is unreachable; what comes then is dropped. A record is counted with 200 bytes more than it has,
# so the bytes run out before the records do.
_QUEUE_RECORDS = 60_000
_QUEUE_KBYTES = 16 * 1024
_GIVE_UP_MS = 60_000
_MAX_RECORD_BYTES = 256 * 1024
_CLOSE_WITHIN_S = 2.0


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
        self._budget = AttemptBudget(_QUEUE_KBYTES * 1024)
        self._waiting: list[dict[str, bytes]] = []
        self._handed_over = 0
        self._dropped = DroppedAttempts()

    @property
    def dropped(self) -> int:
        """Attempts that the log will not know of."""
        return self._dropped.total

    def add(self, post: Post, result: AttemptResult, answer: Answer, *, partition: int, wall_ms: int) -> None:
        """Note one request that has ended."""
        client, size = post.endpoint.client_id, len(answer.body)
        if size > SHORT_ANSWER_BYTES and result is AttemptResult.DELIVERED:
            size = SHORT_ANSWER_BYTES
        kept = self._budget.answer_bytes(client, size)
        if kept is None:
            self._dropped.count(client)
            return
        key, value = self._bytes.encode(post, result, answer, partition=partition, wall_ms=wall_ms, answer_bytes=kept)
        self._budget.take(client, len(value))
        self._waiting.append({"value": value, "key": key})

    def flush(self) -> None:
        """Hand over what was noted; returns at once."""
        waiting = self._waiting
        if waiting:
            self._waiting = []
            try:
                taken = self._producer.produce_batch(self._topic, waiting)
            except (BufferError, KafkaException):
                taken = 0
            self._handed_over += taken
            if taken < len(waiting):
                self._drop(waiting, all_of_them=not taken)
        self._budget.settle(self._handed_over, len(self._producer))

    def _drop(self, waiting: list[dict[str, bytes]], *, all_of_them: bool) -> None:
        """Count what the producer has not taken; it marks each of those."""
        for record in waiting:
            if all_of_them or "_error" in record:
                self._dropped.count(record["key"].decode())

    def poll(self) -> None:
        """Take the reports of what Kafka refused, and report what was dropped; call it about once a second."""
        self._producer.poll(0)
        self._budget.settle(self._handed_over, len(self._producer))
        self._dropped.say()
        self._tell_gaps()

    def close(self) -> None:
        """Send what is unsent, for a moment."""
        self.flush()
        self._tell_gaps()
        self._dropped.lose(self._producer.flush(_CLOSE_WITHIN_S))

    def _report(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            return
        gap = gap_of(message.key(), message.headers()) if message.value() is None else None
        if gap is not None:
            self._dropped.untold(gap)
        else:
            self._dropped.count((message.key() or b"").decode())

    def _tell_gaps(self) -> None:
        """Report to the attempt log how many attempts of which clients it lacks; what is refused waits."""
        for gap in self._dropped.gaps(now_ms()):
            try:
                self._producer.produce(self._topic, None, gap.key, headers={GAP_HEADER: gap.header})
            except (BufferError, KafkaException):
                self._dropped.untold(gap)
                return
            self._handed_over += 1
