"""Writes what must not be lost: dead letters, states, notices. Every record has a report, and the loop is called back.

One idempotent producer without a time-out: librdkafka tries again by itself for as long as no broker answers, so a
report that failed rejects the record, or means that this producer is done for, which ends the process. Belongs to the
event loop's thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from hookstream.processors.errors import KafkaRefusedError, ProduceFailedError
from hookstream.processors.kafka import REQUEST_TIMEOUT_S, KafkaConfig, make_producer, producer_config, translated
from hookstream.producers.cloud_events import Headers
from hookstream.producers.delivery_report import failure_of

Written: TypeAlias = Callable[[int | None], None]
"""Called with the record's offset when Kafka has acknowledged it, or with None when it refuses it."""

ANY = -1  # librdkafka's own number for: by the key

_POLL_EVERY_S = 0.005
_CLOSE_WITHIN_S = 2.0
_FIRST_RETRY_S = 0.1
_LAST_RETRY_S = 5.0

log = structlog.get_logger("hookstream.deliver")


class RecordWriter:
    """A producer whose reports are taken in the loop while any are awaited; idle, it costs nothing."""

    def __init__(self, kafka: KafkaConfig, *, max_record_bytes: int, failed: Callable[[Exception], None]) -> None:
        """Open a producer; `failed` is called when it can do no more.

        Raises:
            KafkaRefusedError: a configuration that librdkafka refuses.
        """
        config = producer_config(kafka, message_timeout_ms=0, max_message_bytes=max_record_bytes)
        self._producer: Producer = make_producer(config)
        self._failed = failed
        self._outstanding = 0
        self._timer: asyncio.TimerHandle | None = None

    def warm_up(self, topic: str) -> None:
        """Connect: the first record of a process takes half a second otherwise. Any thread.

        Raises:
            KafkaUnavailableError: no answer.
        """
        with translated("cannot reach Kafka"):
            self._producer.list_topics(topic, timeout=REQUEST_TIMEOUT_S)

    def write(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        written: Written,
        *,
        partition: int | None = None,
        headers: Headers | None = None,
        retry_s: float = _FIRST_RETRY_S,
    ) -> None:
        """Write one record; `written` is called in the loop, after this call has returned."""

        def report(error: KafkaError | None, message: Message) -> None:
            self._outstanding -= 1
            failure = failure_of(error, message)
            if failure is None:
                written(message.offset())
            elif failure.fatal() or failure.code() == KafkaError._FATAL:
                self._failed(ProduceFailedError(f"the producer of {topic} has failed: {failure.str()}"))
            else:
                self._refused(topic, failure, written)

        loop = asyncio.get_running_loop()
        try:
            self._producer.produce(
                topic, value, key, ANY if partition is None else partition, on_delivery=report, headers=headers
            )
        except BufferError:
            loop.call_later(
                retry_s,
                lambda: self.write(
                    topic,
                    key,
                    value,
                    written,
                    partition=partition,
                    headers=headers,
                    retry_s=min(2 * retry_s, _LAST_RETRY_S),
                ),
            )
            return
        except KafkaException as exc:
            error: KafkaError = exc.args[0]
            if error.fatal() or error.code() == KafkaError._FATAL:
                self._failed(ProduceFailedError(f"the producer of {topic} has failed: {error.str()}"))
            else:
                loop.call_soon(self._refused, topic, error, written)
            return
        self._outstanding += 1
        if self._timer is None:
            self._timer = loop.call_later(_POLL_EVERY_S, self._poll)

    def close(self) -> None:
        """Send what is unsent, for a moment, and forget the rest: no caller has an acknowledgement of it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._producer.flush(_CLOSE_WITHIN_S)
        self._producer.purge()

    def _poll(self) -> None:
        self._timer = None
        try:
            self._producer.poll(0)
        except KafkaException as exc:
            self._failed(KafkaRefusedError(str(exc)))
        if self._outstanding and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_POLL_EVERY_S, self._poll)

    def _refused(self, topic: str, error: KafkaError, written: Written) -> None:
        log.error("Kafka refuses a record", topic=topic, reason=error.str(), error=error.name())
        written(None)
