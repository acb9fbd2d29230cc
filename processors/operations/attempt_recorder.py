"""The attempt log: what workers write to `attempts` becomes rows that people can ask for.

One turn does, in an order that matters:

1. Take records from the group's partitions.
2. Write their rows, and how far each partition is now, in one transaction.
3. Commit the offsets to the group.

kill -9 between 2 and 3 repeats records whose rows are there already, and adds none. A partition begins where the
database says that it is, or at the group's offset where that is lower: a database that was restored from a backup gets
back what the log still holds, and an operator may move the group back, never past what was not written.

Where the database or the registry is away, the consumer is given up, and a later turn begins again from there; workers
know nothing of it. A record that cannot be decoded is counted, told and passed over. What has become too old is
deleted between turns, a batch at a time.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from sqlalchemy.orm import Session

from hookstream.processors.errors import KafkaUnavailableError, ProcessorError
from hookstream.processors.kafka import (
    REQUEST_TIMEOUT_S,
    KafkaConfig,
    consume_batch,
    group_consumer_config,
    is_away,
    kafka_error,
    make_consumer,
    translated,
    watermarks,
)
from hookstream.processors.lifecycle import Health, StopSignal, until_available
from hookstream.processors.metrics import Metrics
from hookstream.processors.topics import topic_ids
from hookstream.producers.errors import RegistryError
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
from hookstream.subscriptions.errors import DatabaseError

from .settled_offsets import SettledOffsets

RETRIABLE: Final = (KafkaUnavailableError, RegistryError, DatabaseError)
# Rows of a transaction: its fixed cost is spread, and it holds no lock for longer than a blink.
_BATCH_RECORDS = 1_000
# More than a turn writes, so that a deletion that is behind catches up under any load.
_DELETE_ROWS = 2_000
_DELETE_EVERY_S = 60.0
# How long an idle turn waits, and so how late a stop is seen.
_POLL_S = 0.2
_DAY_MS = 24 * 3600 * 1000

log = structlog.get_logger("hookstream.attempt_log")


class AttemptRecorder:
    """Writes the attempts of one deployment. One thread; run as many processes as there are partitions."""

    def __init__(  # what it reads, where it writes, how it tells
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
        self._sessions = sessions
        self._kafka = kafka
        self._config = group_consumer_config(kafka, group=topics.attempt_log_group)
        self._topic = topics.attempts
        self._decode = decode
        self._metrics = metrics
        self._now_ms = now_ms
        self._keep_ms = round(keep_days * _DAY_MS)
        self._delete_at_s = 0.0
        # The embedded Kafka lives as long as its process, and so does its topic.
        self._embedded_id = f"memory-{uuid.uuid4().hex}"
        self._topic_id = ""
        self._consumer: Consumer | None = None
        self._parts: dict[int, _Part] = {}
        self._settled = SettledOffsets(topics.attempts)

    def run(self, stop: StopSignal, health: Health) -> None:
        """Write until asked to stop; what is away is waited for.

        Raises:
            KafkaRefusedError: what waiting does not mend.
            StoppedError: asked to stop while something was away.
        """
        try:
            while not stop.asked:
                until_available("attempt log", self.run_once, stop=stop, health=health, retriable=RETRIABLE)
        finally:
            self.close()

    def run_once(self, timeout_s: float = _POLL_S) -> int:
        """Do one turn, as the module says; give the number of records that were read. Call it again after an error.

        Raises:
            KafkaUnavailableError: no answer from Kafka.
            RegistryError: a schema cannot be had now.
            DatabaseError: no answer from the database, or it was not migrated yet.
            KafkaRefusedError: a broker that will not let us read.
        """
        try:
            consumer = self._consumer or self._opened()
            with translated("cannot read the attempts"):
                messages = consume_batch(consumer, timeout_s, limit=_BATCH_RECORDS)
            taken = [message for message in messages if not self._is_error(message)]
            if taken:
                self._write(taken)
                self._commit(consumer, taken)
            else:
                self._metrics.attempt_log_lag_seconds = 0.0
                self._settled.commit(consumer)
            self._delete_old()
        except (ProcessorError, RegistryError, DatabaseError):
            self.close()
            raise
        return len(taken)

    def close(self) -> None:
        """Leave the group. Calling it twice is harmless."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
        self._parts.clear()
        self._settled.clear()

    def _opened(self) -> Consumer:
        """Join the group, once the database answers: a member that cannot write would only hold partitions."""
        with reading(self._sessions) as session:
            log_progress(session)
        self._topic_id = topic_ids(self._kafka, [self._topic])[self._topic] or self._embedded_id
        consumer = self._consumer = make_consumer(self._config)
        with translated("cannot subscribe to the attempts"):
            consumer.subscribe([self._topic], on_assign=self._on_assign)
        return consumer

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        """Begin each partition where the database has it, and say there since when it is whole."""
        with reading(self._sessions) as session:
            stored = log_progress(session)
        doing = "cannot read the committed offsets"
        with translated(doing):
            committed = consumer.committed(assigned, timeout=REQUEST_TIMEOUT_S)
        starts: list[TopicPartition] = []
        begun: list[LogProgress] = []
        anew: list[LogProgress] = []
        for found in committed:
            if found.error is not None:
                raise kafka_error(found.error, doing)
            low, high = watermarks(consumer, self._topic, found.partition)
            start = begin(
                stored.get(found.partition),
                topic_id=self._topic_id,
                committed=found.offset if found.offset >= 0 else None,
                bounds=(low, high),
                now_ms=self._now_ms(),
            )
            self._tell(found.partition, start)
            part = self._parts[found.partition] = _Part(start)
            starts.append(TopicPartition(self._topic, found.partition, start.offset))
            if start.covers_from_ms is not None:  # else the first record says from when on the log is whole
                (anew if start.anew else begun).append(part.progress(found.partition, self._topic_id))
        if begun or anew:
            transact(self._sessions, lambda session: self._write_begun(session, begun, anew))
        with translated("cannot take partitions over"):
            consumer.incremental_assign(starts)

    @staticmethod
    def _write_begun(session: Session, begun: Sequence[LogProgress], anew: Sequence[LogProgress]) -> None:
        write_attempts(session, (), begun)
        replace_progress(session, anew)

    def _tell(self, partition: int, start: Start) -> None:
        self._metrics.attempt_log["expired"] += start.expired
        # That a log in memory begins anew with its process is known beforehand.
        if start.expired or (start.anew and self._topic_id != self._embedded_id):
            why = "attempts were deleted before they were read" if start.expired else "the log of attempts begins anew"
            log.error(why, partition=partition, expired=start.expired, continues_at=start.offset)

    @staticmethod
    def _is_error(message: Message) -> bool:
        """Whether it is one that the client goes on after by itself; raises any other."""
        error = message.error()
        if error is None:
            return False
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            # Retention overtook us, or the topic was re-created. The way on begins at the assignment.
            raise KafkaUnavailableError(f"attempts of partition {message.partition()} were deleted before their turn")
        if error.code() != KafkaError._MAX_POLL_EXCEEDED and not is_away(error):
            raise kafka_error(error, "cannot read the attempts")
        log.warning("attempts wait", reason=error.str())
        return True

    def _write(self, taken: Sequence[Message]) -> None:
        """Rows and progress, in one transaction."""
        attempts: list[LoggedAttempt] = []
        gaps: list[AttemptGap] = []
        ends: dict[int, LogProgress] = {}
        unreadable = 0
        for message in taken:
            partition, appended_at_ms = message.partition() or 0, message.timestamp()[1]
            part = self._parts[partition]
            part.take(message.offset() or 0, appended_at_ms)
            ends[partition] = part.progress(partition, self._topic_id)
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
                    topic=self._topic,
                    partition=partition,
                    offset=message.offset(),
                    reason=str(exc),
                )
        transact(self._sessions, lambda session: _write_read(session, attempts, gaps, tuple(ends.values())))
        self._metrics.attempt_log["written"] += len(attempts)
        self._metrics.attempt_log["undecodable"] += unreadable
        oldest = min(end.appended_at_ms or 0 for end in ends.values())
        self._metrics.attempt_log_lag_seconds = max(0.0, (self._now_ms() - oldest) / 1000)

    def _commit(self, consumer: Consumer, taken: Sequence[Message]) -> None:
        """Say how far the database is."""
        self._settled.add(taken)
        self._settled.commit(consumer)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a partition begins, and since when its log is whole: None where its first record will say so.

    `anew`: what was stored is about another log, one that was re-created or cut.
    """

    offset: int
    covers_from_ms: int | None
    appended_at_ms: int | None = None
    expired: int = 0
    anew: bool = False


def begin(
    stored: LogProgress | None, *, topic_id: str, committed: int | None, bounds: tuple[int, int], now_ms: int
) -> Start:
    """Decide where a partition begins: at the lower of the database's and the group's offset, if it still exists."""
    low, high = bounds
    behind_gap = None if low < high else now_ms
    if stored is None:
        return Start(offset=low, covers_from_ms=behind_gap if low else 0)
    if stored.topic_id != topic_id or stored.next_offset > high:
        return Start(offset=low, covers_from_ms=now_ms, anew=True)
    if stored.next_offset < low:
        return Start(offset=low, covers_from_ms=behind_gap, expired=low - stored.next_offset)
    wanted = stored.next_offset if committed is None else min(stored.next_offset, committed)
    return Start(offset=max(low, wanted), covers_from_ms=stored.covers_from_ms, appended_at_ms=stored.appended_at_ms)


class _Part:
    """One partition that this process reads."""

    __slots__ = ("_appended_at_ms", "_covers_from_ms", "_next_offset")

    def __init__(self, start: Start) -> None:
        """Begin there."""
        self._next_offset = start.offset
        self._appended_at_ms = start.appended_at_ms
        self._covers_from_ms = start.covers_from_ms

    def take(self, offset: int, appended_at_ms: int) -> None:
        """Read one record; the first one behind a gap says since when the log is whole."""
        if self._covers_from_ms is None:
            self._covers_from_ms = appended_at_ms
        self._next_offset, self._appended_at_ms = offset + 1, appended_at_ms

    def progress(self, partition: int, topic_id: str) -> LogProgress:
        """How far it is."""
        return LogProgress(
            partition=partition,
            topic_id=topic_id,
            next_offset=self._next_offset,
            appended_at_ms=self._appended_at_ms,
            covers_from_ms=self._covers_from_ms or 0,
        )
