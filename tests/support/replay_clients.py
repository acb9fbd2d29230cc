"""Kafka's clients as a replayer has them, on the logs and the groups of a simulated world."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.support.replay_world import Process, ReplayWorld

Place = tuple[str, int]

_NO_OFFSET = -1001


class LogConsumer:
    """Reads logs, looks offsets up, and keeps offsets of a group."""

    def __init__(self, world: ReplayWorld, owner: Process, group: str) -> None:
        self._world, self._owner, self._group = world, owner, group
        self._positions: dict[Place, int] = {}

    def list_topics(self, topic: str, *, timeout: float) -> SimpleNamespace:
        """Tell how many partitions a topic has."""
        self._world.asked(self._owner, within_s=timeout)
        partitions = [part for name, part in self._world.logs if name == topic]
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions=dict.fromkeys(partitions))})

    def get_watermark_offsets(self, tp: TopicPartition, *, timeout: float, cached: bool) -> tuple[int, int]:
        """Tell the bounds of a log; a leader may take its time."""
        del cached
        world = self._world
        world.asked(self._owner, within_s=timeout)
        place = (tp.topic, tp.partition)
        return world.low[place], len(world.logs[place])

    def offsets_for_times(self, asked: Sequence[TopicPartition], *, timeout: float) -> list[TopicPartition]:
        """Look times up."""
        world = self._world
        world.asked(self._owner, within_s=timeout)
        found = []
        for tp in asked:
            records, low = world.logs[tp.topic, tp.partition], world.low[tp.topic, tp.partition]
            later = (at for at in range(low, len(records)) if records[at].timestamp()[1] >= tp.offset)
            found.append(TopicPartition(tp.topic, tp.partition, next(later, -1)))
        return found

    def committed(self, asked: Sequence[TopicPartition], *, timeout: float) -> list[TopicPartition]:
        """Tell what the group has."""
        world = self._world
        world.asked(self._owner, within_s=timeout)
        world.begins_at(self._owner, self._group)
        kept = world.groups.get(self._group, {})
        return [
            TopicPartition(tp.topic, tp.partition, *kept.get((tp.topic, tp.partition), (_NO_OFFSET, "")))
            for tp in asked
        ]

    def commit(self, *, offsets: Sequence[TopicPartition], asynchronous: bool) -> Sequence[TopicPartition]:
        """Keep offsets, or fail, or both."""
        assert not asynchronous
        world = self._world
        world.asked(self._owner)
        for tp in offsets:
            world.committed_offset(self._owner, self._group, tp)
        world.interleave(self._owner)
        if world.fails(0.03):
            world.disturbed(self._owner)
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "no answer"))
        return offsets

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        """Read these."""
        self._positions = {(tp.topic, tp.partition): tp.offset for tp in partitions}

    def incremental_assign(self, partitions: Sequence[TopicPartition]) -> None:
        """Read these, too."""
        self._positions |= {(tp.topic, tp.partition): tp.offset for tp in partitions}

    def incremental_unassign(self, partitions: Sequence[TopicPartition]) -> None:
        """Read these no more."""
        for tp in partitions:
            self._positions.pop((tp.topic, tp.partition), None)

    def unassign(self) -> None:
        """Read nothing more."""
        self._positions.clear()

    def consume(self, count: int, _timeout_s: float) -> list[Message]:
        """Give some records of one of the logs."""
        world = self._world
        if not self._positions:
            return []
        place = world.random.choice(sorted(self._positions))
        at, log = self._positions[place], world.logs[place]
        if at < world.low[place] or at > len(log):
            error = KafkaError(KafkaError._AUTO_OFFSET_RESET, "out of range")
            return [Message(topic=place[0], partition=place[1], offset=at, error=error)]
        found = log[at : at + min(count, 1000 if world.fair else world.random.randint(0, 12))]
        self._positions[place] = at + len(found)
        return found

    def close(self) -> None:
        """Disconnect."""
        self._positions.clear()


class ReplayProducer:
    """Keeps the order; the broker stores and reports when the world says; the first failure ends it (gapless)."""

    def __init__(self, world: ReplayWorld, owner: Process) -> None:
        self._world, self._owner = world, owner
        self._queue: deque[tuple[bytes, Callable[[KafkaError | None, Message], None]]] = deque()
        self._due: deque[tuple[Callable[[KafkaError | None, Message], None], KafkaError | None, int]] = deque()
        self._failed = False

    def produce(
        self,
        topic: str,
        value: bytes,
        _key: bytes,
        partition: int,
        *,
        on_delivery: Callable[[KafkaError | None, Message], None],
    ) -> None:
        """Take a record, or have no room for it."""
        world = self._world
        world.produced(self._owner, topic, value, partition)
        if len(self._queue) > 3 and not world.fair and world.random.random() < 0.2:
            raise BufferError
        self._queue.append((value, on_delivery))

    def poll(self, timeout_s: float) -> None:
        """The broker goes on; its reports come."""
        world, random = self._world, self._world.random
        world.now += timeout_s
        world.interleave(self._owner)
        if world.fails(0.02):
            world.now += 4.0
            self._fail(KafkaError._MSG_TIMED_OUT)
        elif world.fails(0.01):
            self._fail(KafkaError.DUPLICATE_SEQUENCE_NUMBER)
        else:
            for _ in range(len(self._queue) if world.fair else random.randint(0, 8)):
                if self._queue:
                    value, report = self._queue.popleft()
                    self._due.append((report, None, world.arrive(value)))
        while self._due:
            report, error, offset = self._due.popleft()
            report(error, Message(topic="deliveries.replay", partition=0, offset=offset))

    def purge(self, **_: object) -> None:
        """Give up; of what is under way, the first ones may be stored still."""
        kept = self._world.random.randint(0, len(self._queue))
        self._world.late += [value for value, _ in list(self._queue)[:kept]]
        self._queue.clear()

    def _fail(self, code: int) -> None:
        self._world.disturbed(self._owner)
        while self._queue:
            value, report = self._queue.popleft()
            if code == KafkaError.DUPLICATE_SEQUENCE_NUMBER:
                # Kafka's client calls that a success, without an offset; it may be in the log or not.
                self._due.append((report, None, _NO_OFFSET))
                self._failed = True
                if self._world.random.random() < 0.5:
                    self._world.arrive(value)
                code = KafkaError._GAPLESS_GUARANTEE
                continue
            self._due.append((report, KafkaError(code), _NO_OFFSET))
            if not self._failed and self._world.random.random() < 0.5:
                self._world.late.append(value)
            else:
                self._failed = True
            code = KafkaError._GAPLESS_GUARANTEE


class Admin:
    """Describes topics, and deletes groups."""

    def __init__(self, world: ReplayWorld) -> None:
        self._world = world

    def describe_configs(self, resources: Sequence[Any], **_: object) -> dict[Any, Future[Any]]:
        """Tell how long records are kept."""
        config = {
            "retention.ms": SimpleNamespace(value=str(self._world.retention_ms)),
            "retention.bytes": SimpleNamespace(value="-1"),
        }
        return {resource: _done(config) for resource in resources}

    def delete_consumer_groups(self, names: Sequence[str], **_: object) -> dict[str, Future[Any]]:
        """Forget groups."""
        for name in names:
            self._world.groups.pop(name, None)
        return {name: _done(None) for name in names}


def _done(value: object) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future
