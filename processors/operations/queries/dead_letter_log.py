"""Reads `deliveries.dead` for the API: `assign()`-based, a consumer a question, committing nothing.

A client's dead letters are in one partition, found by its key; without a client every partition is read, one after the
other. What is kept is 30 days of what went wrong: a scan is bounded by time, and says where the next one goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import groupby
from time import monotonic
from typing import TypedDict

from confluent_kafka import Message

from hookstream.processors.deadline import Deadline
from hookstream.processors.errors import KafkaUnavailableError, ProcessorError
from hookstream.processors.kafka import KafkaConfig, TopicPartitionKey
from hookstream.processors.operations.log_ranges import LogScanner, OffsetRange, Take
from hookstream.processors.operations.replays.event_writer import EventRecord, EventWriter
from hookstream.processors.operations.replays.writer import ReplayWriter
from hookstream.producers.errors import ProducerError
from hookstream.producers.murmur2 import partition_of
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.codecs.dead_letters import dead_letter_decoder
from hookstream.schemas.codecs.deliveries import delivery_decoder
from hookstream.schemas.codecs.events import event_decoder
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
# Reading so many costs less than to begin at another place.
_GAP_RECORDS = 2000
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
            topics.events(namespace): event_decoder(catalogue, namespace, schemas)
            for namespace in catalogue.all_envelopes
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
        found: list[FoundDeadLetter] = []
        reached, full = query.after, False

        def take(_log: TopicPartitionKey, message: Message) -> bool:
            nonlocal reached, full
            if query.until_ms is not None and message.timestamp()[1] >= query.until_ms:
                return False
            reached = DeadLetterPlace(message.partition() or 0, message.offset() or 0)
            each = self._found(message)
            if each is not None and each.kept_at_ms >= (query.since_ms or 0) and query.wants(each):
                found.append(each)
            full = len(found) >= query.limit or enough.over
            return not full

        with self._scanner() as scanner:
            try:
                for partition, start in self._starts(scanner, query, deadline).items():
                    self._scan(scanner, partition, OffsetRange(start, _MAX_LONG), take, deadline)
                    if full:
                        return DeadLetterPage(found, reached)
            except KafkaUnavailableError:
                if not deadline.over or reached == query.after:
                    raise
                return DeadLetterPage(found, reached)
        return DeadLetterPage(found, None)

    def get(self, places: Sequence[DeadLetterPlace]) -> Mapping[DeadLetterPlace, FoundDeadLetter]:
        """Read some; those that do not exist (any more) are left out.

        Raises:
            DeadLettersUnavailableError: Kafka or the registry does not answer, or they are too many for the time.
        """
        found: dict[DeadLetterPlace, FoundDeadLetter] = {}
        asked = set(places)

        def take(_log: TopicPartitionKey, message: Message) -> bool:
            place = DeadLetterPlace(message.partition() or 0, message.offset() or 0)
            if place in asked and (each := self._found(message)) is not None:
                found[place] = each
            return True

        with self._scanner() as scanner:
            deadline = Deadline.after(_WITHIN_S, self._monotonic_s)
            partitions = scanner.partitions(self._topic, deadline)
            for partition, offsets in _ranges(place for place in asked if place.partition in partitions):
                self._scan(scanner, partition, offsets, take, deadline)
        return found

    def resend(self, dead_letters: Sequence[FoundDeadLetter], *, job: str) -> None:
        """Write deliveries to `deliveries.replay` in their order, and events to the topic that they came from.

        Raises:
            NotPublishedError: Kafka or the registry refused one, or did not answer in time.
        """
        deliveries = [found.delivery for found in dead_letters if found.delivery is not None]
        events = [
            EventRecord(found.dead_letter.topic, found.dead_letter.record_value, found.event)
            for found in dead_letters
            if found.event is not None and found.dead_letter.record_value is not None
        ]
        try:
            if deliveries:
                self._writer.write(deliveries, job=job)
            if events:
                self._events.write(events)
        except (ProcessorError, ProducerError) as exc:
            raise NotPublishedError(str(exc)) from exc

    @contextmanager
    def _scanner(self) -> Iterator[LogScanner]:
        """A scanner, and the errors of everything that is done with it translated."""
        try:
            with closing(LogScanner(self._kafka)) as scanner:
                yield scanner
        except (ProcessorError, ProducerError) as exc:
            message = f"the dead letters cannot be read: {exc}"
            raise DeadLettersUnavailableError(message) from exc

    def _starts(self, scanner: LogScanner, query: DeadLetterQuery, deadline: Deadline) -> dict[int, int]:
        """Where to begin in each partition that may hold what is asked for; those of the pages before are left out."""
        numbers = scanner.partitions(self._topic, deadline)
        known = None if query.client is None else partition_of(query.client.encode(), len(numbers))
        after = query.after
        partitions = [
            number for number in (numbers if known is None else (known,)) if after is None or number >= after.partition
        ]
        starts: dict[int, int | None] = dict.fromkeys(partitions, 0)
        if query.since_ms is not None:
            starts |= scanner.offsets_at(self._topic, partitions, query.since_ms, deadline)
        if after is not None and after.partition in starts:
            starts[after.partition] = after.offset + 1
        return {number: start for number, start in starts.items() if start is not None}

    def _scan(self, scanner: LogScanner, partition: int, offsets: OffsetRange, take: Take, deadline: Deadline) -> None:
        """Take those of these records of a partition that it has now.

        Raises:
            KafkaUnavailableError: there was no time for all of them.
        """
        low, high = scanner.watermarks(self._topic, partition, deadline)
        wanted = OffsetRange(max(low, offsets.start), min(high, offsets.end))
        scanned = scanner.scan({(self._topic, partition): wanted}, take, deadline=deadline)
        if scanned.unread and deadline.over:
            message = f"{self._doing}: not done in time"
            raise KafkaUnavailableError(message)

    def _found(self, message: Message) -> FoundDeadLetter | None:
        """The dead letter of a record; None where it is none of ours."""
        try:
            dead_letter = self._decode(message.value())
        except UndecodableError:
            return None
        place = DeadLetterPlace(message.partition() or 0, message.offset() or 0)
        return FoundDeadLetter(place, dead_letter, message.timestamp()[1], **self._contents(dead_letter))

    def _contents(self, dead_letter: DeadLetter) -> _Contents:
        """What can be sent again, or why nothing can; what could not be read then may be readable by now."""
        if dead_letter.record_value is None:
            place = f"{dead_letter.topic}:{dead_letter.partition}:{dead_letter.offset}"
            return {"unfit": f"its bytes did not fit; they are at {place}"}
        try:
            if dead_letter.topic in self._logs:
                delivery = self._decode_delivery(dead_letter.record_value)
                return (
                    {"unfit": _STOLEN} if dead_letter.client not in (None, delivery.client) else {"delivery": delivery}
                )
            if dead_letter.topic in self._foreign:
                return {"unfit": _FOREIGN}
            decode = self._decode_event.get(dead_letter.topic)
            if decode is None:
                return {"unfit": f"it was read from {dead_letter.topic}, which is none of our topics"}
            event = decode(dead_letter.record_value)
        except UndecodableError as exc:
            return {"unfit": f"it cannot be read: {exc}"}
        return {"unfit": _STOLEN} if dead_letter.client not in (None, event.client_id) else {"event": event}


# Nothing is written to such a topic. Its record is still there, as long as the topic keeps it.
_FOREIGN = "another service writes its topic; once it can be read, a replay of that time from `events` sends it"
# The client of a dead letter was read from the record's key: with another's inside it would be sent for the wrong one.
_STOLEN = "its key and its value are of two clients"


class _Contents(TypedDict, total=False):
    delivery: Delivery
    event: Event
    unfit: str


def _ranges(places: Iterable[DeadLetterPlace]) -> Iterator[tuple[int, OffsetRange]]:
    """Partitions and offsets in order, together what is read in one go."""
    by_partition = groupby(sorted(places), key=lambda place: place.partition)
    for partition, of_partition in by_partition:
        offsets = [place.offset for place in of_partition]
        start = offsets[0]
        for offset, next_offset in zip(offsets, [*offsets[1:], _MAX_LONG], strict=True):
            if next_offset - offset > _GAP_RECORDS:
                yield partition, OffsetRange(start, offset + 1)
                start = next_offset
