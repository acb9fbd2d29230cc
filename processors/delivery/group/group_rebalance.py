"""What a worker does when its group gives it partitions and takes them: Kafka's callbacks, in the poll thread.

A partition begins when both of its topics are assigned: `deliveries` and its replays have one owner.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
from confluent_kafka import Consumer, TopicPartition

from hookstream.processors.delivery.checkpoints.commit_metadata import VERSION, CommitMetadata, encode_metadata
from hookstream.processors.delivery.checkpoints.partition_lookup import PartitionLookup, PartitionStarting
from hookstream.processors.delivery.checkpoints.partition_start import LogIdentity
from hookstream.processors.errors import ExpiredRecordsError, KafkaUnavailableError
from hookstream.processors.kafka import KafkaConfig, TopicPartitionKey, translated
from hookstream.processors.lifecycle import StopSignal, until_available

from .group_commits import GroupCommits, commit_now
from .group_protocol import Assignment
from .inbox import AssignedPartition, Inbox, Inboxes
from .poll_requests import PollRequests

_ASSIGN_WITHIN_S = 120.0

log = structlog.get_logger("hookstream.deliver")


class Loop(Protocol):
    """What the poll thread asks of the event loop's side; every method is called in the poll thread."""

    def assigned(self, partitions: Sequence[AssignedPartition]) -> None:
        """Take partitions over; returns at once."""
        ...

    def arrived(self) -> None:
        """Look into the inboxes; returns at once."""
        ...

    def release(self, partitions: Collection[int]) -> list[TopicPartition]:
        """Finish partitions that are given away and return their last commits; blocks, under a deadline of its own."""
        ...

    def lost(self, partitions: Collection[int]) -> None:
        """Drop partitions that another worker has already."""
        ...

    def failed(self, error: Exception) -> None:
        """The poll thread can do no more."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PollConfig:
    """What to poll: `topics` are `deliveries` and its replays, partition for partition."""

    kafka: KafkaConfig
    group: str
    topics: tuple[str, str]
    state_topic: str
    identities: tuple[LogIdentity, LogIdentity]
    table_offset: Callable[[], int]
    metadata_version: int = VERSION


class GroupRebalance:
    """The partitions of one member: which it holds, and where each begins."""

    def __init__(  # noqa: PLR0913 - what the member brings
        self,
        config: PollConfig,
        loop: Loop,
        stop: StopSignal,
        *,
        requests: PollRequests,
        lookup: PartitionLookup,
        inboxes: Inboxes,
        commits: GroupCommits,
        assignment: Assignment,
    ) -> None:
        """Hold nothing yet."""
        self.inboxes = inboxes
        self.held: set[TopicPartitionKey] = set()
        """What the group has assigned; a partition of which only one topic is held waits for the other."""
        self.closing = False
        """Nothing is drained while the group is left: no heartbeat is sent then."""
        self._config = config
        self._loop = loop
        self._stop = stop
        self._requests = requests
        self._lookup = lookup
        self._commits = commits
        self._assignment = assignment

    def on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        """Begin the partitions of which both topics are held."""
        assigned = self._assignment.co_partitions(assigned, self._config.topics)
        self.held |= {(tp.topic, tp.partition) for tp in assigned}
        live, replay = self._config.topics
        fresh = sorted({tp.partition for tp in assigned})
        whole = [p for p in fresh if (live, p) in self.held and (replay, p) in self.held]
        starting = until_available(
            "kafka",
            lambda: [self._look_up(consumer, partition) for partition in whole],
            stop=self._stop,
            retriable=(KafkaUnavailableError,),
            give_up_after_s=_ASSIGN_WITHIN_S,
        )
        offsets: dict[TopicPartitionKey, int] = {}
        given: list[AssignedPartition] = []
        for begin in starting:
            inboxes = (Inbox(), Inbox())
            for topic, stream, inbox in zip(self._config.topics, begin.streams, inboxes, strict=True):
                offsets[topic, begin.partition] = stream.start.offset
                self.inboxes[topic, begin.partition] = inbox
            given.append(AssignedPartition(begin, inboxes))
        with translated("cannot take partitions over"):
            self._read_from(consumer, assigned, offsets, whole)
            self._commit_first(consumer, starting)
            known = {(tp.topic, tp.partition) for tp in assigned}
            waiting = [TopicPartition(*key, offset) for key, offset in offsets.items() if key not in known]
            if waiting:  # assigned earlier, and paused since
                consumer.incremental_unassign(waiting)
                consumer.incremental_assign(waiting)
                consumer.resume(waiting)
        if given:
            self._loop.assigned(given)

    def on_revoke(self, consumer: Consumer, revoked: list[TopicPartition]) -> None:
        """Finish what is under way, commit it, let go."""
        revoked = self._assignment.co_partitions(revoked, self._config.topics)
        partitions = self._let_go(revoked)
        if partitions and not self.closing:
            commits = self._loop.release(partitions)
            self._requests.beat = time.monotonic()
            if commits:
                commit_now(consumer, commits)
        self._assignment.unassign(consumer, revoked)

    def on_lost(self, consumer: Consumer, lost: list[TopicPartition]) -> None:
        """Let go; another worker owns them already, so nothing is committed."""
        lost = self._assignment.co_partitions(lost, self._config.topics)
        partitions = self._let_go(lost)
        if not self.closing:
            log.warning("partitions were lost", partitions=sorted(partitions))
            self._commits.answer("its partitions were lost")  # Kafka may keep its answer for as long as a session
            self._loop.lost(partitions)
        self._assignment.unassign(consumer, lost)

    def continue_at_low(self, consumer: Consumer, topic: str, partition: int) -> None:
        """Retention has overtaken the reading position: count what was deleted, and read on."""
        if (topic, partition) not in self.inboxes:
            return
        low, high = self._lookup.states.watermarks(topic, partition)
        here = TopicPartition(topic, partition)
        with translated(f"cannot go on in {topic}:{partition}"):
            before = consumer.position([here])[0].offset
            there = min(max(before, low), high)
            self._lookup.note_expired(topic, partition, before if before >= 0 else there, there)
            self._requests.expired = self._lookup.expired
            if self._assignment is Assignment.EAGER:  # it can only assign everything anew, as a start does
                raise ExpiredRecordsError(f"records of {topic}:{partition} were deleted before they were read")
            # A partition whose offset was out of range is not fetched any more, and cannot be moved by a seek.
            consumer.incremental_unassign([here])
            consumer.incremental_assign([TopicPartition(topic, partition, there)])

    # --- steps --------------------------------------------------------------------------------------------------------

    def _look_up(self, consumer: Consumer, partition: int) -> PartitionStarting:
        self._requests.beat = time.monotonic()
        found = self._lookup.look_up(consumer, partition)
        self._requests.expired = self._lookup.expired
        return found

    def _read_from(
        self,
        consumer: Consumer,
        assigned: list[TopicPartition],
        offsets: dict[TopicPartitionKey, int],
        whole: Collection[int],
    ) -> None:
        """Assign what came; what has to wait for its other topic is paused."""
        new = [TopicPartition(tp.topic, tp.partition, offsets.get((tp.topic, tp.partition), 0)) for tp in assigned]
        self._assignment.assign(consumer, new)
        consumer.resume([TopicPartition(tp.topic, tp.partition) for tp in new])  # a pause outlives an assignment
        halves = [TopicPartition(tp.topic, tp.partition) for tp in assigned if tp.partition not in whole]
        if halves:
            consumer.pause(halves)

    def _commit_first(self, consumer: Consumer, starting: Sequence[PartitionStarting]) -> None:
        """Commit what has never been committed by us, before a record of it is read.

        Otherwise a state could be written before there is any commit, and a crash in between would leave a partition
        with pending deliveries and without an offset: it could not be distinguished from one whose offsets were lost.
        """
        fresh = [
            TopicPartition(
                topic,
                begin.partition,
                stream.start.offset,
                encode_metadata(
                    CommitMetadata(
                        log_digest=identity.log_digest,
                        table_digest=identity.table_digest,
                        table_offset=self._config.table_offset(),
                    ),
                    version=self._config.metadata_version,
                ),
            )
            for begin in starting
            for topic, identity, stream in zip(self._config.topics, self._config.identities, begin.streams, strict=True)
            if stream.start.metadata is None
        ]
        if fresh and not commit_now(consumer, fresh):
            raise KafkaUnavailableError("the first commit of a partition failed")

    def _let_go(self, gone: Iterable[TopicPartition]) -> set[int]:
        """Drop the inboxes of both topics; gives the partitions that had them."""
        partitions = set()
        for tp in gone:
            self.held.discard((tp.topic, tp.partition))
            for topic in self._config.topics:
                if self.inboxes.drop((topic, tp.partition)):
                    partitions.add(tp.partition)
        return partitions
