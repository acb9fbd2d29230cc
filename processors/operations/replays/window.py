"""A replay's window in offsets: looked up by the time of arrival, fixed once, and honest about what retention took.

It ends where the routers have committed, at the latest: what they have yet to route is delivered by them, live. What
has been routed stands below the end that its partition of `deliveries` has from now on, so a replayed record that
carries such an end overtakes nothing.

The embedded Kafka has no look-up by time: there the whole log is read, and times are compared record by record.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import NamedTuple

from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka.admin import ConfigResource, ResourceType

from hookstream.processors import wall_clock
from hookstream.processors.deadline import Deadline
from hookstream.processors.errors import KafkaUnavailableError
from hookstream.processors.kafka import (
    REQUEST_TIMEOUT_S,
    KafkaConfig,
    TopicPartitionKey,
    group_consumer_config,
    make_admin,
    make_consumer,
    partition_count,
    partitions_of,
    reader_config,
    result_of,
    translated,
)
from hookstream.processors.offsets import committed_offsets, offsets_of_times, watermarks
from hookstream.processors.operations.log_ranges import LogScanner, OffsetRange
from hookstream.processors.routing.commit_note import CommitNote
from hookstream.producers.murmur2 import partition_of
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.choices import ReplaySource
from hookstream.subscriptions.replays import NewReplay, ReplayFilter, Stretch, Window

_DOING = "cannot look the window up"
_FIRST_RECORDS_WITHIN_S = 30.0


class TableSeen(NamedTuple):
    """How far the routers had read the subscriptions topic, and which one, when they committed."""

    topic_id: str
    offset: int


class _Routed(NamedTuple):
    """Where the routers are: by source partition, and the most that one of them knew of the table."""

    offsets: dict[tuple[str, int], int]
    table: TableSeen | None


@dataclass(frozen=True, slots=True)
class _Retention:
    """How a topic forgets. None: not by this."""

    by_age_ms: int | None
    by_size: bool

    def whole_from(self, now_ms: int, otherwise: int) -> int:
        """From when on nothing can be gone by now; `otherwise` where a topic's age does not say it."""
        if self.by_size:
            return otherwise
        return 0 if self.by_age_ms is None else min(now_ms - self.by_age_ms, otherwise)


