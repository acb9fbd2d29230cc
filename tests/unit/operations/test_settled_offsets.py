"""What a member of a group has done is committed until Kafka takes it, also while no record comes."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from confluent_kafka import Consumer, KafkaError, TopicPartition

from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.operations import group_reader
from hookstream.processors.operations.group_reader import GroupReader
from hookstream.processors.operations.relays.notices import HookNotices
from hookstream.processors.operations.settled_offsets import SettledOffsets
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import HookId, HookNotice, NoticeKind, Revision
from hookstream.schemas.topics import TopicNames
from tests.support.scripted_consumer import ScriptedConsumer, record

if TYPE_CHECKING:
    import pytest

NO = KafkaError(KafkaError.REBALANCE_IN_PROGRESS)
NOTICE = HookNotice(
    hook_id=HookId(1),
    client=ClientId("434"),
    event=EventName("lead.new"),
    revision=Revision(1),
    kind=NoticeKind.RECOVERED,  # which changes no row
    observed_at_ms=0,
)


def test_what_was_refused_is_committed_again_with_what_came_since() -> None:
    consumer = ScriptedConsumer(commits=deque([NO]))
    settled = SettledOffsets("t")
    settled.add([record(b"", partition=0, offset=4), record(b"", partition=1, offset=7)])
    settled.commit(cast("Consumer", consumer))
    settled.add([record(b"", partition=1, offset=8)])
    settled.commit(cast("Consumer", consumer))
    settled.commit(cast("Consumer", consumer))
    assert consumer.committed == [[(0, 5), (1, 8)], [(0, 5), (1, 9)]]


def test_of_a_commit_that_kafka_refused_for_one_partition_that_one_is_committed_again() -> None:
    commits: list[dict[int, int]] = []

    class Consumer_:  # noqa: N801 - a client that answers for each partition
        def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> list[SimpleNamespace]:
            assert not asynchronous
            commits.append({tp.partition: tp.offset for tp in offsets})
            refused = {1: NO} if len(commits) == 1 else {}
            return [SimpleNamespace(partition=tp.partition, error=refused.get(tp.partition)) for tp in offsets]

    settled = SettledOffsets("t")
    settled.add([record(b"", partition=0, offset=4), record(b"", partition=1, offset=7)])
    for _ in range(3):
        settled.commit(cast("Consumer", Consumer_()))
    assert commits == [{0: 5, 1: 8}, {1: 8}]


def test_a_member_that_left_its_group_commits_nothing_of_before() -> None:
    consumer = ScriptedConsumer(commits=deque([NO]))
    settled = SettledOffsets("t")
    settled.add([record(b"", offset=4)])
    settled.commit(cast("Consumer", consumer))
    settled.clear()
    settled.commit(cast("Consumer", consumer))
    assert len(consumer.committed) == 1


def test_notices_whose_offsets_kafka_refused_are_committed_in_a_turn_without_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topics = TopicNames()
    batch = [record(b"", topic=topics.hook_notices, offset=3)]
    consumer = ScriptedConsumer(deque([batch]), deque([NO]))
    monkeypatch.setattr(group_reader, "make_consumer", lambda _config: consumer)
    monkeypatch.setattr(HookNotices, "prepare", lambda _notices: None)
    step = HookNotices(cast("Any", None), topics, decode=lambda _value: NOTICE, now_ms=lambda: 0, changed=lambda: None)
    reader = GroupReader(KafkaConfig(bootstrap_servers="k:9092"), step)
    reader.run_once(0)
    reader.run_once(0)
    assert consumer.committed == [[(0, 4)], [(0, 4)]]
