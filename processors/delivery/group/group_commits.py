"""The commits of a member of the group: one request at a time, each answered once. The poll thread's."""

from __future__ import annotations

from collections.abc import Container, Iterable
from queue import Empty, SimpleQueue

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from hookstream.processors.kafka import TopicPartitionKey

from .poll_requests import Committed

_TRIES = 3

# A process that was suspended may have lost its partitions without knowing it. It joins again at once, and from then on
# the broker takes its commits, of any partition: what it knew before it slept would overwrite what the new owner said
# since. So after a silence that a session might not survive, Kafka gets time to say so before anything is committed.
SUSPENDED_AFTER_S = 5.0
REJOINED_WITHIN_S = 3.0

log = structlog.get_logger("hookstream.deliver")


class GroupCommits:
    """Sends what is asked for, and gives each request its answer."""

    def __init__(self, requests: SimpleQueue[tuple[list[TopicPartition], Committed]]) -> None:
        """Take requests from this queue."""
        self._requests = requests
        self._awaited: Committed | None = None
        self._sent: list[tuple[str, int, int]] = []
        self._not_before = 0.0

    def note_turn(self, now: float, last_turn: float) -> None:
        """Commit nothing for a while where the last turn was long ago; both are monotonic seconds."""
        if now - last_turn > SUSPENDED_AFTER_S:
            self._not_before = now + REJOINED_WITHIN_S

    def send_next(self, consumer: Consumer, owned: Container[TopicPartitionKey], now: float) -> None:
        """Send the next request, if there is one and it may be sent; returns at once."""
        if now < self._not_before:
            return
        try:
            offsets, committed = self._requests.get_nowait()
        except Empty:
            return
        self._awaited, self._sent = committed, _names(offsets)
        if any((tp.topic, tp.partition) not in owned for tp in offsets):
            self.answer("it covers partitions that were given away")
            return
        try:
            consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as exc:
            self.answer(str(exc))

    def on_commit(self, error: KafkaError | None, offsets: list[TopicPartition]) -> None:
        """Take Kafka's answer: its callback."""
        if _names(offsets) != self._sent:
            return  # of one that was given up when its partitions were lost
        refused = next((tp.error for tp in offsets if tp.error is not None), None)
        failure = error or refused
        self.answer(None if failure is None else failure.str())

    def answer(self, failure: str | None) -> None:
        """Answer the request that waits, if one does."""
        awaited, self._awaited = self._awaited, None
        if awaited is not None:
            awaited(failure)


def commit_now(consumer: Consumer, offsets: list[TopicPartition]) -> bool:
    """Commit and wait for the answer; a failure costs duplicates, not deliveries."""
    failure = ""
    for _ in range(_TRIES):
        try:
            answers = consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as exc:
            failure = str(exc)
            continue
        refused = [answer for answer in answers or () if answer.error is not None]
        if not refused:
            return True
        failure = str(refused[0].error)
    log.warning("a commit failed; what it covered is delivered again", reason=failure)
    return False


def _names(offsets: Iterable[TopicPartition]) -> list[tuple[str, int, int]]:
    """What identifies a commit."""
    return sorted((tp.topic, tp.partition, tp.offset) for tp in offsets)
