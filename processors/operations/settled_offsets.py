"""Offsets of records that are done with, committed to their group until Kafka has taken them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import structlog
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

log = structlog.get_logger("hookstream.offsets")


class SettledOffsets:
    """What a member of a group has done, and has not committed yet. One thread.

    While a group moves, Kafka's answer to a commit may be no, and no record may come to ask again with: so a turn
    without records commits too. An offset of a partition that is another's by now is true, and harmless.
    """

    def __init__(self, topic: str) -> None:
        """Nothing is done."""
        self._topic = topic
        self._ends: dict[int, int] = {}

    def add(self, done: Sequence[Message]) -> None:
        """Note records that are done with, in the order of each partition."""
        self._ends |= {message.partition() or 0: (message.offset() or 0) + 1 for message in done}

    def begin(self, starts: Iterable[TopicPartition]) -> None:
        """Note where partitions begin: what is below was done by another member, or is no longer there."""
        self._ends |= {start.partition: start.offset for start in starts}

    def commit(self, consumer: Consumer) -> None:
        """Commit what is not, and wait for the answer; a failure is logged, and the next call asks again."""
        if not self._ends:
            return
        offsets = [TopicPartition(self._topic, partition, offset) for partition, offset in self._ends.items()]
        try:
            answers = consumer.commit(offsets=offsets, asynchronous=False) or []
        except KafkaException as exc:
            log.warning("offsets were not committed yet", topic=self._topic, reason=str(exc))
            return
        for answer in answers:
            if answer.error is None:
                self._ends.pop(answer.partition, None)
            else:
                log.warning(
                    "offsets were not committed yet",
                    topic=self._topic,
                    partition=answer.partition,
                    reason=answer.error.str(),
                )

    def clear(self) -> None:
        """Forget everything: whoever joins the group next begins where it was committed."""
        self._ends.clear()
