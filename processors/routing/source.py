"""The router's side of its consumer group: which partitions it owns, when they may be read, what is committed.

One thread. Assignment, revocation and commit reports arrive inside `take`, `keep_alive` and `commit_now`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from hookstream.processors.errors import ExpiredRecordsError, KafkaUnavailableError
from hookstream.processors.kafka import (
    BATCH_RECORDS,
    REQUEST_TIMEOUT_S,
    ClientConfig,
    KafkaConfig,
    group_consumer_config,
    is_away,
    kafka_error,
    make_consumer,
    translated,
    watermarks,
)
from hookstream.processors.lifecycle import StopSignal, until_available
from hookstream.processors.tables.subscription_reader import SubscriptionReader
from hookstream.processors.tables.subscription_table import SubscriptionTable
from hookstream.processors.topics import topic_ids
from hookstream.schemas.event import Event

from .assignment import NEVER_COMMITTED, SourcePartition
from .commit_note import CommitNote

Decoder: TypeAlias = Callable[[bytes | None], Event]
Taken: TypeAlias = list[tuple[SourcePartition, Message]]

# A commit costs the broker 1 to 7 ms, whatever it holds; a kill -9 repeats what was routed since the last.
_COMMIT_EVERY_S = 0.1
# Without any event, the commit still says how far the table was read: the API's `effective` waits for it.
_COMMIT_TABLE_EVERY_S = 1.0
# How long an assignment may wait for the broker's answers before the process gives up and starts again.
_ASSIGN_WITHIN_S = 120.0

log = structlog.get_logger("hookstream.router")


class Source:
    """The partitions of `events.*` that this router owns."""

    def __init__(  # all of it is needed from the first callback on
        self,
        kafka: KafkaConfig,
        *,
        group: str,
        decoders: Mapping[str, Decoder],
        table: SubscriptionTable,
        reader: SubscriptionReader,
        drain: Callable[[], object],
        stop: StopSignal,
    ) -> None:
        """Prepare. `decoders` are by topic; `drain` waits for reports of what was produced, under its own deadline."""
        self.parts: dict[tuple[str, int], SourcePartition] = {}
        self.expired = 0
        """Records that retention deleted before they were read."""
        self.stalled = False
        """Set it to stop reading for a while without leaving the group."""
        self._kafka = kafka
        self._group = group
        self._decoders = decoders
        self._table = table
        self._reader = reader
        self._drain = drain
        self._stop = stop
        self._consumer: Consumer | None = None
        self._kept: Taken = []
        self._waiting = False
        self._pauses_of: object = None
        self._changes = 0
        self._sent: dict[SourcePartition, tuple[int, int]] = {}
        self._commit_due = 0.0
        self._table_commit_due = 0.0

    def open(self) -> None:
        """Join the group.

        Raises:
            KafkaRefusedError: a configuration that librdkafka refuses.
        """
        own: ClientConfig = {"on_commit": self._on_commit}
        self._consumer = make_consumer(group_consumer_config(self._kafka, group=self._group, own=own))
        with translated("cannot subscribe to the events"):
            self._consumer.subscribe(
                list(self._decoders), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )

    @property
    def is_open(self) -> bool:
        """Whether the group was joined."""
        return self._consumer is not None

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
        consumer = self._opened()
        with translated("cannot read the events"):
            first = self._owned(consumer.consume(1, timeout_s))
            if not first:
                return []
            rest = self._owned(consumer.consume(BATCH_RECORDS - 1, 0))
        # The second call may have given the first record's partition away.
        return first + rest

    def keep_alive(self) -> None:
        """Serve the group without reading: call it at least once a second while something else is waited for.

        Raises:
            KafkaRefusedError: an error that does not go away.
        """
        self._set_pauses()
        with translated("cannot serve the group"):
            # What is read nevertheless (a pause takes effect a moment later) comes first in the next `take`.
            self._kept += self._owned(self._opened().consume(1, 0))

    def commit_if_due(self) -> None:
        """Commit progress, at most every 100 ms, and a table that moved, at most every second; returns at once."""
        now = time.monotonic()
        if self._sent or now < self._commit_due:
            return
        moved = [part for part in self.parts.values() if part.done_offset != part.committed_offset]
        if not moved and now >= self._table_commit_due:
            moved = [part for part in self.parts.values() if part.committed_table_offset != self._table.offset]
            if moved:
                self._table_commit_due = now + _COMMIT_TABLE_EVERY_S
        moved = [part for part in moved if self._may_route(part)]
        if not moved:
            return
        self._commit_due = now + _COMMIT_EVERY_S
        self._sent = {part: (part.done_offset, self._table.offset) for part in moved}
        try:
            self._opened().commit(offsets=self._offsets(moved), asynchronous=True)
        except KafkaException as exc:
            self._sent = {}
            log.warning("a commit was not sent; it is tried again", reason=str(exc))

    def commit_now(self, parts: Iterable[SourcePartition]) -> bool:
        """Commit what is done and wait for the answer. A failure costs duplicates only, so it is told, not raised."""
        mine = [part for part in parts if not part.gone and self._may_route(part)]
        if not mine:
            return True
        try:
            answers = self._opened().commit(offsets=self._offsets(mine), asynchronous=False)
        except KafkaException as exc:
            log.warning("a commit failed; what it covered will be routed again", reason=str(exc))
            return False
        failed = [answer for answer in answers or () if answer.error is not None]
        for answer in failed:
            log.warning(
                "a commit failed; what it covered will be routed again",
                topic=answer.topic,
                partition=answer.partition,
                reason=str(answer.error),
            )
        return not failed

    def close(self) -> None:
        """Leave the group; what is done was committed before, or is committed by the revocation inside."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
        self.parts.clear()

    # --- inside Kafka's callbacks -------------------------------------------------------------------------------------

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        """Start each partition where its predecessor stopped, and hold it until the table has been read far enough."""
        parts = until_available(
            "kafka",
            lambda: self._look_up(consumer, assigned),
            stop=self._stop,
            retriable=(KafkaUnavailableError,),
            give_up_after_s=_ASSIGN_WITHIN_S,
        )
        self._changes += 1
        self.parts.update({(part.topic, part.partition): part for part in parts})
        starts = [TopicPartition(part.topic, part.partition, part.next_offset) for part in parts]
        with translated("cannot take partitions over"):
            consumer.incremental_assign(starts)
        self._set_pauses()

    def _look_up(self, consumer: Consumer, assigned: list[TopicPartition]) -> list[SourcePartition]:
        table_end = self._reader.end()  # (1)
        ids = topic_ids(self._kafka, {tp.topic for tp in assigned})
        with translated("cannot read the committed offsets"):
            found = consumer.committed(assigned, timeout=REQUEST_TIMEOUT_S)
        for tp in found:
            if tp.error is not None:
                raise kafka_error(tp.error, "cannot read the committed offsets")
        return [self._start(consumer, tp, ids[tp.topic], table_end) for tp in found]

    def _start(
        self, consumer: Consumer, committed: TopicPartition, topic_id: str | None, table_end: int
    ) -> SourcePartition:
        note = CommitNote.decode(committed.metadata)
        offset = committed.offset
        noted_id = topic_id if note is None or note.source_topic_id is None else note.source_topic_id
        if offset >= 0 and topic_id is not None and noted_id != topic_id:
            log.error("a topic was re-created; it is routed from its first record", topic=committed.topic)
            offset = NEVER_COMMITTED
        known = offset >= 0
        low, high = watermarks(consumer, committed.topic, committed.partition)
        offset = self._nearest(committed, low, high) if known else low
        part = SourcePartition(
            topic=committed.topic,
            partition=committed.partition,
            topic_id=topic_id,
            decode=self._decoders[committed.topic],
            next_offset=offset,
            done_offset=offset,
            committed_offset=committed.offset if known else NEVER_COMMITTED,
            needs_table_offset=table_end,
        )
        part.inherit(note, self._reader.topic_id)
        if part.needs_resync_mark:
            log.error(
                "the subscriptions topic was re-created: nothing is routed until `hookstream subscriptions resync`",
                topic=committed.topic,
                partition=committed.partition,
            )
        return part

    def _nearest(self, committed: TopicPartition, low: int, high: int) -> int:
        """The committed offset, or the nearest one that exists; what is missing in between was lost, and is told."""
        there = min(max(committed.offset, low), high)
        if there != committed.offset:
            missing = max(0, low - committed.offset)
            self.expired += missing
            log.error(
                "records were deleted before they were read" if missing else "the log is shorter than what was read",
                topic=committed.topic,
                partition=committed.partition,
                committed=committed.offset,
                continues_at=there,
            )
        return there

    def _on_revoke(self, _consumer: Consumer, revoked: list[TopicPartition]) -> None:
        """Finish what is under way, commit it, and let go."""
        self._drain()
        parts = self._pop(revoked)
        self.commit_now(parts)
        for part in parts:
            part.gone = True

    def _on_lost(self, _consumer: Consumer, lost: list[TopicPartition]) -> None:
        """Let go; somebody else owns them already, so nothing is committed."""
        log.warning("partitions were lost", partitions=len(lost))
        for part in self._pop(lost):
            part.gone = True

    def _on_commit(self, error: KafkaError | None, offsets: list[TopicPartition]) -> None:
        """Remember what the group knows; what failed is dirty still, and is committed again."""
        sent, self._sent = self._sent, {}
        failed = {(tp.topic, tp.partition) for tp in offsets if tp.error is not None}
        if error is not None and error.code() != KafkaError._NO_OFFSET:
            log.warning("a commit failed; it is tried again", reason=error.str())
            return
        for part, (offset, table_offset) in sent.items():
            if (part.topic, part.partition) not in failed:
                part.committed_offset, part.committed_table_offset = offset, table_offset

    # --- helpers ------------------------------------------------------------------------------------------------------

    def _opened(self) -> Consumer:
        if self._consumer is None:
            message = "the router has not joined its group"
            raise RuntimeError(message)
        return self._consumer

    def _may_route(self, part: SourcePartition) -> bool:
        return part.may_route(self._table, self._reader.topic_id)

    def _pop(self, partitions: Iterable[TopicPartition]) -> list[SourcePartition]:
        self._changes += 1
        found = (self.parts.pop((tp.topic, tp.partition), None) for tp in partitions)
        return [part for part in found if part is not None]

    def _offsets(self, parts: Iterable[SourcePartition]) -> list[TopicPartition]:
        table_id = self._reader.topic_id
        return [
            TopicPartition(part.topic, part.partition, part.done_offset, part.note(self._table, table_id).encode())
            for part in parts
        ]

    def _owned(self, messages: Iterable[Message]) -> Taken:
        taken: Taken = []
        parts = self.parts
        for message in messages:
            error = message.error()
            if error is not None:
                self._take_error(error, message)
                continue
            part = parts.get((message.topic() or "", message.partition() or 0))
            if part is not None:
                taken.append((part, message))
        return taken

    def _take_error(self, error: KafkaError, message: Message) -> None:
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            # Retention overtook us, or the topic was re-created. The way on begins at the assignment, see `_start`.
            where = f"{message.topic()}:{message.partition()}"
            raise ExpiredRecordsError(f"records of {where} were deleted before they were read: start again to go on")
        if error.code() == KafkaError._MAX_POLL_EXCEEDED:
            log.warning("this router was silent for too long and has left its group; it joins again")
        elif not is_away(error):
            raise kafka_error(error, "cannot read the events")

    def _set_pauses(self) -> None:
        """Let each partition be read, or not; looks at them only when something changed."""
        decides = (self.stalled, self._table.offset, self._changes)  # each row moves the offset
        if decides == self._pauses_of:
            return
        self._pauses_of = decides
        self._waiting = False
        pause: list[TopicPartition] = []
        resume: list[TopicPartition] = []
        for part in self.parts.values():
            waits = not self._may_route(part)
            self._waiting |= waits
            wanted = self.stalled or waits
            if wanted != part.paused:
                part.paused = wanted
                (pause if wanted else resume).append(TopicPartition(part.topic, part.partition))
        with translated("cannot pause or resume"):
            if pause:
                self._opened().pause(pause)
            if resume:
                self._opened().resume(resume)
