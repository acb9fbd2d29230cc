"""Reads `deliveries.dead` for the API: `assign()`-based, a consumer a question, committing nothing.

A client's letters are in one partition, found by its key; without a client every partition is read, one after the
other. What is kept is 30 days of what went wrong: a scan is bounded by time, and says where the next one goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TypedDict

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from hookstream.processors.deadline import Deadline
from hookstream.processors.errors import KafkaUnavailableError, ProcessorError
from hookstream.processors.kafka import (
    REQUEST_TIMEOUT_S,
    KafkaConfig,
    consume_batch,
    is_retriable,
    kafka_error,
    make_consumer,
    reader_config,
    translated,
    watermarks,
)
from hookstream.processors.operations.replays.event_writer import EventRecord, EventWriter
from hookstream.processors.operations.replays.writer import ReplayWriter
from hookstream.producers.errors import ProducerError
from hookstream.producers.murmur2 import partition_of
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.codec import dead_letter_decoder, delivery_decoder, event_decoder
from hookstream.schemas.delivery import DeadLetter, Delivery
from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.event import Event
from hookstream.schemas.topics import TopicNames
from hookstream.schemas.wire import WriterSchemas
from hookstream.subscriptions.dead_letters import DeadLetterPage, DeadLetterPlace, DeadLetterQuery, FoundDeadLetter
from hookstream.subscriptions.errors import DeadLettersUnavailableError, NotPublishedError

# A request waits for the answer; the next page goes on from there.
_SCAN_WITHIN_S = 4.0
# Everything together, Kafka's silence too: less than the command line waits for an answer of the API.
_WITHIN_S = 10.0
_STEP_S = 0.2
# Reading so many costs less than to begin at another place.
_GAP_RECORDS = 2000
# A place that moves waits for the fetch that is under way: 500 ms by default, at the end of the log.
_FETCH_WAIT_MS = 10
_MAX_LONG = 2**63 - 1


class KafkaDeadLetters:
    """A `DeadLetterLog`. May be used from any thread."""

    def __init__(
        self,
        kafka: KafkaConfig,
        topics: TopicNames,
        *,
        catalogue: Catalogue,
        schemas: WriterSchemas,
        writer: ReplayWriter,
        events: EventWriter,
    ) -> None:
        """Prepare; nothing is connected yet. `writer` and `events` stay the caller's to close."""
        self._monotonic_s: Callable[[], float] = monotonic
        self._kafka = kafka
        self._topic = topics.dead_letters
        self._doing = f"cannot read {self._topic}"
        self._logs = (topics.deliveries, topics.replays)
        self._decode = dead_letter_decoder(schemas)
        self._decode_delivery = delivery_decoder(schemas)
        self._decode_event = {
            topics.events(namespace): event_decoder(catalogue, namespace, schemas) for namespace in catalogue.envelopes
        }
        self._foreign = {source.topic_in(topics) for source in catalogue.sources}
        self._writer = writer
        self._events = events

    def find(self, query: DeadLetterQuery) -> DeadLetterPage:
        """Read on from where the query says, for a bounded time.

        Raises:
            DeadLettersUnavailableError: Kafka or the registry does not answer.
        """
        deadline = Deadline.after(_WITHIN_S, self._monotonic_s)
        enough = deadline.sooner(_SCAN_WITHIN_S)
        letters: list[FoundDeadLetter] = []
        reached = query.after
        with self._consumer() as consumer:
            try:
                for message in self._all(consumer, query, deadline):
                    reached = DeadLetterPlace(message.partition() or 0, message.offset() or 0)
                    found = self._found(message)
                    if found is not None and found.kept_at_ms >= (query.since_ms or 0) and query.wants(found):
                        letters.append(found)
                    if len(letters) >= query.limit or enough.over:
                        return DeadLetterPage(letters, reached)
            except KafkaUnavailableError:
                if not deadline.over or reached == query.after:
                    raise
                return DeadLetterPage(letters, reached)
        return DeadLetterPage(letters, None)

    def get(self, places: Sequence[DeadLetterPlace]) -> Mapping[DeadLetterPlace, FoundDeadLetter]:
        """Read some; those that do not exist (any more) are left out.

        Raises:
            DeadLettersUnavailableError: Kafka or the registry does not answer, or they are too many for the time.
        """
        letters: dict[DeadLetterPlace, FoundDeadLetter] = {}
        with self._consumer() as consumer:
            deadline = Deadline.after(_WITHIN_S, self._monotonic_s)
            partitions = set(self._partition_numbers(consumer, deadline))
            for stretch in _stretches(place for place in places if place.partition in partitions):
                first, last, wanted = stretch[0], stretch[-1], set(stretch)
                for message in self._scan(consumer, first, DeadLetterQuery(), deadline):
                    place = DeadLetterPlace(first.partition, message.offset() or 0)
                    if place in wanted and (found := self._found(message)) is not None:
                        letters[place] = found
                    if place.offset >= last.offset:
                        break
        return letters

    def resend(self, letters: Sequence[FoundDeadLetter], *, job: str) -> None:
        """Write deliveries to `deliveries.replay` in their order, and events to the topic that they came from.

        Raises:
            NotPublishedError: Kafka or the registry refused one, or did not answer in time.
        """
        deliveries = [found.delivery for found in letters if found.delivery is not None]
        events = [
            EventRecord(found.letter.topic, found.letter.record_value, found.event)
            for found in letters
            if found.event is not None and found.letter.record_value is not None
        ]
        try:
            if deliveries:
                self._writer.write(deliveries, job=job)
            if events:
                self._events.write(events)
        except (ProcessorError, ProducerError) as exc:
            raise NotPublishedError(str(exc)) from exc

    @contextmanager
    def _consumer(self) -> Iterator[Consumer]:
        """A consumer, and the errors of everything that is done with it translated."""
        try:
            consumer = make_consumer(reader_config(self._kafka, own={"fetch.wait.max.ms": _FETCH_WAIT_MS}))
            try:
                yield consumer
            finally:
                consumer.close()
        except (ProcessorError, ProducerError) as exc:
            message = f"the dead letters cannot be read: {exc}"
            raise DeadLettersUnavailableError(message) from exc

    def _partition_numbers(self, consumer: Consumer, deadline: Deadline) -> list[int]:
        timeout_s = deadline.left_s(REQUEST_TIMEOUT_S, self._doing)
        with translated(self._doing):
            found = consumer.list_topics(self._topic, timeout=timeout_s).topics[self._topic]
        if found.error is not None:
            raise kafka_error(found.error, self._doing)
        return sorted(found.partitions)

    def _all(self, consumer: Consumer, query: DeadLetterQuery, deadline: Deadline) -> Iterator[Message]:
        """The records of every partition that may hold what is asked for, from where the query goes on."""
        partitions = self._partitions(consumer, query, deadline)
        starts = self._offsets_at(consumer, partitions, query.since_ms, deadline)
        if query.after is not None:
            starts[query.after.partition] = query.after.offset + 1
        for partition in partitions:
            yield from self._scan(consumer, DeadLetterPlace(partition, starts.get(partition, 0)), query, deadline)

    def _partitions(self, consumer: Consumer, query: DeadLetterQuery, deadline: Deadline) -> list[int]:
        """Where to look, in order; those that the pages before have read are left out."""
        partitions = self._partition_numbers(consumer, deadline)
        if query.client is not None:
            partitions = [partition_of(query.client.encode(), len(partitions))]
        return [p for p in partitions if query.after is None or p >= query.after.partition]

    def _scan(
        self, consumer: Consumer, start: DeadLetterPlace, query: DeadLetterQuery, deadline: Deadline
    ) -> Iterator[Message]:
        """The records of a partition before the query's last time, in order, up to the end that it has now."""
        timeout_s = deadline.left_s(REQUEST_TIMEOUT_S, self._doing)
        low, end = watermarks(consumer, self._topic, start.partition, timeout_s=timeout_s)
        offset = max(low, start.offset)
        if offset >= end:
            return
        with translated(self._doing):
            consumer.assign([TopicPartition(self._topic, start.partition, offset)])
        for message in self._records(consumer, start.partition, deadline):
            if (message.offset() or 0) >= end:
                return
            kept_at_ms = message.timestamp()[1]
            if query.until_ms is not None and kept_at_ms >= query.until_ms:
                return
            yield message

    def _records(self, consumer: Consumer, partition: int, deadline: Deadline) -> Iterator[Message]:
        """What is read, to the end of the partition."""
        while True:
            timeout_s = deadline.left_s(_STEP_S, self._doing)
            with translated(self._doing):
                messages = consume_batch(consumer, timeout_s)
            for message in messages:
                error = message.error()
                if message.partition() != partition:
                    continue  # of the partition before
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    return
                elif not is_retriable(error):
                    raise kafka_error(error, self._doing)

    def _offsets_at(
        self, consumer: Consumer, partitions: Iterable[int], since_ms: int | None, deadline: Deadline
    ) -> dict[int, int]:
        """Where each partition's records from then on begin; asked before anything is fetched, for then it is slow."""
        if since_ms is None or self._kafka.embedded:  # which has no look-up by time
            return {}
        asked = [TopicPartition(self._topic, partition, since_ms) for partition in partitions]
        with translated(f"cannot look times of {self._topic} up"):
            found = consumer.offsets_for_times(asked, timeout=deadline.left_s(REQUEST_TIMEOUT_S, self._doing))
        # A partition that has nothing of then is read from nowhere: its end is below every such offset.
        return {place.partition: place.offset if place.offset >= 0 else _MAX_LONG for place in found}

    def _found(self, message: Message) -> FoundDeadLetter | None:
        """The letter of a record; None where it is none of ours."""
        try:
            letter = self._decode(message.value())
        except UndecodableError:
            return None
        place = DeadLetterPlace(message.partition() or 0, message.offset() or 0)
        return FoundDeadLetter(place, letter, message.timestamp()[1], **self._contents(letter))

    def _contents(self, letter: DeadLetter) -> _Contents:
        """What can be sent again, or why nothing can; what could not be read when it died may be readable by now."""
        if letter.record_value is None:
            return {"unfit": f"its bytes did not fit; they are at {letter.topic}:{letter.partition}:{letter.offset}"}
        try:
            if letter.topic in self._logs:
                delivery = self._decode_delivery(letter.record_value)
                return {"unfit": _STOLEN} if letter.client not in (None, delivery.client) else {"delivery": delivery}
            if letter.topic in self._foreign:
                return {"unfit": _FOREIGN}
            decode = self._decode_event.get(letter.topic)
            if decode is None:
                return {"unfit": f"it was read from {letter.topic}, which is none of our topics"}
            event = decode(letter.record_value)
        except UndecodableError as exc:
            return {"unfit": f"it cannot be read: {exc}"}
        return {"unfit": _STOLEN} if letter.client not in (None, event.client_id) else {"event": event}


# Nothing is written to such a topic. Its record is still there, as long as the topic keeps it.
_FOREIGN = "another service writes its topic; once it can be read, a replay of that time from `events` sends it"
# Whose letter it is was read from the record's key: with another client's inside it would be sent for the wrong one.
_STOLEN = "its key and its value are of two clients"


class _Contents(TypedDict, total=False):
    delivery: Delivery
    event: Event
    unfit: str


def _stretches(places: Iterable[DeadLetterPlace]) -> Iterator[list[DeadLetterPlace]]:
    """The places in order, together what is read in one go."""
    stretch: list[DeadLetterPlace] = []
    for place in sorted(set(places)):
        if stretch and (place.partition != stretch[-1].partition or place.offset - stretch[-1].offset > _GAP_RECORDS):
            yield stretch
            stretch = []
        stretch.append(place)
    if stretch:
        yield stretch
