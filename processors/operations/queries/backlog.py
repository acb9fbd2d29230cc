"""Backlogs, from what Kafka has of the delivery workers: their commits, the states these point to, and the logs.

No worker is asked. A partition is looked at at most once a second, and of its logs only what came since is read: what
was read before is judged again by the new commit. One look reads for a bounded time and keeps a bounded number of
records; what it did not get to is sampled, and the counts are then estimates, until later looks have read the rest.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import TypeAlias

import structlog
from confluent_kafka import Consumer, Message, TopicPartition

from hookstream.processors.deadline import Deadline
from hookstream.processors.delivery.checkpoints.commit_metadata import log_digest
from hookstream.processors.delivery.checkpoints.partition_start import (
    FoundCommit,
    LogIdentity,
    decide_start,
    needs_state_search,
)
from hookstream.processors.delivery.checkpoints.state_store import StateReader
from hookstream.processors.delivery.engine.partition_state import EMPTY_STATE, PartitionState
from hookstream.processors.errors import ProcessorError, StartRefusedError, StoredFormatError
from hookstream.processors.kafka import (
    REQUEST_TIMEOUT_S,
    KafkaConfig,
    TopicPartitionKey,
    group_consumer_config,
    make_consumer,
)
from hookstream.processors.offsets import committed_offsets
from hookstream.processors.operations.log_ranges import LogScanner, OffsetRange
from hookstream.processors.topics import cluster_id, topic_ids
from hookstream.producers.errors import RegistryError
from hookstream.producers.murmur2 import partition_of
from hookstream.schemas.delivery import Delivery
from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import HookId
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.backlogs import Backlogs, HookBacklog, NotBefore, SeenHealth
from hookstream.subscriptions.errors import BacklogUnknownError
from hookstream.subscriptions.models import DisabledReason

from .backlog_records import CommitView, LogRecords, Sample, sample_of

Decode: TypeAlias = Callable[[bytes | None], Delivery]

log = structlog.get_logger("hookstream.lag")


@dataclass(frozen=True, slots=True, kw_only=True)
class LookLimits:
    """What one look may cost. A million records take some seconds to read once, and 24 bytes each to keep."""

    fresh_for_s: float = 1.0
    scan_s: float = 2.0
    kept_records: int = 2_000_000
    # Of a log that was not read to its end: so many stretches of so many records, for at most so long.
    sample_stretches: int = 8
    sample_records: int = 250
    sample_s: float = 1.0
    wait_s: float = 5.0  # for a look that is under way
    within_s: float = 12.0  # everything together: less than the command line waits for an answer of the API


@dataclass(slots=True)
class _Log:
    """The log of one topic and partition, as last seen."""

    records: LogRecords = field(default_factory=LogRecords)
    view: CommitView = field(default_factory=lambda: CommitView(0))
    commit: FoundCommit | None = None
    low: int = 0
    end: int = 0
    sample: Sample | None = None
    trouble: str | None = None
    looked_at: float = float("-inf")

    @property
    def exact(self) -> bool:
        """Whether everything was read."""
        return (self.records.scanned_to or 0) >= self.end

    def clients(self) -> Iterator[ClientId]:
        """Clients of whom something is known, some of them more than once."""
        state = self.view.state
        for rows in (state.cursors, state.clocks, state.disables, state.health):
            yield from (ClientId(row.client) for row in rows)
        sampled = {} if self.sample is None else self.sample.hooks
        for records in (*self.records.hooks.values(), *sampled.values()):
            yield records.client


class KafkaBacklogs:
    """An `OwedReader`. May be used from any thread; one look at a time."""

    def __init__(
        self,
        kafka: KafkaConfig,
        topics: TopicNames,
        *,
        decode: Decode,
        limits: LookLimits | None = None,
        monotonic_s: Callable[[], float] = monotonic,
    ) -> None:
        """Prepare; nothing is connected yet. `decode` reads records of `deliveries`."""
        self._kafka = kafka
        self._topics = topics
        self._decode = decode
        self._limits = limits or LookLimits()
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._logs: dict[TopicPartitionKey, _Log] = {}
        self._clients: _Clients | None = None
        self._digests: dict[str, bytes] = {}

    def close(self) -> None:
        """Disconnect. Calling it twice is harmless."""
        with self._lock:
            if self._clients is not None:
                self._clients.close()
                self._clients = None

    def read(self, client: ClientId | None, not_before: NotBefore) -> Backlogs:
        """The backlogs of one client, or of all, as of the workers' last commits.

        Raises:
            BacklogUnknownError: Kafka, or the registry, does not answer.
        """
        deadline = Deadline.after(self._limits.within_s, self._monotonic_s)
        if not self._lock.acquire(timeout=self._limits.wait_s):
            raise BacklogUnknownError("backlogs are being counted for other requests; try again")
        try:
            keys = self._keys(client, deadline)
            self._look(keys, deadline)
            return self._backlogs({key: self._logs[key] for key in keys}, client, not_before)
        except (ProcessorError, RegistryError) as exc:
            raise BacklogUnknownError(f"backlogs cannot be computed now: {exc}") from exc
        finally:
            self._lock.release()

    # --- looking ------------------------------------------------------------------------------------------------------

    def _keys(self, client: ClientId | None, deadline: Deadline) -> list[TopicPartitionKey]:
        """Logs that hold the backlog of a client, or of all."""
        if self._clients is None:
            self._clients = _Clients(self._kafka, self._topics)
        topics = (self._topics.deliveries, self._topics.replays)
        numbers = self._clients.scanner.partitions(topics[0], deadline)
        found = numbers if client is None else [partition_of(client.encode(), len(numbers))]
        return [(topic, partition) for topic in topics for partition in found]

    def _look(self, keys: Iterable[TopicPartitionKey], deadline: Deadline) -> None:
        """Bring these logs up to date, but for those that are."""
        now = self._monotonic_s()
        stale = [key for key in keys if now - self._logs.setdefault(key, _Log()).looked_at >= self._limits.fresh_for_s]
        if not stale:
            return
        self._follow_commits(stale, deadline)
        readable = [key for key in stale if self._logs[key].trouble is None]
        self._scan(readable, deadline.sooner(self._limits.scan_s))
        self._sample([key for key in readable if not self._logs[key].exact], deadline)
        for key in stale:
            self._logs[key].looked_at = self._monotonic_s()

    def _follow_commits(self, keys: Collection[TopicPartitionKey], deadline: Deadline) -> None:
        """Read the ends of logs, and only then the commits: what is settled by then is seen as settled."""
        clients = self._connected()
        for key in keys:
            held = self._logs[key]
            held.low, held.end = clients.scanner.watermarks(*key, deadline)
        for (topic, partition), (offset, metadata) in clients.committed(keys, deadline).items():
            held = self._logs[topic, partition]
            found = FoundCommit(topic, partition, offset if offset >= 0 else None, metadata)
            if found == held.commit and found.offset is not None:
                continue
            if offset > held.end:  # it came between the two questions
                held.low, held.end = clients.scanner.watermarks(topic, partition, deadline)
            try:
                held.view = self._view(found, (held.low, held.end), deadline)
                held.commit, held.trouble = found, None
            except (StartRefusedError, StoredFormatError) as exc:
                held.commit, held.trouble = None, str(exc)
                log.warning(
                    "the backlog of a partition cannot be computed", topic=topic, partition=partition, reason=str(exc)
                )

    def _view(self, found: FoundCommit, bounds: tuple[int, int], deadline: Deadline) -> CommitView:
        """What a commit says; judged as by a worker that begins with it.

        Raises:
            StartRefusedError, StoredFormatError: no worker would begin with it.
        """
        clients, topic, partition = self._connected(), found.topic, found.partition
        exists = needs_state_search(found) and clients.states.any_state(topic, partition, deadline=deadline)
        identity = LogIdentity(self._digest(topic), b"")
        try:
            start = decide_start(found, watermarks=bounds, identity=identity, state_exists=exists)
        except StartRefusedError:
            self._digests.clear()  # the topic may be another one than when it was asked for
            identity = LogIdentity(self._digest(topic), b"")
            start = decide_start(found, watermarks=bounds, identity=identity, state_exists=exists)
        if start.metadata is None or start.committed is None:
            return CommitView(start.offset)
        pointer, state = start.metadata.pointer, EMPTY_STATE
        if pointer is not None:
            state = clients.states.load(topic, partition, pointer, deadline=deadline)
        return CommitView(start.committed, start.metadata.settled, state)

    def _digest(self, topic: str) -> bytes:
        if topic not in self._digests:
            cluster = cluster_id(self._kafka, self._topics.deliveries)
            ids = topic_ids(self._kafka, [self._topics.deliveries, self._topics.replays])
            self._digests = {name: log_digest(cluster, found) for name, found in ids.items()}
        return self._digests[topic]

    def _connected(self) -> _Clients:
        if self._clients is None:
            raise AssertionError  # `_keys` is called first
        return self._clients

    def _scan(self, keys: Iterable[TopicPartitionKey], deadline: Deadline) -> None:
        """Read what came since, for as long as a look may take, and as far as there is room for it."""
        wanted: dict[TopicPartitionKey, OffsetRange] = {}
        for key in keys:
            held = self._logs[key]
            wanted[key] = OffsetRange(held.records.follow(held.view, low=held.low), held.end)
        room = self._limits.kept_records - sum(held.records.size for held in self._logs.values())

        def take(key: TopicPartitionKey, message: Message) -> bool:
            nonlocal room
            held = self._logs[key]
            offset = message.offset() or 0
            if held.records.wants(message.key(), offset, held.view):
                before = held.records.size
                delivery = self._decoded(message)
                if delivery is not None:
                    if room <= 0:
                        return False
                    held.records.take(offset, delivery, held.view)
                    room -= held.records.size - before
            return True

        scanned = self._connected().scanner.scan(wanted, take, deadline=deadline)
        for key, offset in scanned.reached.items():
            self._logs[key].records.scanned_to = offset

    def _sample(self, keys: Collection[TopicPartitionKey], deadline: Deadline) -> None:
        """Read some stretches of what was not read."""
        limits = self._limits
        read: dict[TopicPartitionKey, list[tuple[int, Delivery]]] = {key: [] for key in keys}
        covered = dict.fromkeys(keys, 0)
        enough = deadline.sooner(limits.sample_s)

        def take(key: TopicPartitionKey, message: Message) -> bool:
            held = self._logs[key]
            if held.records.wants(message.key(), message.offset() or 0, held.view):
                delivery = self._decoded(message)
                if delivery is not None:
                    read[key].append((message.offset() or 0, delivery))
            return True

        for number in range(limits.sample_stretches):
            wanted = {}
            for key in keys:
                start, end = self._logs[key].records.scanned_to or 0, self._logs[key].end
                at = start + (end - start) * number // limits.sample_stretches
                # In a short rest stretches would overlap, and what is read twice would make the estimate too low.
                next_at = start + (end - start) * (number + 1) // limits.sample_stretches
                wanted[key] = OffsetRange(at, min(at + limits.sample_records, next_at))
            scanned = self._connected().scanner.scan(wanted, take, deadline=enough)
            for key, offset in scanned.reached.items():
                covered[key] += offset - wanted[key].start
        for key in keys:
            held = self._logs[key]
            span = held.end - (held.records.scanned_to or 0)
            # The rest of a log is as these stretches are.
            held.sample = sample_of(read[key], held.view, read=covered[key], span=span)

    def _decoded(self, message: Message) -> Delivery | None:
        """The delivery; None where the record cannot be decoded: it becomes a dead letter, and names no hook."""
        try:
            return self._decode(message.value())
        except UndecodableError:
            return None

    # --- counting -----------------------------------------------------------------------------------------------------

    def _backlogs(
        self, logs: Mapping[TopicPartitionKey, _Log], client: ClientId | None, not_before: NotBefore
    ) -> Backlogs:
        clients = {each for held in logs.values() for each in held.clients()}
        before_start = not_before(clients if client is None else clients & {client})
        hooks: dict[HookId, _Counted] = {}
        health: dict[tuple[ClientId, bytes], SeenHealth] = {}
        unknown = []
        for (topic, partition), held in logs.items():
            if held.trouble is not None:
                unknown.append(f"{topic}:{partition}: {held.trouble}")
                continue
            live = topic == self._topics.deliveries
            _tell_state(held.view.state, hooks, health, live=live)
            _add_records(held, hooks, before_start if live else {}, live=live)
        told = {hook_id: hook.told() for hook_id, hook in hooks.items() if client in (None, hook.client)}
        if client is not None:
            health = {key: seen for key, seen in health.items() if key[0] == client}
        return Backlogs(hooks=told, health=health, unknown=unknown)


@dataclass(slots=True)
class _Counted:
    """A `HookBacklog` that is being added up: tens of thousands are, for one page."""

    client: ClientId
    event: str
    pending: int = 0
    replays: int = 0
    exact: bool = True
    oldest_ms: int | None = None
    due_ms: int | None = None
    backlogged: bool = False
    resources: int = 0
    disabled_under: int | None = None
    disabled_reason: DisabledReason | None = None

    def told(self) -> HookBacklog:
        """What is known now."""
        return HookBacklog(
            client=self.client,
            event=self.event,
            pending=self.pending,
            replays=self.replays,
            exact=self.exact,
            oldest_ms=self.oldest_ms,
            due_ms=self.due_ms,
            backlogged=self.backlogged,
            resources=self.resources,
            disabled_under=self.disabled_under,
            disabled_reason=self.disabled_reason,
        )


def _tell_state(
    state: PartitionState,
    hooks: dict[HookId, _Counted],
    health: dict[tuple[ClientId, bytes], SeenHealth],
    *,
    live: bool,
) -> None:
    """What a state says of hooks and endpoints; disables and health are the live log's."""

    def known(hook_id: int, client: str, event: str) -> _Counted:
        hook = hooks.get(HookId(hook_id))
        if hook is None:
            hook = hooks[HookId(hook_id)] = _Counted(ClientId(client), event)
        return hook

    for cursor in state.cursors:
        hook = known(cursor.hook_id, cursor.client, cursor.event)
        if cursor.resource is None:
            hook.backlogged = True
        else:
            hook.resources += 1
    for clock in state.clocks:
        hook = known(clock.hook_id, clock.client, clock.event)
        hook.due_ms = _earlier(hook.due_ms, clock.due_ms)
    if not live:
        return
    for disable in state.disables:
        hook = known(disable.hook_id, disable.client, disable.event)
        hook.disabled_under = disable.revision
        hook.disabled_reason = DisabledReason.FAILING if disable.failing else DisabledReason.GONE
    for seen in state.health:
        health[ClientId(seen.client), seen.target_digest] = SeenHealth(
            quarantined=seen.breaker_open,
            probe_at_ms=seen.probe_at_ms,
            retry_after_until_ms=seen.retry_after_until_ms,
            failing_since_ms=seen.failing_since_ms,
        )


