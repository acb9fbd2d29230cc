"""Finds one delivery by its id, in the logs of deliveries, of replays and of dead letters.

The id is searched as bytes in the records' values, and only what holds it is decoded: a record costs a microsecond or
two, most of which is Kafka's client. Of a client whose number is known one partition of each topic is read, and where
an attempt was made, of `deliveries` that one record. The newest stretch is read first, then ever longer ones before
it: what is asked for is mostly of today. Time is bounded, for a request waits for the answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from time import monotonic

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from hookstream.processors.deadline import Deadline
from hookstream.processors.errors import ProcessorError
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
from hookstream.producers.errors import RegistryError
from hookstream.producers.murmur2 import partition_of
from hookstream.schemas.delivery import DeadLetter, Delivery
from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.deliveries import FoundDelivery, WantedDelivery
from hookstream.subscriptions.errors import LogSearchError

WITHIN_S = 8.0
"""How long a search may take: less than the command line waits for an answer of the API."""

# Each has a consumer of its own, with some megabytes fetched ahead.
_AT_ONCE = 2
_FIRST_RECORDS = 20_000
_LONGER = 4
_BATCH_RECORDS = 5_000
_WAIT_S = 0.1
_FETCH_WAIT_MS = 10


class KafkaDeliveryLog:
    """A `DeliveryLog`. May be used from any thread; two searches run at once, others wait for a while."""

    def __init__(
        self,
        kafka: KafkaConfig,
        topics: TopicNames,
        *,
        decode: Callable[[bytes | None], Delivery],
        decode_dead_letter: Callable[[bytes | None], DeadLetter],
        within_s: float = WITHIN_S,
        monotonic_s: Callable[[], float] = monotonic,
    ) -> None:
        """Prepare; nothing is connected yet."""
        self._kafka = kafka
        self._topics = topics
        self._decode = decode
        self._decode_dead_letter = decode_dead_letter
        self._within_s = within_s
        self._monotonic_s = monotonic_s
        self._turns = threading.BoundedSemaphore(_AT_ONCE)

    def find(self, wanted: WantedDelivery) -> FoundDelivery:
        """Search for the record and the last dead letter of a delivery.

        Raises:
            LogSearchError: Kafka or the registry does not answer, or too many search already.
        """
        deadline = Deadline.after(self._within_s, self._monotonic_s)
        if not self._turns.acquire(timeout=self._within_s / 2):
            raise LogSearchError("the logs of deliveries cannot be searched now: others search already")
        try:
            consumer = make_consumer(reader_config(self._kafka, own={"fetch.wait.max.ms": _FETCH_WAIT_MS}))
            try:
                return self._search(consumer, wanted, deadline)
            finally:
                consumer.close()
        except (ProcessorError, RegistryError) as exc:
            raise LogSearchError(f"the logs of deliveries cannot be searched now: {exc}") from exc
        finally:
            self._turns.release()

    def _search(self, consumer: Consumer, wanted: WantedDelivery, deadline: Deadline) -> FoundDelivery:
        left = self._bounds(consumer, wanted, deadline)
        finds = _Finds(wanted, self._topics, self._decode, self._decode_dead_letter)
        records = _FIRST_RECORDS
        while left and not deadline.over:
            stretch = {side: (max(low, high - records), high) for side, (low, high) in left.items()}
            if not _read(consumer, stretch, finds.take, deadline):
                break
            records *= _LONGER
            left = {side: (low, stretch[side][0]) for side, (low, _) in left.items() if stretch[side][0] > low}
            left = {side: bounds for side, bounds in left.items() if finds.may_be_in(side[0])}
        return finds.result(complete=not left)

    def _bounds(
        self, consumer: Consumer, wanted: WantedDelivery, deadline: Deadline
    ) -> dict[TopicPartitionKey, tuple[int, int]]:
        """Where it may be: offsets from the first on and before the second."""
        topics = self._topics
        bounds: dict[TopicPartitionKey, tuple[int, int]] = {}
        for topic in (topics.deliveries, topics.replays, topics.dead_letters):
            count = _partitions(consumer, topic, deadline)
            known = None if wanted.client is None else partition_of(wanted.client.encode(), count)
            for partition in range(count) if known is None else (known,):
                timeout_s = deadline.left_s(REQUEST_TIMEOUT_S, f"cannot look {topic} up")
                bounds[topic, partition] = watermarks(consumer, topic, partition, timeout_s=timeout_s)
        if wanted.position is not None:
            side, offset = (topics.deliveries, wanted.position.partition), wanted.position.offset
            low, high = bounds.get(side, (0, 0))
            bounds = {key: value for key, value in bounds.items() if key[0] == topics.dead_letters}
            bounds[side] = (max(low, offset), min(high, offset + 1))
        return {side: (low, high) for side, (low, high) in bounds.items() if low < high}


@dataclass(slots=True)
class _Finds:
    """What was found so far. Of records the one in `deliveries` counts most, of dead letters the last."""

    wanted: WantedDelivery
    topics: TopicNames
    decode: Callable[[bytes | None], Delivery]
    decode_dead_letter: Callable[[bytes | None], DeadLetter]
    live: Delivery | None = None
    replayed: Delivery | None = None
    dead_letter: DeadLetter | None = None
    _needle: bytes = field(init=False)

    def __post_init__(self) -> None:
        """Search for the id as bytes."""
        self._needle = self.wanted.id.encode()

    def take(self, message: Message) -> None:
        """Look at one record; what holds the id and cannot be decoded is none of ours."""
        value = message.value()
        if value is None or self._needle not in value:
            return
        try:
            if message.topic() == self.topics.dead_letters:
                self._take_dead_letter(self.decode_dead_letter(value))
            else:
                self._take_delivery(self.decode(value), live=message.topic() == self.topics.deliveries)
        except UndecodableError:
            return

    def may_be_in(self, topic: str) -> bool:
        """Whether reading on there can still change the result: stretches come the newest first."""
        if topic == self.topics.dead_letters:
            return self.dead_letter is None
        return self.live is None and self.replayed is None

    def result(self, *, complete: bool) -> FoundDelivery:
        """What there is; a dead letter holds the record that died."""
        return FoundDelivery(delivery=self.live or self.replayed, dead_letter=self.dead_letter, complete=complete)

    def _take_delivery(self, delivery: Delivery, *, live: bool) -> None:
        if delivery.id != self.wanted.id or self.wanted.client not in (None, delivery.client):
            return
        if live:
            self.live = delivery
        else:
            self.replayed = delivery

    def _take_dead_letter(self, letter: DeadLetter) -> None:
        if letter.delivery_id != self.wanted.id or self.wanted.client not in (None, letter.client):
            return
        self.dead_letter = letter
        if letter.record_value is not None and self.replayed is None:
            self._take_delivery(self.decode(letter.record_value), live=False)


def _read(
    consumer: Consumer,
    stretch: Mapping[TopicPartitionKey, tuple[int, int]],
    take: Callable[[Message], None],
    deadline: Deadline,
) -> bool:
    """Read a stretch of each partition, each in its order; False if time is over first."""
    left = {side: high for side, (_, high) in stretch.items()}
    with translated("cannot read the logs of deliveries"):
        consumer.incremental_assign([TopicPartition(*side, start) for side, (start, _) in stretch.items()])
        while left and not deadline.over:
            messages = consume_batch(consumer, _WAIT_S, limit=_BATCH_RECORDS)
            passed = list(_taken(messages, left, take))
            if passed:
                consumer.incremental_unassign([TopicPartition(*side) for side in passed])
    return not left


def _taken(
    messages: Iterable[Message], left: dict[TopicPartitionKey, int], take: Callable[[Message], None]
) -> Iterable[TopicPartitionKey]:
    """Take records of stretches that are not passed yet, and give those that are now."""
    for message in messages:
        side = (message.topic() or "", message.partition() or 0)
        high = left.get(side)
        if high is None:
            continue
        error, offset = message.error(), message.offset() or 0
        if error is None:
            if offset < high:
                take(message)
            ended = offset >= high - 1
        elif error.code() in (KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET):
            ended = True  # what was asked for there is gone, or never was
        elif is_retriable(error):
            continue
        else:
            raise kafka_error(error, "cannot read the logs of deliveries")
        if ended:
            del left[side]
            yield side


def _partitions(consumer: Consumer, topic: str, deadline: Deadline) -> int:
    doing = f"cannot look {topic} up"
    with translated(doing):
        found = consumer.list_topics(topic, timeout=deadline.left_s(REQUEST_TIMEOUT_S, doing)).topics[topic]
    if found.error is not None:
        raise kafka_error(found.error, doing)
    return len(found.partitions)
