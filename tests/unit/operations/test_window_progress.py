"""How far a replay is: kept in its group, and never taken for kept where Kafka says no."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError

from hookstream.processors.errors import KafkaRefusedError, KafkaUnavailableError
from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.operations.replays import reader as module
from hookstream.processors.operations.replays.pacing import Done
from hookstream.processors.operations.replays.reader import WindowReader, note_of
from hookstream.subscriptions.replays import Stretch, Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import TopicPartition

HERE, THERE = ("events.lead", 0), ("events.lead", 1)
WINDOW = Window(stretches=[Stretch(topic=topic, partition=number, start=5, end=50) for topic, number in (HERE, THERE)])
MOVED = KafkaError(KafkaError.NOT_COORDINATOR)


@dataclass
class Group:
    """A group that holds offsets, and refuses some of them."""

    stored: dict[tuple[str, int], tuple[int, str]] = field(default_factory=dict)
    refusals: deque[dict[tuple[str, int], KafkaError]] = field(default_factory=deque)
    commits: list[dict[tuple[str, int], int]] = field(default_factory=list)

    def made(self, config: dict[str, Any]) -> Group:
        """Stand in for `make_consumer`."""
        assert config["group.id"] == "g"
        return self

    def committed(self, asked: Sequence[TopicPartition], *, timeout: float) -> list[Any]:
        """Tell what is stored."""
        del timeout
        found = []
        for tp in asked:
            offset, metadata = self.stored.get((tp.topic, tp.partition), (-1001, ""))
            found.append(
                SimpleNamespace(topic=tp.topic, partition=tp.partition, offset=offset, metadata=metadata, error=None)
            )
        return found

    def commit(self, *, offsets: Sequence[TopicPartition], asynchronous: bool) -> list[Any]:
        """Store them, but for what is refused."""
        assert not asynchronous
        refused = self.refusals.popleft() if self.refusals else {}
        self.commits.append({(tp.topic, tp.partition): tp.offset for tp in offsets})
        return [SimpleNamespace(error=refused.get((tp.topic, tp.partition))) for tp in offsets]


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Group:
    made = Group()
    monkeypatch.setattr(module, "make_consumer", made.made)
    return made


def opened(*, go_on: bool = True) -> tuple[WindowReader, dict[tuple[str, int], Done]]:
    reader = WindowReader(KafkaConfig(bootstrap_servers="k:9092"), WINDOW, group="g")
    return reader, reader.open(go_on=go_on)


@pytest.mark.parametrize(
    ("error", "raised"),
    [(MOVED, KafkaUnavailableError), (KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED), KafkaRefusedError)],
)
def test_what_kafka_refuses_for_one_partition_is_told_and_asked_for_again(
    group: Group, error: KafkaError, raised: type[Exception]
) -> None:
    reader, _ = opened()
    progress = {HERE: Done(9, 2), THERE: Done(7, 1)}
    group.refusals.append({THERE: error})
    with pytest.raises(raised):
        reader.commit(progress)
    for _ in range(2):
        reader.commit(progress)
    assert group.commits == [{HERE: 9, THERE: 7}] * 2, "and once it is kept, no more"


def test_a_successor_begins_where_the_group_is_and_a_count_at_the_window_s_start(group: Group) -> None:
    done = Done(20, 7, frozenset({22, 25}))
    group.stored = {HERE: (20, note_of(done)), THERE: (30, "set by hand")}
    assert opened()[1] == {HERE: done, THERE: Done(5, 0)}
    assert opened(go_on=False)[1] == {HERE: Done(5, 0), THERE: Done(5, 0)}