def _add_records(held: _Log, hooks: dict[HookId, _Counted], before_start: Mapping[HookId, int], *, live: bool) -> None:
    """Count the pending records of a log, by hook."""
    sample = None if held.exact else held.sample
    found = dict(held.records.hooks)
    if sample is not None:
        found = {**sample.hooks, **found}
    for hook_id, records in found.items():
        not_before_ms = before_start.get(hook_id, 0)
        count, oldest_ms = 0, None
        if hook_id in held.records.hooks:
            count, oldest_ms = records.pending(hook_id, held.view, not_before_ms=not_before_ms)
        if sample is not None:
            count += sample.estimate(hook_id, held.view, not_before_ms=not_before_ms)
        if not count and hook_id not in hooks:
            continue
        hook = hooks.get(hook_id)
        if hook is None:
            hook = hooks[hook_id] = _Counted(records.client, records.event)
        if oldest_ms is None and sample is not None:
            oldest_ms = held.view.oldest_ms(hook_id)
        hook.pending += count if live else 0
        hook.replays += 0 if live else count
        hook.exact = hook.exact and held.exact
        hook.oldest_ms = _earlier(hook.oldest_ms, oldest_ms)


def _earlier(first_ms: int | None, second_ms: int | None) -> int | None:
    """The earlier of two times, of which either may be unknown."""
    if not second_ms:
        return first_ms
    return second_ms if first_ms is None else min(first_ms, second_ms)


class _Clients:
    """The consumers that a look needs."""

    def __init__(self, kafka: KafkaConfig, topics: TopicNames) -> None:
        self.scanner = LogScanner(kafka)
        self.states = StateReader(kafka, topics.delivery_state)
        self._group: Consumer = make_consumer(group_consumer_config(kafka, group=topics.deliver_group))

    def committed(
        self, keys: Iterable[TopicPartitionKey], deadline: Deadline
    ) -> dict[TopicPartitionKey, tuple[int, str | None]]:
        """Offset, below 0 where there is none, and metadata that the group has, without joining it.

        Raises:
            KafkaUnavailableError: no answer.
        """
        doing = "cannot read the delivery workers' offsets"
        timeout_s = deadline.left_s(REQUEST_TIMEOUT_S, doing)
        asked = [TopicPartition(*key) for key in keys]
        found = committed_offsets(self._group, asked, doing, timeout_s=timeout_s)
        return {(tp.topic, tp.partition): (tp.offset, tp.metadata) for tp in found}

    def close(self) -> None:
        """Close them."""
        self.scanner.close()
        self.states.close()
        self._group.close()
