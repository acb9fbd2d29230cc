"""Looks up what a partition begins with: its commit, its log's ends, its state. The poll thread's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import structlog
from confluent_kafka import Consumer, TopicPartition

from hookstream.processors.delivery.engine.partition_state import EMPTY_STATE, PartitionState
from hookstream.processors.errors import StoredFormatError
from hookstream.processors.offsets import committed_offsets

from .partition_start import FoundCommit, LogIdentity, StartAt, decide_start, needs_state_search, refusal
from .state_store import StateReader

log = structlog.get_logger("hookstream.deliver")


class StreamStarting(NamedTuple):
    """The log of one topic, of a partition that begins."""

    start: StartAt
    state: PartitionState


class PartitionStarting(NamedTuple):
    """A partition that begins: live, replay."""

    partition: int
    streams: tuple[StreamStarting, StreamStarting]


@dataclass(slots=True)
class PartitionLookup:
    """Answers for the two topics, whose ids are known."""

    topics: tuple[str, str]
    identities: tuple[LogIdentity, LogIdentity]
    states: StateReader
    expired: int = 0
    """Offsets that retention deleted before they were read."""

    def look_up(self, consumer: Consumer, partition: int) -> PartitionStarting:
        """Everything that the partition begins with.

        Raises:
            StartRefusedError: only an operator can say what is pending.
            KafkaUnavailableError: no answer; it may be asked again.
        """
        asked = [TopicPartition(topic, partition) for topic in self.topics]
        committed = committed_offsets(consumer, asked, "cannot read the committed offsets")
        streams = []
        for found, identity in zip(committed, self.identities, strict=True):
            offset = found.offset if found.offset >= 0 else None
            streams.append(self._stream(FoundCommit(found.topic, partition, offset, found.metadata), identity))
        return PartitionStarting(partition, (streams[0], streams[1]))

    def _stream(self, found: FoundCommit, identity: LogIdentity) -> StreamStarting:
        start, state = self.judge(found, identity)
        if start.expired:
            self.note_expired(found.topic, found.partition, start.offset - start.expired, start.offset)
        return StreamStarting(start, state)

    def judge(self, found: FoundCommit, identity: LogIdentity) -> tuple[StartAt, PartitionState]:
        """Where the log of one topic begins in a partition, and with which state.

        Raises:
            StartRefusedError: only an operator can say what is pending.
            KafkaUnavailableError: no answer; it may be asked again.
        """
        states = self.states
        exists = needs_state_search(found) and bool(states.states(found.topic, found.partition))
        bounds = states.watermarks(found.topic, found.partition)
        start = decide_start(found, watermarks=bounds, identity=identity, state_exists=exists)
        state = EMPTY_STATE
        if start.metadata is not None and start.metadata.pointer is not None:
            try:
                state = states.load(found.topic, found.partition, start.metadata.pointer)
            except StoredFormatError as exc:
                raise refusal(found, str(exc)) from exc
        return start, state

    def note_expired(self, topic: str, partition: int, next_offset: int, continues_at: int) -> None:
        """Count and log that the log lost records before they were read."""
        self.expired += max(0, continues_at - next_offset)
        log.error(
            "records were deleted before they were read",
            topic=topic,
            partition=partition,
            next_offset=next_offset,
            continues_at=continues_at,
        )
