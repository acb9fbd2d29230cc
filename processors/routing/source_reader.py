"""The router's side of its consumer group: which partitions it owns, and when they may be read.

One thread. Assignment, revocation and commit reports arrive inside `take`, `keep_alive` and `commit_now`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import structlog
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from hookstream.processors.errors import ExpiredRecordsError, KafkaUnavailableError
from hookstream.processors.kafka import (
    BATCH_RECORDS,
    ClientConfig,
    KafkaConfig,
    TopicPartitionKey,
    group_consumer_config,
    is_retriable,
    kafka_error,
    make_consumer,
    translated,
)
from hookstream.processors.lifecycle import StopSignal, until_available
from hookstream.processors.tables.subscription_reader import SubscriptionReader
from hookstream.processors.tables.subscription_table import SubscriptionTable
from hookstream.schemas.sources.readers import TopicEvents

from .assignment import SourcePartition
from .source_commits import SourceCommits
from .source_start import SourceStart

Taken: TypeAlias = list[tuple[SourcePartition, Message]]

# How long an assignment may wait for the broker's answers before the process gives up and starts again.
_ASSIGN_WITHIN_S = 120.0

log = structlog.get_logger("hookstream.router")


class SourceReader:
    """The partitions of events that this router owns."""

    def __init__(  # noqa: PLR0913 - all of it is needed from the first callback on
        self,
        kafka: KafkaConfig,
        *,
        group: str,
        events: Mapping[str, TopicEvents],
        table: SubscriptionTable,
        reader: SubscriptionReader,
        drain: Callable[[], object],
        stop: StopSignal,
        may_read: Callable[[str], bool] = lambda _topic: True,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Join the group. `events` are by topic; `drain` waits for reports of what was produced, with a deadline.

        A topic that `may_read` denies is left out until it does not.

        Raises:
            KafkaRefusedError: a configuration that librdkafka refuses.
        """
        self.partitions: dict[TopicPartitionKey, SourcePartition] = {}
        self.stalled = False
        """Set it to stop reading for a while without leaving the group."""
        self._table = table
        self._drain = drain
        self._stop = stop
        self._start = SourceStart(kafka, events, reader)
        self._commits = SourceCommits(self.partitions, table, reader, monotonic_s=monotonic_s)
        self._kept: Taken = []
        self._waiting = False
        self._pauses_of: object = None
        own: ClientConfig = {"on_commit": self._commits.on_commit}
        self._consumer = make_consumer(group_consumer_config(kafka, group=group, own=own))
        self._topics, self._may_read = list(events), may_read
        self._subscribed: list[str] = []
        self._subscribe()

    @property
    def expired(self) -> int:
        """Records that retention deleted before they were read."""
        return self._start.expired

    @property
    def waiting(self) -> bool:
        """Whether a partition waits for the table."""
        self._set_pauses()
        return self._waiting

    def take(self, timeout_s: float) -> Taken:
        """Read what is there, waiting at most `timeout_s` for the first record; order is kept within a partition.

        Raises:
            KafkaRefusedError: an error that does not go away.
            ExpiredRecordsError: the next record does not exist any more; start again to go on.
            KafkaUnavailableError: an assignment could not be completed in time.
        """
        self._set_pauses()
        if self._kept:
            kept, self._kept = self._kept, []
            return kept
        if len(self._subscribed) < len(self._topics):
            self._subscribe()
        # Not `consume_batch`: the second call may give the partition of the first record away, and even take it again
        # from an earlier offset. So the first record belongs to the assignment that it was read in.
        with translated("cannot read the events"):
            first = self._owned(self._consumer.consume(1, timeout_s))
            if not first:
                return []
            return first + self._owned(self._consumer.consume(BATCH_RECORDS - 1, 0))

    def keep_alive(self) -> None:
        """Serve the group without reading: call it at least once a second while something else is waited for.

        Raises:
            KafkaRefusedError: an error that does not go away.
        """
        self._set_pauses()
        with translated("cannot serve the group"):
            # What is read nevertheless (a pause takes effect a moment later) comes first in the next `take`.
            self._kept += self._owned(self._consumer.consume(1, 0))

    def commit_if_due(self) -> None:
        """Commit progress, at most every 100 ms, and a table that moved, at most every second; returns at once."""
        self._commits.commit_if_due(self._consumer)

    def commit_now(self, sources: Iterable[SourcePartition]) -> bool:
        """Commit what is done and wait for the answer. A failure costs duplicates only, so it is not raised."""
        return self._commits.commit_now(self._consumer, sources)

    def close(self) -> None:
        """Leave the group; what is done was committed before, or is committed by the revocation inside."""
        self._consumer.close()
        self.partitions.clear()

    # --- inside Kafka's callbacks -------------------------------------------------------------------------------------

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        """Start each partition where its last owner stopped, and hold it until the table has been read far enough."""
        sources = until_available(
            "kafka",
            lambda: self._start.look_up(consumer, assigned),
            stop=self._stop,
            retriable=(KafkaUnavailableError,),
            give_up_after_s=_ASSIGN_WITHIN_S,
        )
        self._pauses_of = None
        self.partitions.update({source.key: source for source in sources})
        with translated("cannot take partitions over"):
            consumer.incremental_assign([TopicPartition(*source.key, source.next_offset) for source in sources])
        self._set_pauses()

    def _on_revoke(self, _consumer: Consumer, revoked: list[TopicPartition]) -> None:
        """Finish what is under way, commit it, and let go."""
        self._drain()
        sources = self._pop(revoked)
        self.commit_now(sources)
        for source in sources:
            source.gone = True

    def _on_lost(self, _consumer: Consumer, lost: list[TopicPartition]) -> None:
        """Let go; another router owns them already, so nothing is committed."""
        log.warning("partitions were lost", partitions=len(lost))
        for source in self._pop(lost):
            source.gone = True

    # --- helpers ------------------------------------------------------------------------------------------------------

    def _subscribe(self) -> None:
        """Subscribe to what may be read, where that has changed."""
        wanted = [topic for topic in self._topics if self._may_read(topic)]
        if wanted == self._subscribed:
            return
        self._subscribed = wanted
        with translated("cannot subscribe to the events"):
            self._consumer.subscribe(
                wanted, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )

    def _pop(self, gone: Iterable[TopicPartition]) -> list[SourcePartition]:
        self._pauses_of = None
        found = (self.partitions.pop((tp.topic, tp.partition), None) for tp in gone)
        return [source for source in found if source is not None]

    def _owned(self, messages: Iterable[Message]) -> Taken:
        taken: Taken = []
        partitions = self.partitions
        for message in messages:
            error = message.error()
            if error is not None:
                self._take_error(error, message)
                continue
            source = partitions.get((message.topic() or "", message.partition() or 0))
            if source is not None:
                taken.append((source, message))
        return taken

    def _take_error(self, error: KafkaError, message: Message) -> None:
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            # Retention overtook us, or the topic was re-created. The way on begins at the assignment: `SourceStart`.
            where = f"{message.topic()}:{message.partition()}"
            raise ExpiredRecordsError(f"records of {where} were deleted before they were read: start again to go on")
        if error.code() == KafkaError._MAX_POLL_EXCEEDED:
            log.warning("this router was silent for too long and has left its group; it joins again")
        elif not is_retriable(error):
            raise kafka_error(error, "cannot read the events")

    def _set_pauses(self) -> None:
        """Let each partition be read, or not; looks at them only when something changed."""
        decides = (self.stalled, self._table.offset)  # each row moves the offset
        if decides == self._pauses_of:
            return
        self._pauses_of = decides
        self._waiting = False
        pause: list[TopicPartition] = []
        resume: list[TopicPartition] = []
        for source in self.partitions.values():
            waits = not self._commits.may_route(source)
            self._waiting |= waits
            wanted = self.stalled or waits
            if wanted != source.paused:
                source.paused = wanted
                (pause if wanted else resume).append(TopicPartition(*source.key))
        with translated("cannot pause or resume"):
            if pause:
                self._consumer.pause(pause)
            if resume:
                self._consumer.resume(resume)
