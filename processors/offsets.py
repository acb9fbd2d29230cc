"""Questions about offsets: where logs begin and end, where a time is in them, and how far a group is.

A broker answers them with an error while a partition's leader or a group's coordinator moves, and for a moment after a
topic was made; librdkafka hands most of these errors on. Here the question is asked again until the move is over, for
some seconds, so that no caller has to tell such an answer from one that stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from time import sleep
from typing import Final, TypeAlias

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from .deadline import Deadline
from .errors import KafkaUnavailableError
from .kafka import REQUEST_TIMEOUT_S, UNKNOWN, translated

# A move takes a second or two. For a broker that is dead the callers wait, who look whether they have to stop.
_MOVES_WITHIN_S: Final = 5.0
_ASK_AGAIN_S: Final = 0.1
# Of the whole time for an answer, this is left to ask who leads, where there was none. Who has less has a deadline.
_LEADERS_WITHIN_S: Final = 2.0

# A leader or a coordinator moves, or has moved and does not know everything yet.
_MOVING: Final = frozenset(
    {
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
        KafkaError._NODE_UPDATE,
        KafkaError._WAIT_COORD,
    }
)

_Ask: TypeAlias = Callable[[float], Sequence[TopicPartition]]
"""Asks once, within so many seconds."""


def end_offset(consumer: Consumer, topic: str, partition: int, *, timeout_s: float = REQUEST_TIMEOUT_S) -> int:
    """Ask the broker for the end offset of a partition.

    Raises:
        KafkaUnavailableError: no answer.
        KafkaRefusedError: no right to read it.
    """
    return watermarks(consumer, topic, partition, timeout_s=timeout_s)[1]


def watermarks(
    consumer: Consumer, topic: str, partition: int, *, timeout_s: float = REQUEST_TIMEOUT_S
) -> tuple[int, int]:
    """Ask the broker for the first offset that it still holds and the one after its last.

    Raises:
        KafkaUnavailableError: no answer, or no such partition (yet).
        KafkaRefusedError: no right to read it.
    """
    doing = f"cannot read the offsets of {topic}:{partition}"
    asked = TopicPartition(topic, partition)
    found: list[tuple[int, int] | None] = []

    def ask(left_s: float) -> Sequence[TopicPartition]:
        # None where there is no answer in time, which the client's types do not know of.
        found.append(consumer.get_watermark_offsets(asked, timeout=left_s, cached=False))
        return ()

    _answered(consumer, topic, ask, doing, timeout_s=timeout_s)
    bounds = found[-1]
    if bounds is None:
        message = f"{doing}: no answer within {timeout_s:.0f} s"
        raise KafkaUnavailableError(message)
    return bounds


def committed_offsets(
    consumer: Consumer, partitions: Sequence[TopicPartition], doing: str, *, timeout_s: float = REQUEST_TIMEOUT_S
) -> Sequence[TopicPartition]:
    """Ask for the offsets that the consumer's group has committed, below 0 where there is none, and their metadata.

    Raises:
        KafkaUnavailableError: no answer; `doing` starts the message.
        KafkaRefusedError: no right to.
    """
    if not partitions:
        return ()
    return _answered(
        consumer,
        partitions[0].topic,
        lambda left_s: consumer.committed(list(partitions), timeout=left_s),
        doing,
        timeout_s=timeout_s,
    )


def offsets_of_times(
    consumer: Consumer, asked: Sequence[TopicPartition], doing: str, *, timeout_s: float = REQUEST_TIMEOUT_S
) -> Sequence[TopicPartition]:
    """Ask for the first offset of that time or later in each partition, whose `offset` is a time in milliseconds.

    Below 0 where there is none. The embedded Kafka cannot tell.

    Raises:
        KafkaUnavailableError: no answer, of one partition at least; `doing` starts the message.
        KafkaRefusedError: no right to.
    """
    if not asked:
        return ()
    return _answered(
        consumer,
        asked[0].topic,
        lambda left_s: consumer.offsets_for_times(list(asked), timeout=left_s),
        doing,
        timeout_s=timeout_s,
    )


def _answered(consumer: Consumer, topic: str, ask: _Ask, doing: str, *, timeout_s: float) -> Sequence[TopicPartition]:
    """Ask until there is an answer without an error; raise an error that stays."""
    deadline = Deadline.after(min(timeout_s, _MOVES_WITHIN_S))
    leaders_s = _LEADERS_WITHIN_S if timeout_s >= REQUEST_TIMEOUT_S else 0.0
    left_s = timeout_s - leaders_s
    asked_about_unknown = False
    with translated(doing):
        while True:
            try:
                found = ask(left_s)
            except KafkaException as exc:
                error = exc.args[0]
            else:
                error = next((tp.error for tp in found if tp.error is not None), None)
                if error is None:
                    return found
            if error.code() == KafkaError._TIMED_OUT and leaders_s:
                _look_up_leaders(consumer, topic, leaders_s)
            unknown = error.code() in UNKNOWN and not asked_about_unknown
            left_s = deadline.remaining_s
            if not unknown and (error.code() not in _MOVING or left_s <= _ASK_AGAIN_S):
                raise KafkaException(error)
            if unknown:
                asked_about_unknown, left_s = True, timeout_s - leaders_s
            else:
                sleep(_ASK_AGAIN_S)
            # A client keeps for a quarter of an hour what it found while a broker stopped, unless it is asked again.
            consumer.list_topics(topic, timeout=left_s)


def _look_up_leaders(consumer: Consumer, topic: str, timeout_s: float) -> None:
    """Have the next question asked of whoever leads now.

    A client that looked just after a broker ended, before another led, asks the one that ended for minutes.
    """
    with suppress(KafkaException):
        consumer.list_topics(topic, timeout=timeout_s)
