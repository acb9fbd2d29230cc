"""A member of a group that writes to the database: when it joins, what it commits, when it leaves."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaError, Message, TopicPartition

from hookstream.processors.errors import KafkaRefusedError, KafkaUnavailableError
from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.operations import group_reader
from hookstream.processors.operations.group_reader import GroupReader, GroupTopic
from hookstream.processors.operations.relays.notices import HookNotices
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.database import open_database, open_sessions
from hookstream.subscriptions.errors import DatabaseError, DatabaseUnavailableError
from tests.support.group_consumer import GroupConsumer
from tests.support.scripted_consumer import ScriptedConsumer, record
from tests.support.values import NOTICE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import Consumer

    from hookstream.processors.operations.group_reader import Begin

KAFKA = KafkaConfig(bootstrap_servers="k:9092")


@dataclass
class Step:
    """Notes what it is given. While `away` is set the database does not answer."""

    source: GroupTopic = field(
        default_factory=lambda: GroupTopic(topic="t", group="g", what="records", name="reader", batch_records=10)
    )
    begin: Begin | None = None
    away: bool = False
    applied: list[int] = field(default_factory=list)
    forgotten: int = 0

    def prepare(self) -> Begin | None:
        """Look at the database."""
        self._ask()
        return self.begin

    def apply(self, records: Sequence[Message]) -> int:
        """Note the offsets."""
        if records:
            self._ask()
        self.applied += [message.offset() or 0 for message in records]
        return len(records)

    def forget(self) -> None:
        """Count."""
        self.forgotten += 1

    def _ask(self) -> None:
        if self.away:
            raise DatabaseUnavailableError


@pytest.fixture
def consumers(monkeypatch: pytest.MonkeyPatch) -> list[ScriptedConsumer]:
    """Each consumer that was made; it gives one record."""
    made: list[ScriptedConsumer] = []

    def make(_config: object) -> ScriptedConsumer:
        made.append(ScriptedConsumer(deque([[record(b"", offset=3)]])))
        return made[-1]

    monkeypatch.setattr(group_reader, "make_consumer", make)
    return made


def test_the_group_is_not_joined_while_the_database_does_not_answer(consumers: list[ScriptedConsumer]) -> None:
    step = Step(away=True)
    reader = GroupReader(KAFKA, step)
    with pytest.raises(DatabaseUnavailableError):
        reader.run_once(0)
    assert consumers == []
    step.away = False
    assert reader.run_once(0) == 1
    assert [consumer.committed for consumer in consumers] == [[[(0, 4)]]]


def test_the_group_is_left_without_a_commit_when_the_database_does_not_answer(
    consumers: list[ScriptedConsumer],
) -> None:
    step = Step()
    reader = GroupReader(KAFKA, step)
    reader.run_once(0)
    consumers[0].batches.append([record(b"", offset=4)])
    step.away = True
    with pytest.raises(DatabaseUnavailableError):
        reader.run_once(0)
    assert (consumers[0].closed, consumers[0].committed, step.forgotten) == (True, [[(0, 4)]], 1)


def test_what_was_done_in_an_earlier_membership_is_not_committed_in_the_next(
    consumers: list[ScriptedConsumer],
) -> None:
    """Its partitions may be another's by then, who knows more of them."""
    step = Step()
    reader = GroupReader(KAFKA, step)
    reader.run_once(0)
    consumers[0].batches += [[record(b"", partition=1, offset=8)], [record(b"", partition=1, offset=9)]]
    consumers[0].commits.append(KafkaError(KafkaError.REBALANCE_IN_PROGRESS))
    reader.run_once(0)
    step.away = True
    with pytest.raises(DatabaseUnavailableError):
        reader.run_once(0)
    step.away = False
    reader.run_once(0)
    assert consumers[1].committed == [[(0, 4)]]


def test_records_that_were_deleted_before_they_were_read_make_it_join_again(
    consumers: list[ScriptedConsumer],
) -> None:
    reader = GroupReader(KAFKA, Step())
    reader.run_once(0)
    consumers[0].batches.append([Message(topic="t", partition=0, error=KafkaError(KafkaError._AUTO_OFFSET_RESET))])
    with pytest.raises(KafkaUnavailableError, match="records of partition 0 were deleted before they were read"):
        reader.run_once(0)
    assert consumers[0].closed


def test_a_member_whose_group_is_gone_joins_again_with_a_new_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """A coordinator deletes a group without members and offsets; its member, silent till then, hears a fatal error."""
    fatal = Message(topic="t", partition=0, error=KafkaError(KafkaError._FATAL, "the group id does not exist"))
    made: list[GroupConsumer] = []

    def make(config: dict[str, object]) -> GroupConsumer:
        made.append(GroupConsumer().made(config))
        return made[-1]

    monkeypatch.setattr(group_reader, "make_consumer", make)
    reader = GroupReader(KAFKA, Step())
    reader.run_once(0)
    made[0].assign(("t", 0))
    made[0].script.append(fatal)
    with pytest.raises(KafkaUnavailableError, match="has lost its member"):
        reader.run_once(0)
    assert made[0].asked("close")
    reader.run_once(0)
    assert len(made) == 2
    made[1].script.append(fatal)
    with pytest.raises(KafkaRefusedError):  # never a member of this one: trying again would not help
        reader.run_once(0)


def test_where_partitions_begin_is_committed_also_while_no_record_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one that was killed had written is behind the start, and its offset was never committed."""
    consumer = GroupConsumer()
    monkeypatch.setattr(group_reader, "make_consumer", consumer.made)

    def begin(_consumer: Consumer, assigned: list[TopicPartition]) -> list[TopicPartition]:
        return [TopicPartition(tp.topic, tp.partition, 40) for tp in assigned]

    reader = GroupReader(KAFKA, Step(begin=begin))
    consumer.script.append(lambda: consumer.assign(("t", 0), ("t", 1)))
    reader.run_once(0)
    consumer.script.append(record(b"", partition=1, offset=40))
    reader.run_once(0)
    reader.run_once(0)
    assert consumer.asked("commit") == [{("t", 0): 40, ("t", 1): 40}, {("t", 1): 41}]


def test_notices_join_no_group_without_a_database(consumers: list[ScriptedConsumer], sqlite_url: str) -> None:
    """A database that was never migrated stands for one that does not answer."""
    engine = open_database(sqlite_url)
    step = HookNotices(
        open_sessions(engine), TopicNames(), decode=lambda _value: NOTICE, now_ms=lambda: 0, changed=lambda: None
    )
    with pytest.raises(DatabaseError):
        GroupReader(KAFKA, step).run_once(0)
    assert consumers == []
    engine.dispose()
