"""A member of a consumer group, without the group: rebalances, answers to commits and records come when a test says."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException, Message, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from confluent_kafka import KafkaError

Place = tuple[str, int]


@dataclass
class GroupConsumer:
    """`script` is what each `consume` does first: a callback of the group, or a record that is read then.

    `log` has what was asked for, in order: (what, places or offsets).
    """

    script: deque[Callable[[], object] | Message] = field(default_factory=deque)
    stored: dict[Place, tuple[int, str | None]] = field(default_factory=dict)
    """Committed offset and metadata."""
    bounds: dict[Place, tuple[int, int]] = field(default_factory=dict)
    log: list[tuple[str, Any]] = field(default_factory=list)
    refusals: deque[KafkaError] = field(default_factory=deque)
    """What commits and look-ups raise, one each, before they answer again."""
    config: dict[str, Any] = field(default_factory=dict)
    callbacks: dict[str, Callable[..., None]] = field(default_factory=dict)
    paused: set[Place] = field(default_factory=set)

    def made(self, config: dict[str, Any]) -> GroupConsumer:
        """Stand in for `make_consumer`."""
        self.config = config
        return self

    def subscribe(self, _topics: list[str], **callbacks: Callable[..., None]) -> None:
        """Join."""
        self.callbacks = callbacks

    def consume(self, _count: int, _timeout_s: float) -> list[Message]:
        """Do what stands next in the script; records of paused partitions stay where they are."""
        for at, step in enumerate(self.script):
            if isinstance(step, Message):
                if (step.topic(), step.partition()) in self.paused:
                    continue
                del self.script[at]
                return [step]
            if at == 0:
                self.script.popleft()
                step()
                return self.consume(_count, _timeout_s)  # the real one, too, may give records in the same call
        return []

    def assign(self, *places: Place) -> None:
        """Give it partitions."""
        self.callbacks["on_assign"](self, [TopicPartition(*place) for place in places])

    def revoke(self, *places: Place) -> None:
        """Take partitions away, in good order."""
        self.callbacks["on_revoke"](self, [TopicPartition(*place) for place in places])

    def lose(self, *places: Place) -> None:
        """Say that partitions are another's already."""
        self.callbacks["on_lost"](self, [TopicPartition(*place) for place in places])

    def answer(
        self, error: KafkaError | None = None, *, failed: Iterable[Place] = (), with_error: KafkaError | None = None
    ) -> None:
        """Answer the last commit."""
        offsets: dict[Place, int] = self.asked("commit")[-1]
        answers = [
            SimpleNamespace(topic=place[0], partition=place[1], error=with_error if place in failed else None)
            for place in offsets
        ]
        self.config["on_commit"](error, answers)

    def incremental_assign(self, starts: list[TopicPartition]) -> None:
        """Note it."""
        self.log.append(("assign", {(tp.topic, tp.partition): tp.offset for tp in starts}))

    def pause(self, partitions: list[TopicPartition]) -> None:
        """Give nothing of these."""
        self.paused |= {(tp.topic, tp.partition) for tp in partitions}
        self.log.append(("pause", {(tp.topic, tp.partition) for tp in partitions}))

    def resume(self, partitions: list[TopicPartition]) -> None:
        """Give them again."""
        self.paused -= {(tp.topic, tp.partition) for tp in partitions}
        self.log.append(("resume", {(tp.topic, tp.partition) for tp in partitions}))

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition] | None:
        """Take a commit, or refuse to send it."""
        if self.refusals:
            raise KafkaException(self.refusals.popleft())
        self.log.append(("commit", {(tp.topic, tp.partition): tp.offset for tp in offsets}))
        return None if asynchronous else offsets

    def committed(self, asked: list[TopicPartition], *, timeout: float) -> list[TopicPartition]:
        """Tell what is stored."""
        del timeout
        if self.refusals:
            raise KafkaException(self.refusals.popleft())
        found = []
        for tp in asked:
            offset, metadata = self.stored.get((tp.topic, tp.partition), (-1001, None))
            found.append(TopicPartition(tp.topic, tp.partition, offset, metadata or ""))
        return found

    def list_topics(self, _topic: str, *, timeout: float) -> None:
        """Find nothing new."""
        del timeout

    def get_watermark_offsets(self, tp: TopicPartition, *, timeout: float, cached: bool) -> tuple[int, int]:
        """Tell the bounds of a log."""
        del timeout, cached
        return self.bounds.get((tp.topic, tp.partition), (0, 1000))

    def close(self) -> None:
        """Leave; the group takes nothing back here."""
        self.log.append(("close", None))

    def asked(self, what: str) -> list[Any]:
        """Every request of a kind."""
        return [said for kind, said in self.log if kind == what]
