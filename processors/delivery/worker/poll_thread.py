"""The thread that polls Kafka: the only user of the group's consumer, from joining to leaving.

It hands records to the event loop in batches, through inboxes that both sides may touch, and takes commits back.
Kafka's callbacks (assigned, revoked, lost, committed) run in this thread, inside the calls made here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Protocol, TypeAlias

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from hookstream.processors.delivery.checkpoints.commit_metadata import VERSION, CommitMetadata, encode_metadata
from hookstream.processors.delivery.checkpoints.partition_lookup import PartitionLookup, PartitionStarting
from hookstream.processors.delivery.checkpoints.partition_start import LogIdentity
from hookstream.processors.delivery.checkpoints.state_store import StateReader
from hookstream.processors.errors import ExpiredRecordsError, KafkaRefusedError, KafkaUnavailableError
from hookstream.processors.kafka import (
    BATCH_RECORDS,
    ClientConfig,
    KafkaConfig,
    group_consumer_config,
    is_away,
    kafka_error,
    make_consumer,
    translated,
)
from hookstream.processors.lifecycle import StopSignal, until_available

from .inbox import AssignedPartition, Inbox, Inboxes, TopicSide

IDLE_WAIT_S = 0.1

_HELD_WAIT_S = 0.005
# A record of a live partition waits behind what was fetched of a busy one: 2 MiB are some 10,000 records.
_QUEUED_KBYTES = 2 * 1024
_FETCH_BYTES = 256 * 1024
_ASSIGN_WITHIN_S = 120.0
_COMMIT_TRIES = 3

# A process that was suspended may have lost its partitions without knowing it. It joins again at once, and from then on
# the broker takes its commits, of any partition: what it knew before it slept would overwrite what the new owner said
# since. So after a silence that a session might not survive, Kafka gets time to say so before anything is committed.
_AWAY_S = 5.0
_REJOINED_WITHIN_S = 3.0

log = structlog.get_logger("hookstream.deliver")

Committed: TypeAlias = Callable[[str | None], None]
"""Called in the poll thread with why a commit failed, or None."""


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
        """Drop partitions that are somebody else's already."""
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


