"""Reads stretches of many logs at once, for whoever wants to know what they hold: in no group, committing nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from hookstream.processors.deadline import Deadline
from hookstream.processors.kafka import (
    REQUEST_TIMEOUT_S,
    KafkaConfig,
    TopicPartitionKey,
    consume_batch,
    is_retriable,
    kafka_error,
    make_consumer,
    reader_config,
    translated,
    watermarks,
)

_WAIT_S = 0.1
# A log that is read to its end is asked for more meanwhile; whoever wants to go elsewhere would wait for that.
_FETCH_WAIT_MS = 10


class Stretch(NamedTuple):
    """Offsets of one log: from the first one on, and before the second."""

    start: int
    end: int


class LogScanner:
    """One consumer. One thread at a time."""

    def __init__(self, kafka: KafkaConfig) -> None:
        """Open it; it connects when it is asked something.

        Raises:
            KafkaRefusedError: a configuration that librdkafka refuses.
        """
        self._consumer: Consumer = make_consumer(reader_config(kafka, own={"fetch.wait.max.ms": _FETCH_WAIT_MS}))

    def close(self) -> None:
        """Close it."""
        self._consumer.close()

    def watermarks(self, topic: str, partition: int, deadline: Deadline) -> tuple[int, int]:
        """First offset that a log holds, and the one after its last.

        Raises:
            KafkaUnavailableError, KafkaRefusedError: as everywhere.
        """
        timeout_s = deadline.left_s(REQUEST_TIMEOUT_S, f"cannot look {topic} up")
        return watermarks(self._consumer, topic, partition, timeout_s=timeout_s)

    def partitions(self, topic: str, deadline: Deadline) -> int:
        """How many partitions a topic has; 0 where there is none.

        Raises:
            KafkaUnavailableError: no answer.
        """
        doing = f"cannot look {topic} up"
        with translated(doing):
            timeout_s = deadline.left_s(REQUEST_TIMEOUT_S, doing)
            found = self._consumer.list_topics(topic, timeout=timeout_s).topics.get(topic)
        return 0 if found is None else len(found.partitions)

    def scan(
        self,
        wanted: Mapping[TopicPartitionKey, Stretch],
        take: Callable[[TopicPartitionKey, Message], bool],
        *,
        deadline: Deadline,
    ) -> dict[TopicPartitionKey, int]:
        """Give each record of these stretches to `take`, in the order of each log; give how far each was read.

        It ends early at the deadline, and for one log where `take` says that it had enough: the record that
        it says so of counts as not read.

        Raises:
            KafkaRefusedError: no right to read.
        """
        reached = {side: stretch.start for side, stretch in wanted.items()}
        left = {side: stretch.end for side, stretch in wanted.items() if stretch.start < stretch.end}
        if not left:
            return reached
        doing = "cannot read the logs of deliveries"
        with translated(doing):
            self._consumer.assign([TopicPartition(*side, reached[side]) for side in left])
        try:
            while left and not deadline.over:
                with translated(doing):
                    messages = consume_batch(self._consumer, _WAIT_S)
                for message in messages:
                    side = (message.topic() or "", message.partition() or 0)
                    if side in left and self._pass(side, message, left[side], reached, take):
                        del left[side]
                        with translated(doing):
                            self._consumer.incremental_unassign([TopicPartition(*side)])
        finally:
            self._consumer.unassign()
        return reached

    @staticmethod
    def _pass(
        side: TopicPartitionKey,
        message: Message,
        end: int,
        reached: dict[TopicPartitionKey, int],
        take: Callable[[TopicPartitionKey, Message], bool],
    ) -> bool:
        """Take one message; say whether its log is done with."""
        error, offset = message.error(), message.offset() or 0
        if error is None:
            if offset < end:
                if not take(side, message):
                    return True
                offset += 1
            reached[side] = max(reached[side], min(offset, end))
            return offset >= end
        if error.code() == KafkaError._PARTITION_EOF:
            reached[side] = max(reached[side], min(offset, end))
            return offset >= end
        if error.code() == KafkaError._AUTO_OFFSET_RESET:  # deleted since its bounds were asked for: the next look sees
            return True
        if not is_retriable(error):
            raise kafka_error(error, "cannot read the logs of deliveries")
        return False
