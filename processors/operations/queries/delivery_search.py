"""Finds one delivery by its id, in the logs of deliveries, of replays and of dead letters.

The id is searched as bytes in the records' values, and only what holds it is decoded: a record costs a microsecond or
two, most of which is Kafka's client. Of a client whose number is known one partition of each topic is read, and where
an attempt was made, of `deliveries` that one record. The newest records are read first, then ever longer ones before
it: what is asked for is mostly of today. Time is bounded, for a request waits for the answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from time import monotonic

from confluent_kafka import Message

from hookstream.processors.deadline import Deadline
from hookstream.processors.errors import ProcessorError
from hookstream.processors.kafka import KafkaConfig, TopicPartitionKey
from hookstream.processors.operations.log_ranges import LogScanner, OffsetRange
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
            with closing(LogScanner(self._kafka)) as scanner:
                return self._search(scanner, wanted, deadline)
        except (ProcessorError, RegistryError) as exc:
            raise LogSearchError(f"the logs of deliveries cannot be searched now: {exc}") from exc
        finally:
            self._turns.release()

    def _search(self, scanner: LogScanner, wanted: WantedDelivery, deadline: Deadline) -> FoundDelivery:
        left = self._bounds(scanner, wanted, deadline)
        finds = _Finds(wanted, self._topics, self._decode, self._decode_dead_letter)
        records = _FIRST_RECORDS
        while left and not deadline.over:
            newest = {key: OffsetRange(max(low, high - records), high) for key, (low, high) in left.items()}
            if scanner.scan(newest, finds.take, deadline=deadline).unread:
                break
            records *= _LONGER
            older = {key: OffsetRange(low, newest[key].start) for key, (low, _) in left.items()}
            left = {key: each for key, each in older.items() if each.size and finds.may_be_in(key[0])}
        return finds.result(complete=not left)

    def _bounds(
        self, scanner: LogScanner, wanted: WantedDelivery, deadline: Deadline
    ) -> dict[TopicPartitionKey, OffsetRange]:
        """Where it may be."""
        topics = self._topics
        bounds: dict[TopicPartitionKey, OffsetRange] = {}
        for topic in (topics.deliveries, topics.replays, topics.dead_letters):
            numbers = scanner.partitions(topic, deadline)
            known = None if wanted.client is None else partition_of(wanted.client.encode(), len(numbers))
            for partition in numbers if known is None else (known,):
                bounds[topic, partition] = scanner.watermarks(topic, partition, deadline)
        if wanted.position is not None:
            live, offset = (topics.deliveries, wanted.position.partition), wanted.position.offset
            low, high = bounds.get(live, (0, 0))
            bounds = {key: each for key, each in bounds.items() if key[0] == topics.dead_letters}
            bounds[live] = OffsetRange(max(low, offset), min(high, offset + 1))
        return {key: each for key, each in bounds.items() if each.size}


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

    def take(self, log: TopicPartitionKey, message: Message) -> bool:
        """Look at one record, and always ask for more; what holds the id and cannot be decoded is none of ours."""
        value = message.value()
        if value is not None and self._needle in value:
            with suppress(UndecodableError):
                if log[0] == self.topics.dead_letters:
                    self._take_dead_letter(self.decode_dead_letter(value))
                else:
                    self._take_delivery(self.decode(value), live=log[0] == self.topics.deliveries)
        return True

    def may_be_in(self, topic: str) -> bool:
        """Whether reading on there can still change the result: the newest come first."""
        if topic == self.topics.dead_letters:
            return self.dead_letter is None
        return self.live is None and self.replayed is None

    def result(self, *, complete: bool) -> FoundDelivery:
        """What there is; a dead letter holds its record."""
        return FoundDelivery(delivery=self.live or self.replayed, dead_letter=self.dead_letter, complete=complete)

    def _take_delivery(self, delivery: Delivery, *, live: bool) -> None:
        if delivery.id != self.wanted.id or self.wanted.client not in (None, delivery.client):
            return
        if live:
            self.live = delivery
        else:
            self.replayed = delivery

    def _take_dead_letter(self, dead_letter: DeadLetter) -> None:
        if dead_letter.delivery_id != self.wanted.id or self.wanted.client not in (None, dead_letter.client):
            return
        self.dead_letter = dead_letter
        if dead_letter.record_value is not None and self.replayed is None:
            self._take_delivery(self.decode(dead_letter.record_value), live=False)
