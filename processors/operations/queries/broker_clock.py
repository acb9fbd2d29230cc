"""What time it is where events arrive: a record is written, and the broker's stamp on it read from its report.

The record is a tombstone in the compacted topic of endpoint settings, under a key that is no endpoint's: it says
nothing, and nothing of it stays. Brokers of one cluster have a clock each; that they agree to within what an operator
means by "now" is what NTP is for.
"""

from __future__ import annotations

import threading

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME

from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.operations.acknowledged_writer import AcknowledgedWriter, NewRecord
from hookstream.schemas.topics import CLOCK_KEY
from hookstream.subscriptions.database import NowMs
from hookstream.subscriptions.errors import BrokerClockError, NotPublishedError

# A request waits for the answer. One question may take this long.
_TURN_WITHIN_S = 6.0


class KafkaBrokerClock:
    """A `BrokerClock`. May be used from any thread; questions are asked one after the other."""

    def __init__(self, kafka: KafkaConfig, topic: str, *, now_ms: NowMs) -> None:
        """Prepare; nothing is sent yet.

        `now_ms` stands in on the embedded Kafka: it keeps the writer's time of a record, and its reports say 1234.
        """
        self._embedded = kafka.embedded
        self._writer = AcknowledgedWriter(kafka, topic)
        self._topic = topic
        self._now_ms = now_ms
        self._lock = threading.Lock()

    def now_ms(self) -> int:
        """Ask what time it is there.

        Raises:
            BrokerClockError: no acknowledgement in time, or the topic does not take the broker's clock.
        """
        if self._embedded:
            return self._now_ms()
        if not self._lock.acquire(timeout=_TURN_WITHIN_S):
            msg = "the broker's clock cannot be read: others wait for it already"
            raise BrokerClockError(msg)
        try:
            stamp, ms = self._stamped()
        finally:
            self._lock.release()
        if stamp == TIMESTAMP_LOG_APPEND_TIME:
            return ms
        msg = f"the broker's clock cannot be read: {self._topic} needs message.timestamp.type=LogAppendTime"
        raise BrokerClockError(msg)

    def close(self) -> None:
        """Disconnect. Calling it twice is harmless."""
        with self._lock:
            self._writer.close()

    def _stamped(self) -> tuple[int, int]:
        """Write a record and give the kind and the time of its stamp."""
        try:
            return self._writer.write([NewRecord(CLOCK_KEY, None)])[0].stamp
        except NotPublishedError as exc:
            msg = f"the broker's clock cannot be read: {exc}"
            raise BrokerClockError(msg) from exc