class PollThread:
    """One member of the workers' group. Methods that are not said to be otherwise belong to the event loop's thread."""

    def __init__(self, config: PollConfig, loop: Loop, stop: StopSignal) -> None:
        """Prepare; `start` joins the group."""
        self.beat = time.monotonic()
        """When the thread last showed that it lives."""
        self._config = config
        self._loop = loop
        self._stop = stop
        self._inboxes = Inboxes()
        self._held: set[TopicSide] = set()
        self._commits: SimpleQueue[tuple[list[TopicPartition], Committed]] = SimpleQueue()
        self._reported: Committed | None = None
        self._draining = threading.Event()
        self._finishing = threading.Event()
        self._last_commits: list[TopicPartition] = []
        self._closing = False
        self._commit_from = 0.0
        self._asked: list[tuple[str, int, int]] = []
        self._eager = False  # the classic protocol with `range`: every rebalance assigns everything anew
        self._leads = False  # the group assigns `deliveries` alone, and its replays follow
        self._consumer: Consumer
        self._lookup: PartitionLookup
        self._thread = threading.Thread(target=self._run, name="poll", daemon=True)

    @property
    def expired(self) -> int:
        """Offsets that retention deleted before they were read. Any thread."""
        return self._lookup.expired if hasattr(self, "_lookup") else 0

    def start(self) -> None:
        """Join the group."""
        self._thread.start()

    def commit(self, offsets: list[TopicPartition], committed: Committed) -> None:
        """Commit in one request; wait for the answer before the next."""
        self._commits.put((offsets, committed))

    def drain(self) -> None:
        """Hand over nothing more, but stay in the group."""
        self._draining.set()

    def finish(self, commits: list[TopicPartition]) -> None:
        """Commit this, leave the group, end."""
        self._last_commits = commits
        self.end()

    def end(self) -> None:
        """Leave the group, end."""
        self._draining.set()
        self._finishing.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; any thread. Says whether it came."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            config = self._config
            states = StateReader(config.kafka, config.state_topic)
            self._lookup = PartitionLookup(config.topics, config.identities, states)
            self._consumer = make_consumer(self._consumer_config())
            try:
                self._poll()
            finally:
                self._closing = True  # nothing is drained inside close: the group hears nothing of us there
                self._consumer.close()
                states.close()
        except Exception as exc:  # noqa: BLE001 - whatever it is, the process has to end
            self._loop.failed(exc)

    def _poll(self) -> None:
        with translated("cannot subscribe to the deliveries"):
            self._consumer.subscribe(
                list(self._config.topics[: 1 if self._leads else 2]),
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )
        while not self._finishing.is_set():
            self.step()
        last = [tp for tp in self._last_commits if (tp.topic, tp.partition) in self._held]
        if last:
            self._commit_now(last)

    def step(self) -> None:
        """Do one turn."""
        now = time.monotonic()
        if now - self.beat > _AWAY_S:
            self._commit_from = now + _REJOINED_WITHIN_S
        self.beat = now
        if now >= self._commit_from:
            self._send_commit()
        if self._draining.is_set():
            self._pause(self._held - self._inboxes.paused)
            self._give([], self._consumer.consume(1, IDLE_WAIT_S))
            return
        inboxes = self._inboxes
        if inboxes.full(self.beat):
            pause = inboxes.to_pause(self.beat)
            if pause is None:
                threading.Event().wait(_HELD_WAIT_S)
                return
            self._pause(pause)
        elif inboxes.paused:
            self._resume(inboxes.to_resume())
        with translated("cannot read the deliveries"):
            first = self._consumer.consume(1, IDLE_WAIT_S)
            more = self._consumer.consume(BATCH_RECORDS - 1, 0) if first else []
        if first:
            self._give(first, more)

    def _give(self, *batches: Iterable[Message]) -> None:
        """Put records into the inboxes, then tell the loop, once."""
        inboxes, draining, given = self._inboxes, self._draining.is_set(), False
        for messages in batches:
            for message in messages:
                if message.error() is not None:
                    self._take_error(message)
                    continue
                inbox = inboxes.get((message.topic(), message.partition()))  # type: ignore[arg-type]
                if inbox is not None and not draining:
                    inbox.messages.append(message)
                    inbox.given += 1
                    inbox.given_bytes += len(message)
                    given = True
        if given:
            self._loop.arrived()

    def _take_error(self, message: Message) -> None:
        error = message.error()
        if error is None:
            return
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            self._go_on_at_low(message.topic() or "", message.partition() or 0)
        elif error.code() == KafkaError._MAX_POLL_EXCEEDED:
            log.warning("this worker was silent for too long and has left its group; it joins again")
        elif not is_away(error):
            raise kafka_error(error, "cannot read the deliveries")

    def _go_on_at_low(self, topic: str, partition: int) -> None:
        """Retention has overtaken the reading position: what is gone is counted, and reading goes on."""
        if (topic, partition) not in self._inboxes:
            return
        low, high = self._lookup.states.watermarks(topic, partition)
        here = TopicPartition(topic, partition)
        with translated(f"cannot go on in {topic}:{partition}"):
            before = self._consumer.position([here])[0].offset
            there = min(max(before, low), high)
            self._lookup.note_expired(topic, partition, before if before >= 0 else there, there)
            if self._eager:  # the classic protocol can only assign everything anew: that is what a start does
                raise ExpiredRecordsError(f"records of {topic}:{partition} were deleted before they were read")
            # A partition whose offset was out of range is not fetched any more, and cannot be moved by a seek.
            self._consumer.incremental_unassign([here])
            self._consumer.incremental_assign([TopicPartition(topic, partition, there)])

    # --- pausing ------------------------------------------------------------------------------------------------------

    def _pause(self, sides: set[TopicSide]) -> None:
        if sides:
            with translated("cannot pause"):
                self._consumer.pause([TopicPartition(*side) for side in sides])
            self._inboxes.paused |= sides

    def _resume(self, sides: set[TopicSide]) -> None:
        if sides:
            with translated("cannot resume"):
                self._consumer.resume([TopicPartition(*side) for side in sides])
            self._inboxes.paused -= sides

    # --- commits ------------------------------------------------------------------------------------------------------

    def _send_commit(self) -> None:
        try:
            offsets, committed = self._commits.get_nowait()
        except Empty:
            return
        self._reported, self._asked = committed, _names(offsets)
        if any((tp.topic, tp.partition) not in self._inboxes for tp in offsets):
            self._report("it covers partitions that were given away")
            return
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as exc:
            self._report(str(exc))

    def _on_commit(self, error: KafkaError | None, offsets: list[TopicPartition]) -> None:
        if _names(offsets) != self._asked:
            return  # of one that was given up when its partitions were lost
        refused = next((tp.error for tp in offsets if tp.error is not None), None)
        failure = error or refused
        self._report(None if failure is None else failure.str())

    def _report(self, failure: str | None) -> None:
        reported, self._reported = self._reported, None
        if reported is not None:
            reported(failure)

    def _commit_now(self, offsets: list[TopicPartition]) -> bool:
        """Commit and wait for the answer; a failure costs duplicates, not deliveries."""
        failure = ""
        for _ in range(_COMMIT_TRIES):
            try:
                answers = self._consumer.commit(offsets=offsets, asynchronous=False)
            except KafkaException as exc:
                failure = str(exc)
                continue
            refused = [answer for answer in answers or () if answer.error is not None]
            if not refused:
                return True
            failure = str(refused[0].error)
        log.warning("a commit failed; what it covered is delivered again", reason=failure)
        return False

    # --- inside Kafka's callbacks -------------------------------------------------------------------------------------

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        """Begin the partitions of which both topics' sides are ours."""
        assigned = self._with_mates(assigned)
        self._held |= {(tp.topic, tp.partition) for tp in assigned}
        live, replay = self._config.topics
        fresh = sorted({tp.partition for tp in assigned})
        whole = [p for p in fresh if (live, p) in self._held and (replay, p) in self._held]
        starting = until_available(
            "kafka",
            lambda: [self._look_up(partition) for partition in whole],
            stop=self._stop,
            retriable=(KafkaUnavailableError,),
            give_up_after_s=_ASSIGN_WITHIN_S,
        )
        offsets = {}
        assigned_to_loop = []
        for begin in starting:
            inboxes = (Inbox(), Inbox())
            for topic, stream, inbox in zip(self._config.topics, begin.streams, inboxes, strict=True):
                offsets[topic, begin.partition] = stream.start.offset
                self._inboxes[topic, begin.partition] = inbox
            assigned_to_loop.append(AssignedPartition(begin, inboxes))
        halves = [tp for tp in assigned if tp.partition not in whole]
        with translated("cannot take partitions over"):
            new = [TopicPartition(tp.topic, tp.partition, offsets.get((tp.topic, tp.partition), 0)) for tp in assigned]
            self._assign(consumer, new)
            consumer.resume([TopicPartition(tp.topic, tp.partition) for tp in new])  # a pause outlives an assignment
            if halves:
                consumer.pause([TopicPartition(tp.topic, tp.partition) for tp in halves])
            self._commit_first(starting)
            known = {(tp.topic, tp.partition) for tp in assigned}
            mates = [TopicPartition(*side, offset) for side, offset in offsets.items() if side not in known]
            if mates:  # assigned earlier, and idle since
                consumer.incremental_unassign(mates)
                consumer.incremental_assign(mates)
                consumer.resume(mates)
        if assigned_to_loop:
            self._loop.assigned(assigned_to_loop)

    def _commit_first(self, starting: Sequence[PartitionStarting]) -> None:
        """Commit what has never been committed by us, before a record of it is read.

        Otherwise a state could be written before there is any commit, and a crash in between would leave a partition
        that owes something and has no offset: nobody could tell that from offsets that were lost.
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
        if fresh and not self._commit_now(fresh):
            raise KafkaUnavailableError("the first commit of a partition failed")

    def _assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._eager:
            consumer.assign(partitions)
        else:
            consumer.incremental_assign(partitions)

    def _look_up(self, partition: int) -> PartitionStarting:
        self.beat = time.monotonic()
        return self._lookup.look_up(self._consumer, partition)

    def _on_revoke(self, consumer: Consumer, revoked: list[TopicPartition]) -> None:
        """Finish what is under way, commit it, let go."""
        revoked = self._with_mates(revoked)
        partitions = self._let_go(revoked)
        if partitions and not self._closing:
            commits = self._loop.release(partitions)
            self.beat = time.monotonic()
            if commits:
                self._commit_now(commits)
        self._unassign(consumer, revoked)

    def _on_lost(self, consumer: Consumer, lost: list[TopicPartition]) -> None:
        """Let go; somebody else owns them already, so nothing is committed."""
        lost = self._with_mates(lost)
        partitions = self._let_go(lost)
        if not self._closing:
            log.warning("partitions were lost", partitions=sorted(partitions))
            self._report("its partitions were lost")  # Kafka may keep its answer for as long as a session
            self._loop.lost(partitions)
        self._unassign(consumer, lost)

    def _with_mates(self, sides: list[TopicPartition]) -> list[TopicPartition]:
        """What is ours with these sides: where the group assigns `deliveries` alone, its replays come along.

        An assignor that balances each partition by itself would give the two sides of one to two workers.
        """
        if not self._leads:
            return sides
        return [TopicPartition(topic, tp.partition) for tp in sides for topic in self._config.topics]

    def _unassign(self, consumer: Consumer, gone: list[TopicPartition]) -> None:
        """Read no more of these; where nothing came along, the client does that after the callback."""
        if self._leads:
            with translated("cannot give partitions away"):
                consumer.incremental_unassign(gone)

    def _let_go(self, gone: Iterable[TopicPartition]) -> set[int]:
        """Drop the inboxes of both sides; gives the partitions that had them."""
        partitions = set()
        for tp in gone:
            self._held.discard((tp.topic, tp.partition))
            for topic in self._config.topics:
                if self._inboxes.drop((topic, tp.partition)):
                    partitions.add(tp.partition)
        return partitions

    # --- helpers ------------------------------------------------------------------------------------------------------

    def _consumer_config(self) -> ClientConfig:
        own = {"queued.max.messages.kbytes": _QUEUED_KBYTES, "fetch.message.max.bytes": _FETCH_BYTES}
        config = group_consumer_config(self._config.kafka, group=self._config.group, co_partitioned=True, own=own)
        strategy = config.get("partition.assignment.strategy", "")
        self._leads = strategy == "cooperative-sticky"
        if strategy not in ("", "range", "cooperative-sticky"):
            raise KafkaRefusedError(
                "partition.assignment.strategy must be range or cooperative-sticky: partition p of deliveries and of"
                " its replays has one owner"
            )
        self._eager = strategy == "range"
        return {**config, "on_commit": self._on_commit}


def _names(offsets: Iterable[TopicPartition]) -> list[tuple[str, int, int]]:
    """What tells one commit from another."""
    return sorted((tp.topic, tp.partition, tp.offset) for tp in offsets)