class WindowLookup:
    """Looks windows up, with consumers of its own: one that fetches answers late. One thread."""

    def __init__(self, kafka: KafkaConfig, topics: TopicNames, catalogue: Catalogue) -> None:
        """Prepare; nothing is connected yet."""
        self._kafka = kafka
        self._topics = topics
        self._catalogue = catalogue
        self._foreign = {source.topic_in(topics) for source in catalogue.sources}

    def fix(self, asked: NewReplay, *, now_ms: int) -> Window:
        """The window in offsets.

        Raises:
            KafkaUnavailableError: no answer.
            KafkaRefusedError: no right to look.
        """
        consumer = make_consumer(reader_config(self._kafka))
        try:
            partitions = self._all_partitions(consumer, asked)
            routed = self._routed(partitions) if asked.source is ReplaySource.EVENTS else None
            return self._window(consumer, partitions, asked.wanted, routed, now_ms)
        finally:
            consumer.close()

    def table_seen(self, asked: NewReplay) -> TableSeen | None:
        """What the routers knew of the table when they last committed; None where they never did.

        Raises:
            KafkaUnavailableError, KafkaRefusedError: as above.
        """
        consumer = make_consumer(reader_config(self._kafka))
        try:
            return self._routed(self._all_partitions(consumer, replace(asked, source=ReplaySource.EVENTS))).table
        finally:
            consumer.close()

    def _all_partitions(self, consumer: Consumer, asked: NewReplay) -> list[TopicPartition]:
        return [
            TopicPartition(topic, partition)
            for topic in self._sources(asked)
            for partition in self._partitions(consumer, topic, asked)
        ]

    def _sources(self, asked: NewReplay) -> list[str]:
        if asked.source is ReplaySource.DELIVERIES:
            return [self._topics.deliveries]
        event, namespace = asked.wanted.event, asked.wanted.namespace
        if event is not None:
            namespace = event.partition(".")[0]
        wanted = self._catalogue.namespaces if namespace is None else (namespace,)
        return [self._catalogue.topic(each, self._topics) for each in wanted]

    def _partitions(self, consumer: Consumer, topic: str, asked: NewReplay) -> Sequence[int]:
        if topic in self._foreign:
            return range(partition_count(consumer, topic))  # none where whoever writes it has not made it yet
        numbers = partitions_of(consumer, topic)
        client = asked.wanted.client
        if asked.source is ReplaySource.DELIVERIES and client is not None:
            return [partition_of(client.encode(), len(numbers))]
        return numbers

    def _routed(self, partitions: Sequence[TopicPartition]) -> _Routed:
        consumer = make_consumer(group_consumer_config(self._kafka, group=self._topics.router_group))
        try:
            committed = committed_offsets(consumer, partitions, "cannot read the routers' offsets")
        finally:
            consumer.close()
        offsets: dict[tuple[str, int], int] = {}
        table: TableSeen | None = None
        for tp in committed:
            offsets[tp.topic, tp.partition] = max(tp.offset, 0)  # nothing committed: nothing was routed
            note = CommitNote.decode(tp.metadata)
            if note is not None and note.table_topic_id is not None and (table is None or note.table_offset > table[1]):
                table = TableSeen(note.table_topic_id, note.table_offset)
        return _Routed(offsets, table)

    def _window(
        self,
        consumer: Consumer,
        partitions: Sequence[TopicPartition],
        wanted: ReplayFilter,
        routed: _Routed | None,
        now_ms: int,
    ) -> Window:
        bounds = {(tp.topic, tp.partition): watermarks(consumer, tp.topic, tp.partition) for tp in partitions}
        starts = self._offsets_at(consumer, partitions, wanted.from_ms)
        ends = self._offsets_at(consumer, partitions, wanted.to_ms)
        stretches: list[Stretch] = []
        cut: list[TopicPartition] = []
        for place, (low, high) in bounds.items():
            at_start, at_end = starts[place], ends[place]
            start = high if at_start is None else max(low, at_start)
            # By a producer's clock that is ahead, one record would hide all behind it; so each one's time is judged.
            end = high if at_end is None or place[0] in self._foreign else at_end
            if routed is not None:
                end = min(end, routed.offsets[place])
            if self._kafka.embedded:
                start = low
            if start < end:
                stretches.append(Stretch(topic=place[0], partition=place[1], start=start, end=end))
            if 0 < low == start:
                cut.append(TopicPartition(*place, low))
        return Window(stretches=stretches, left_from_ms=self._left_from(cut, bounds, wanted, now_ms))

    def _offsets_at(
        self, consumer: Consumer, partitions: Sequence[TopicPartition], at_ms: int
    ) -> dict[tuple[str, int], int | None]:
        """The first offset that arrived at that time or later; None where there is none."""
        if self._kafka.embedded:
            return {(tp.topic, tp.partition): None for tp in partitions}
        asked = [TopicPartition(tp.topic, tp.partition, at_ms) for tp in partitions]
        answers = offsets_of_times(consumer, asked, _DOING)
        return {(tp.topic, tp.partition): tp.offset if tp.offset >= 0 else None for tp in answers}

    def _retention(self, names: Collection[str]) -> dict[str, _Retention]:
        if self._kafka.embedded or not names:
            return dict.fromkeys(names, _Retention(None, by_size=True))
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        admin = make_admin(self._kafka)  # has to live until the answer is there
        with translated(_DOING):
            futures = admin.describe_configs(resources, request_timeout=REQUEST_TIMEOUT_S)
        found = {}
        for resource, future in futures.items():
            config = result_of(future, f"{_DOING}: {resource.name}")
            age_ms, size = int(config["retention.ms"].value), int(config["retention.bytes"].value)
            found[resource.name] = _Retention(None if age_ms < 0 else age_ms, by_size=size >= 0)
        return found

    def _left_from(
        self,
        cut: Sequence[TopicPartition],
        bounds: dict[tuple[str, int], tuple[int, int]],
        wanted: ReplayFilter,
        now_ms: int,
    ) -> int | None:
        """From when on nothing is missing of partitions whose first records are gone; None: nothing of the window is.

        What went for its age is older than the topic's retention; what went for size is older than what is left.
        """
        retention = self._retention({tp.topic for tp in cut})
        cut = [tp for tp in cut if retention[tp.topic].whole_from(now_ms, wanted.to_ms) > wanted.from_ms]
        if not cut:
            return None
        firsts = {(tp.topic, tp.partition): wanted.to_ms for tp in cut}  # where nothing is left at all
        left = {(tp.topic, tp.partition): OffsetRange(*bounds[tp.topic, tp.partition]) for tp in cut}
        firsts |= self._first_times({place: offsets for place, offsets in left.items() if offsets.size})
        latest = max(retention[topic].whole_from(now_ms, first) for (topic, _), first in firsts.items())
        return None if latest <= wanted.from_ms else min(latest, wanted.to_ms)

    def _first_times(self, bounds: dict[tuple[str, int], OffsetRange]) -> dict[tuple[str, int], int]:
        """When the first record arrived that each of these partitions still has; now, where all went meanwhile."""
        found: dict[tuple[str, int], int] = {}

        def take(place: TopicPartitionKey, message: Message) -> bool:
            found[place] = message.timestamp()[1]
            return False

        with closing(LogScanner(self._kafka)) as scanner:
            unread = scanner.scan(bounds, take, deadline=Deadline.after(_FIRST_RECORDS_WITHIN_S)).unread
        if unread.keys() - found.keys():
            message = f"{_DOING}: its first records cannot be read"
            raise KafkaUnavailableError(message)
        return dict.fromkeys(bounds, wall_clock.now_ms()) | found
