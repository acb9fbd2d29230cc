"""What time it is where events arrive: a record is written, and the broker's stamp on it read from its report.

The record is a tombstone in the compacted topic of the operators' wishes, under a key that is no endpoint's: it says
nothing, and nothing of it stays. Brokers of one cluster have a clock each; that they agree to within what an operator
means by "now" is what NTP is for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, KafkaException, Message, Producer

from hookstream.processors.errors import ProcessorError
from hookstream.processors.kafka import KafkaConfig, make_producer, producer_config
from hookstream.schemas.topics import CLOCK_KEY
from hookstream.subscriptions.database import NowMs
from hookstream.subscriptions.errors import BrokerClockError

# Somebody waits for the answer of a request; a stamp that comes later is none of "now".
_ACKNOWLEDGED_WITHIN_MS = 5000
# The report of a record that timed out comes a little after its time.
_REPORT_WITHIN_S = 6.0


class KafkaBrokerClock:
    """A `BrokerClock`. May be used from any thread; questions are asked one after the other."""

    def __init__(self, kafka: KafkaConfig, topic: str, *, now_ms: NowMs) -> None:
        """Prepare; nothing is sent yet.

        `now_ms` stands in on the embedded Kafka: it keeps the writer's time of a record, and its reports say 1234.
        """
        self._embedded = kafka.embedded
        self._config = producer_config(kafka, message_timeout_ms=_ACKNOWLEDGED_WITHIN_MS)
        self._topic = topic
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._producer: Producer | None = None

    def now_ms(self) -> int:
        """Ask what time it is there.

        Raises:
            BrokerClockError: no acknowledgement in time, or the topic does not take the broker's clock.
        """
        if self._embedded:
            return self._now_ms()
        if not self._lock.acquire(timeout=_REPORT_WITHIN_S):
            msg = "the broker's clock cannot be told: others wait for it already"
            raise BrokerClockError(msg)
        try:
            stamp, ms = self._stamped()
        finally:
            self._lock.release()
        if stamp == TIMESTAMP_LOG_APPEND_TIME:
            return ms
        msg = f"the broker's clock cannot be told: {self._topic} wants message.timestamp.type=LogAppendTime"
        raise BrokerClockError(msg)

    def close(self) -> None:
        """Disconnect. Calling it twice is harmless."""
        with self._lock:
            self._producer = None

    def _stamped(self) -> tuple[int, int]:
        """Write a record and give the kind and the time of its stamp."""
        stamps: list[tuple[int, int]] = []
        failures: list[KafkaError] = []
        try:
            producer = self._producer = self._producer or make_producer(self._config)
            producer.produce(self._topic, None, CLOCK_KEY, on_delivery=_note(stamps, failures))
            producer.flush(_REPORT_WITHIN_S)
        except (KafkaException, BufferError, ProcessorError) as exc:
            self._abandon()
            msg = f"the broker's clock cannot be told: {exc}"
            raise BrokerClockError(msg) from exc
        if not stamps:
            self._abandon()
            why = failures[0].str() if failures else "no acknowledgement in time"
            msg = f"the broker's clock cannot be told: {why}"
            raise BrokerClockError(msg)
        return stamps[0]

    def _abandon(self) -> None:
        """Drop what is unsent, and begin with a new producer next time: this one may have failed for good."""
        if self._producer is not None:
            self._producer.purge(in_queue=True, in_flight=True, blocking=False)
            self._producer = None


def _note(stamps: list[tuple[int, int]], failures: list[KafkaError]) -> Callable[[KafkaError | None, Message], None]:
    def report(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failures.append(error)
        else:
            stamps.append(message.timestamp())

    return report
