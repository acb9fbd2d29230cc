"""Notices of workers on a real broker and PostgreSQL: each is applied once, whatever fails meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.operations.embedded import EmbeddedKafka
from hookstream.processors.topic_specs import TopicLimits, topic_specs
from hookstream.processors.topics import create_topics
from hookstream.producers.errors import RegistryUnavailableError
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import HookId, HookNotice, NoticeKind, Revision
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.database import reading
from hookstream.subscriptions.models import AuditRow, SubscriptionRow
from tests.support import notice_reader
from tests.support.group_reading import committed_records, running
from tests.support.notice_reader import DECODE, make_notices, tell
from tests.support.relay_topic import now_ms
from tests.support.subscriptions_api import Api
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hookstream.processors.operations.group_reader import GroupReader
    from tests.support.kafka_broker import HurtableKafka, Kafka
    from tests.support.postgres import Postgres
    from tests.support.processes import Processes

CLIENT = 434
PARTITIONS = 2


@dataclass
class Stage:
    """A database with hooks, and the topic of the notices about them."""

    api: Api
    kafka: KafkaConfig
    topics: TopicNames
    changes: list[None] = field(default_factory=list)

    @classmethod
    def make(cls, bootstrap_servers: str, topics: TopicNames, database_url: str) -> Stage:
        """Make the topic as a deployment does."""
        kafka = KafkaConfig(bootstrap_servers=bootstrap_servers)
        specs = topic_specs(topics, Catalogue.shipped(), TopicLimits(partitions=PARTITIONS))
        create_topics(kafka, [spec for spec in specs if spec.name == topics.hook_notices], replication_factor=1)
        return cls(Api(database_url), kafka, topics)

    def hook(self, event: str = "lead.new") -> HookNotice:
        """Make a hook, and what a worker says that found its target gone."""
        hook_id = self.api.integrator(CLIENT).create(event=event).json()["hook"]["id"]
        return HookNotice(
            hook_id=HookId(hook_id),
            client=ClientId(str(CLIENT)),
            event=EventName(event),
            revision=Revision(1),
            kind=NoticeKind.GONE,
            observed_at_ms=now_ms(),
        )

    def enable(self, notice: HookNotice) -> None:
        """Enable the hook as its integrator does."""
        path = f"/hooks/{notice.hook_id}/enable"
        assert self.api.integrator(CLIENT)("POST", path, {"backlog": "resume"}).status_code == 200

    def tell(self, *notices: HookNotice | bytes) -> None:
        """Write notices as a worker does."""
        tell(self.kafka, self.topics, *notices)

    def reader(self, decode: Callable[[bytes | None], HookNotice] = DECODE) -> GroupReader:
        """Make a reader of them."""
        return make_notices(
            self.kafka,
            self.topics,
            self.api.sessions,
            decode=decode,
            changed=lambda: self.changes.append(None),
        )

    def stored_row(self, event: str = "lead.new") -> tuple[str, str | None, int]:
        """Read what the row says: state, reason, revision."""
        with reading(self.api.sessions) as session:
            row = session.get_one(SubscriptionRow, (CLIENT, event))
            return row.state, row.disabled_reason, row.revision

    def disables(self) -> int:
        """Count what the audit has of them."""
        with reading(self.api.sessions) as session:
            return len(session.scalars(select(AuditRow).where(AuditRow.action == "hook.disable")).all())

    def committed(self) -> int:
        """Count the notices below the group's offsets."""
        return committed_records(self.kafka, self.topics.hook_notices, self.topics.notices_group, partitions=PARTITIONS)

    def read_all(self, told: int, reader: GroupReader) -> int:
        """Read until everything that was told is settled, and give how many hooks were disabled by it."""
        applied = 0

        def settled() -> bool:
            nonlocal applied
            applied += reader.run_once()
            return self.committed() == told

        eventually(settled)
        return applied


@pytest.fixture
def stage(kafka: Kafka, topics: TopicNames, database_url: str) -> Iterator[Stage]:
    made = Stage.make(kafka.bootstrap_servers, topics, database_url)
    yield made
    made.api.close()


@pytest.fixture
def reader(stage: Stage) -> Iterator[GroupReader]:
    made = stage.reader()
    yield made
    made.close()


def test_notices_disable_hooks_and_their_offsets_are_committed(stage: Stage, reader: GroupReader) -> None:
    gone, failing, recovered = stage.hook(), stage.hook("lead.status"), stage.hook("lead.updated")
    stage.tell(
        gone, replace(failing, kind=NoticeKind.FAILING), replace(recovered, kind=NoticeKind.RECOVERED), gone, gone
    )
    assert stage.read_all(5, reader) == 2
    assert stage.stored_row() == ("disabled", "gone", 2)
    assert stage.stored_row("lead.status") == ("disabled", "failing", 2)
    assert stage.stored_row("lead.updated") == ("enabled", None, 1)
    assert len(stage.changes) == stage.disables() == 2


