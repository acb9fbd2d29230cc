"""`delivery-state` as workers use it: find a state by its pointer, and whether there is any.

States of partition p of `deliveries` and of `deliveries.replay` are in partition p. A pointer holds the offsets of its
chunks, so a start reads a few records, however long the topic is. One thread at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from hookstream.processors.deadline import Deadline
from hookstream.processors.delivery.engine.partition_state import PartitionState
from hookstream.processors.errors import KafkaUnavailableError, StoredFormatError
from hookstream.processors.kafka import (
    REQUEST_TIMEOUT_S,
    KafkaConfig,
    consume_batch,
    is_retriable,
    kafka_error,
    make_consumer,
    reader_config,
    translated,
)
from hookstream.processors.offsets import watermarks

from .commit_metadata import StatePointer
from .partition_recovery import FoundState
from .state_codec import StateKey, decode_state

_READ_WITHIN_S = 30.0
_WAIT_S = 0.2
# The last fetch of a read stays with the broker for so long, and the next question waits behind it: half a second by
# default, which is ten seconds for a worker that takes a dozen partitions with states over.
_FETCH_WAIT_MS = 10


class StateReader:
    """Reads `delivery-state`; also asks for watermarks, which would wait behind a fetch on a consumer that reads."""

    def __init__(self, kafka: KafkaConfig, topic: str) -> None:
        """Open a reader; it connects when it is asked something.

        Raises:
            KafkaRefusedError: a configuration that librdkafka refuses.
        """
        self._topic = topic
        self._consumer: Consumer = make_consumer(reader_config(kafka, own={"fetch.wait.max.ms": _FETCH_WAIT_MS}))

    def close(self) -> None:
        """Close it."""
        self._consumer.close()

    def watermarks(self, topic: str, partition: int, *, timeout_s: float = REQUEST_TIMEOUT_S) -> tuple[int, int]:
        """First offset that a log holds, and the one after its last.

        Raises:
            KafkaUnavailableError, KafkaRefusedError: as everywhere.
        """
        return watermarks(self._consumer, topic, partition, timeout_s=timeout_s)

    def load(
        self, topic: str, partition: int, pointer: StatePointer, *, deadline: Deadline | None = None
    ) -> PartitionState:
        """Read the state that a commit of a topic's partition points to.

        Raises:
            StoredFormatError: it is not there, or cannot be read.
            KafkaUnavailableError: no answer.
        """
        wanted = {StateKey(topic, partition, pointer.id, chunk).encode(): chunk for chunk in range(pointer.chunks)}
        chunks: dict[int, bytes] = {}
        for message in self._between(partition, pointer.first_offset, pointer.last_offset + 1, deadline):
            chunk = wanted.get(message.key() or b"")
            value = message.value()
            if chunk is not None and value is not None:
                chunks[chunk] = value
                if len(chunks) == len(wanted):
                    return decode_state(b"".join(chunks[index] for index in range(pointer.chunks)))
        raise StoredFormatError("the state that it points to is not in its topic")

    def any_state(self, topic: str, partition: int, *, deadline: Deadline | None = None) -> bool:
        """Whether the topic holds any state of that partition; reads all of it.

        Raises:
            KafkaUnavailableError: no answer.
        """
        return bool(self.states(topic, partition, deadline=deadline))

    def states(self, topic: str, partition: int, *, deadline: Deadline | None = None) -> dict[StateKey, int]:
        """Every chunk of that partition that has no tombstone, with its append time (Unix ms); reads all of it.

        Raises:
            KafkaUnavailableError: no answer.
        """
        found: dict[StateKey, int] = {}
        for message in self._between(partition, 0, None, deadline):
            key = StateKey.decode(message.key())
            if key is None or (key.topic, key.partition) != (topic, partition):
                continue
            if message.value() is None:
                found.pop(key, None)
            else:
                found[key] = message.timestamp()[1]
        return found

    def found_states(self, topic: str, partition: int) -> tuple[FoundState, ...]:
        """Every state of that partition that has no tombstone, oldest first; reads all of the topic's partition.

        Raises:
            KafkaUnavailableError: no answer.
        """
        chunks: dict[bytes, dict[StateKey, bytes]] = {}
        for message in self._between(partition, 0, None):
            key, value = StateKey.decode(message.key()), message.value()
            if key is None or (key.topic, key.partition) != (topic, partition):
                continue
            if value is None:
                chunks.get(key.state_id, {}).pop(key, None)
            else:
                chunks.setdefault(key.state_id, {})[key] = value
        return tuple(_found_state(chunks_by_key) for chunks_by_key in chunks.values() if chunks_by_key)

    def _between(
        self, partition: int, start: int, end: int | None, deadline: Deadline | None = None
    ) -> Iterator[Message]:
        """Every record from `start` to `end`, or to the end that the log has now."""
        deadline = deadline or Deadline.after(_READ_WITHIN_S)
        doing = f"cannot read {self._topic}:{partition}"
        timeout_s = deadline.left_s(REQUEST_TIMEOUT_S, doing)
        low, high = self.watermarks(self._topic, partition, timeout_s=timeout_s)
        start = max(start, low)
        end = high if end is None else min(end, high)
        if start >= end:
            return
        with translated(doing):
            self._consumer.assign([TopicPartition(self._topic, partition, start)])
        try:
            while not deadline.over:
                with translated(doing):
                    messages = consume_batch(self._consumer, _WAIT_S)
                for message in messages:
                    error = message.error()
                    offset = message.offset() or 0
                    if error is None and offset < end:
                        yield message
                    elif error is not None and not is_retriable(error) and error.code() != KafkaError._PARTITION_EOF:
                        raise kafka_error(error, doing)
                    if offset + (error is None) >= end:
                        return
        finally:
            self._consumer.unassign()
        raise KafkaUnavailableError(f"{doing}: not done in time")


def _found_state(chunks_by_key: Mapping[StateKey, bytes]) -> FoundState:
    keys = sorted(chunks_by_key, key=lambda key: key.chunk)
    try:
        state = decode_state(b"".join(chunks_by_key[key] for key in keys))
    except StoredFormatError:
        return FoundState(tuple(keys), None)
    return FoundState(tuple(keys), state)
