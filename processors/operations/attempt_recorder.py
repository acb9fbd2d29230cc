"""The attempt log: what workers write to `attempts` becomes rows that people can ask for.

The rows of records, and how far each partition is now, are written in one transaction. A record that is read again has
its row already, and adds none. A partition begins where the database says that it is, or at the group's offset where
that is lower: a database that was restored from a backup gets back what the log still holds, and an operator may move
the group back, never past what was not written.

A record that cannot be decoded is counted, logged and passed over. What has become too old is deleted between turns, a
batch at a time.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence

import structlog
from confluent_kafka import Consumer, Message, TopicPartition
from sqlalchemy.orm import Session

from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.metrics import Metrics
from hookstream.processors.offsets import committed_offsets, watermarks
from hookstream.processors.topics import topic_ids
from hookstream.schemas.attempt import Attempt, AttemptGap, gap_of
from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.attempt_gaps import add_gaps, delete_gaps
from hookstream.subscriptions.attempt_log import (
    LoggedAttempt,
    LogProgress,
    delete_attempts,
    log_progress,
    replace_progress,
    write_attempts,
)
from hookstream.subscriptions.database import NowMs, Sessions, reading, transact

from .attempt_log_start import PartitionProgress, Start, begin
from .group_reader import Begin, GroupTopic

# Rows of a transaction: its fixed cost is spread, and it holds no lock for longer than a blink.
_BATCH_RECORDS = 1_000
# More than a turn writes, so that a deletion that is behind catches up under any load.
_DELETE_ROWS = 2_000
_DELETE_EVERY_S = 60.0
_DAY_MS = 24 * 3600 * 1000

log = structlog.get_logger("hookstream.attempt_log")


class AttemptRecorder:
    """A `GroupStep`: writes the attempts of one deployment. One thread."""

    def __init__(  # what it reads, where it writes, what it reports to
        self,
        sessions: Sessions,
        kafka: KafkaConfig,
        topics: TopicNames,
        *,
        decode: Callable[[bytes | None], Attempt],
        metrics: Metrics,
        now_ms: NowMs,
        keep_days: float,
    ) -> None:
        """Prepare; nothing is connected yet. Rows are deleted `keep_days` after their record was appended."""
        self.source = GroupTopic(
            topic=topics.attempts,
            group=topics.attempt_log_group,
            what="attempts",
            name="attempt log",
            batch_records=_BATCH_RECORDS,
        )
        self._sessions = sessions
        self._kafka = kafka
        self._decode = decode
        self._metrics = metrics
        self._now_ms = now_ms
        self._keep_ms = round(keep_days * _DAY_MS)
        self._delete_at_s = 0.0
        # The embedded Kafka lives as long as its process, and so does its topic.
        self._embedded_id = f"memory-{uuid.uuid4().hex}"
        self._topic_id = ""
        self._partitions: dict[int, PartitionProgress] = {}

    def prepare(self) -> Begin:
        """Find the topic's id, once the database answers; give what says where each partition begins.

        Raises:
            DatabaseError: no answer from the database, or it was not migrated yet.
            KafkaUnavailableError: no answer from Kafka.
        """
        with reading(self._sessions) as session:
            log_progress(session)
        topic = self.source.topic
        self._topic_id = topic_ids(self._kafka, [topic])[topic] or self._embedded_id
        return self._begin

    def apply(self, records: Sequence[Message]) -> int:
        """Write rows and progress, and delete what is too old if it is time; give the number of records.

        Raises:
            RegistryError: a schema cannot be had now.
            DatabaseError: no answer from the database.
        """
        if records:
            self._write(records)
        else:
            self._metrics.attempt_log.lag_seconds = 0.0
        self._delete_old()
        return len(records)

    def forget(self) -> None:
        """Forget how far partitions are."""
        self._partitions.clear()

    def _begin(self, consumer: Consumer, assigned: list[TopicPartition]) -> list[TopicPartition]:
        """Begin each partition where the database has it, and say there since when it is whole."""
        with reading(self._sessions) as session:
            stored = log_progress(session)
        committed = committed_offsets(consumer, assigned, "cannot read the committed offsets")
        starts: list[TopicPartition] = []
        begun: list[LogProgress] = []
        anew: list[LogProgress] = []
        for found in committed:
            low, high = watermarks(consumer, self.source.topic, found.partition)
            start = begin(
                stored.get(found.partition),
                topic_id=self._topic_id,
                committed=found.offset if found.offset >= 0 else None,
                bounds=(low, high),
                now_ms=self._now_ms(),
            )
            self._report(found.partition, start)
            progress = self._partitions[found.partition] = PartitionProgress(start)
            starts.append(TopicPartition(self.source.topic, found.partition, start.offset))
            if start.covers_from_ms is not None:  # else the first record says from when on the log is whole
                (anew if start.anew else begun).append(progress.stored(found.partition, self._topic_id))
        if begun or anew:
            transact(self._sessions, lambda session: self._write_begun(session, begun, anew))
        return starts

    @staticmethod
    def _write_begun(session: Session, begun: Sequence[LogProgress], anew: Sequence[LogProgress]) -> None:
        write_attempts(session, (), begun)
        replace_progress(session, anew)

    def _report(self, partition: int, start: Start) -> None:
        self._metrics.attempt_log.records["expired"] += start.expired
        # That a log in memory begins anew with its process is known beforehand.
        if start.expired or (start.anew and self._topic_id != self._embedded_id):
            why = "attempts were deleted before they were read" if start.expired else "the log of attempts begins anew"
            log.error(why, partition=partition, expired=start.expired, continues_at=start.offset)

    def _write(self, records: Sequence[Message]) -> None:
        """Rows and progress, in one transaction."""
        attempts: list[LoggedAttempt] = []
        gaps: list[AttemptGap] = []
        ends: dict[int, LogProgress] = {}
        unreadable = 0
        for message in records:
            partition, appended_at_ms = message.partition() or 0, message.timestamp()[1]
            progress = self._partitions[partition]
            progress.take(message.offset() or 0, appended_at_ms)
            ends[partition] = progress.stored(partition, self._topic_id)
            gap = gap_of(message.key(), message.headers()) if message.value() is None else None
            if gap is not None:
                gaps.append(gap)
                continue
            try:
                attempts.append(LoggedAttempt(self._decode(message.value()), appended_at_ms))
            except UndecodableError as exc:
                unreadable += 1
                log.error(  # noqa: TRY400  # the reason says it all
                    "an attempt cannot be read",
                    topic=self.source.topic,
                    partition=partition,
                    offset=message.offset(),
                    reason=str(exc),
                )
        transact(self._sessions, lambda session: _write_read(session, attempts, gaps, tuple(ends.values())))
        self._metrics.attempt_log.records["written"] += len(attempts)
        self._metrics.attempt_log.records["undecodable"] += unreadable
        oldest = min(end.appended_at_ms or 0 for end in ends.values())
        self._metrics.attempt_log.lag_seconds = max(0.0, (self._now_ms() - oldest) / 1000)

    def _delete_old(self) -> None:
        """Delete one batch of what is too old, if it is time; the rest comes with the next turns."""
        now_s = time.monotonic()
        if now_s < self._delete_at_s:
            return
        before_ms = self._now_ms() - self._keep_ms
        transact(self._sessions, lambda session: delete_gaps(session, before_ms=before_ms))
        deleted = transact(
            self._sessions, lambda session: delete_attempts(session, before_ms=before_ms, limit=_DELETE_ROWS)
        )
        if deleted < _DELETE_ROWS:
            self._delete_at_s = now_s + _DELETE_EVERY_S


def _write_read(
    session: Session,
    attempts: Sequence[LoggedAttempt],
    gaps: Sequence[AttemptGap],
    progress: Sequence[LogProgress],
) -> None:
    write_attempts(session, attempts, progress)
    add_gaps(session, gaps)