def test_stale_notices_are_read_and_ignored(stage: Stage, reader: GroupReader) -> None:
    notice = stage.hook()
    stage.enable(notice)
    stage.tell(notice, replace(notice, revision=Revision(3)), replace(notice, hook_id=HookId(9), revision=Revision(2)))
    assert stage.read_all(3, reader) == 0
    assert stage.stored_row() == ("enabled", None, 2)
    assert stage.changes == []


def test_an_enable_behind_a_notice_wins(stage: Stage, reader: GroupReader) -> None:
    """A 410 notice, applied or still on its way, is ended by an enable; its repetitions change nothing."""
    notice = stage.hook()
    stage.tell(notice)
    assert stage.read_all(1, reader) == 1
    stage.enable(notice)
    stage.tell(notice, notice)
    assert stage.read_all(3, reader) == 0
    assert stage.stored_row() == ("enabled", None, 3)


def test_kill_9_before_the_offsets_are_committed_applies_once(
    stage: Stage, reader: GroupReader, processes: Processes, database_url: str
) -> None:
    stage.tell(stage.hook())
    where = stage.kafka.bootstrap_servers, stage.topics.prefix, database_url
    killed = processes.python("-m", notice_reader.__name__, *where, name="dies")
    assert killed.wait() == -9, killed.complaint("was not killed")
    assert stage.stored_row() == ("disabled", "gone", 2)
    assert stage.committed() == 0
    assert stage.read_all(1, reader) == 0
    assert stage.stored_row() == ("disabled", "gone", 2)
    assert stage.disables() == 1


def test_what_cannot_be_read_holds_nothing_up(stage: Stage, reader: GroupReader) -> None:
    notice = stage.hook()
    stage.tell(b"nonsense", b"", notice)
    assert stage.read_all(3, reader) == 1
    assert stage.stored_row() == ("disabled", "gone", 2)


def test_what_the_database_refuses_holds_nothing_up(stage: Stage, reader: GroupReader) -> None:
    notice = stage.hook()
    stage.tell(replace(notice, event=EventName("lead.\0")), notice)
    assert stage.read_all(2, reader) == 1
    assert stage.stored_row() == ("disabled", "gone", 2)


def test_notices_wait_for_the_registry(stage: Stage) -> None:
    away = [RegistryUnavailableError("no answer from the registry")] * 2

    def decode(value: bytes | None) -> HookNotice:
        if away:
            raise away.pop()
        return DECODE(value)

    reader = stage.reader(decode)
    stage.tell(stage.hook(), stage.hook("lead.status"))
    with running(reader):
        eventually(lambda: stage.disables() == 2)
        eventually(lambda: stage.committed() == 2)


def test_notices_wait_for_the_database(kafka: Kafka, topics: TopicNames, private_postgres: Postgres) -> None:
    stage = Stage.make(kafka.bootstrap_servers, topics, private_postgres.url)
    first, second = stage.hook(), stage.hook("lead.status")
    tried: list[int] = []

    def decode(value: bytes | None) -> HookNotice:
        notice = DECODE(value)
        tried.append(notice.hook_id)
        return notice

    with running(stage.reader(decode)):
        stage.tell(first)
        eventually(lambda: stage.stored_row()[0] == "disabled")
        private_postgres.stop()
        stage.tell(second)
        eventually(lambda: second.hook_id in tried)
        private_postgres.start()
        eventually(lambda: stage.stored_row("lead.status")[0] == "disabled")
        eventually(lambda: stage.committed() == 2)
    assert stage.disables() == 2
    stage.api.close()


def test_notices_wait_for_the_broker(private_kafka: Callable[..., HurtableKafka], database_url: str) -> None:
    broker = private_kafka()
    stage = Stage.make(broker.bootstrap_servers, TopicNames(), database_url)
    first, second = stage.hook(), stage.hook("lead.status")
    with running(stage.reader()):
        stage.tell(first)
        eventually(lambda: stage.stored_row()[0] == "disabled")
        broker.kill()
        broker.start()
        stage.tell(second)
        eventually(lambda: stage.stored_row("lead.status")[0] == "disabled")
        eventually(lambda: stage.committed() == 2)
    assert stage.disables() == 2
    stage.api.close()


def test_notices_are_applied_on_the_embedded_kafka(sqlite_url: str) -> None:
    kafka = EmbeddedKafka()
    stage = Stage(Api(sqlite_url), kafka.config, TopicNames())
    notice = stage.hook()
    # A topic of the mock cluster is there once it is written to; a reader that subscribed before sees it minutes later.
    stage.tell(notice)
    with running(stage.reader()):
        eventually(lambda: stage.stored_row() == ("disabled", "gone", 2))
    stage.api.close()
    kafka.stop()
