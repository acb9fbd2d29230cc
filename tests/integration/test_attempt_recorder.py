"""The attempt log's role on a real broker and both databases: every attempt has one row, whatever fails."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.lifecycle import Health
from hookstream.processors.metrics import Metrics
from hookstream.processors.operations import attempt_recorder as attempt_log
from hookstream.processors.operations.embedded import EmbeddedKafka
from hookstream.processors.topic_specs import TopicLimits, topic_specs
from hookstream.processors.topics import create_topics
from hookstream.producers.errors import RegistryUnavailableError
from hookstream.schemas.attempt import AttemptGap
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.delivery import DeliveryId
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.attempt_gaps import list_gaps
from hookstream.subscriptions.attempt_log import LogProgress, log_progress
from hookstream.subscriptions.database import Sessions, open_database, open_sessions, reading
from hookstream.subscriptions.migrations import migrate
from hookstream.subscriptions.models import AttemptRow
from tests.support import attempt_recorder
from tests.support.attempt_recorder import DECODE, make_recorder, tell
from tests.support.group_reading import committed_records, running
from tests.support.kafka_broker import delete_topic
from tests.support.relay_topic import now_ms
from tests.support.values import ATTEMPT
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy import Engine

    from hookstream.processors.operations.group_reader import GroupReader
    from hookstream.schemas.attempt import Attempt
    from tests.support.kafka_broker import Kafka
    from tests.support.postgres import Postgres
    from tests.support.processes import Processes

PARTITIONS = 2


@dataclass
class Stage:
    """A database without attempts, and the topic of attempts."""

    engine: Engine
    sessions: Sessions
    kafka: KafkaConfig
    topics: TopicNames
    metrics: Metrics = field(default_factory=Metrics)

    @classmethod
    def make(cls, kafka: KafkaConfig, topics: TopicNames, database_url: str) -> Stage:
        """Make tables and topic as a deployment does."""
        migrate(database_url)
        engine = open_database(database_url)
        stage = cls(engine, open_sessions(engine), kafka, topics)
        if not kafka.embedded:
            stage.make_topic()
        return stage

    def make_topic(self) -> None:
        """Make the topic."""
        specs = topic_specs(self.topics, Catalogue.shipped(), TopicLimits(partitions=PARTITIONS))
        create_topics(self.kafka, [spec for spec in specs if spec.name == self.topics.attempts], replication_factor=1)

    def tell(self, *attempts: Attempt | AttemptGap | bytes) -> None:
        """Write attempts as a worker does."""
        tell(self.kafka, self.topics, *attempts)

    def recorder(self, decode: Callable[[bytes | None], Attempt] = DECODE, keep_days: float = 30.0) -> GroupReader:
        """Make one as the role does."""
        return make_recorder(
            self.kafka, self.topics, self.sessions, metrics=self.metrics, decode=decode, keep_days=keep_days
        )

    def numbers(self) -> Counter[int]:
        """Read which attempts have a row, by their number, and how many."""
        with reading(self.sessions) as session:
            return Counter(session.scalars(select(AttemptRow.number)))

    def progress(self) -> Mapping[int, LogProgress]:
        """Read how far the log is."""
        with reading(self.sessions) as session:
            return log_progress(session)

    def committed(self) -> int:
        """Count the records below the group's offsets."""
        return committed_records(self.kafka, self.topics.attempts, self.topics.attempt_log_group, partitions=PARTITIONS)

    def read_all(self, told: int, recorder: GroupReader) -> None:
        """Read until everything that was told is written and committed."""

        def settled() -> bool:
            recorder.run_once()
            return self.committed() == told

        eventually(settled)  # the session of one that was killed has to end first

    def read_until(self, numbers: Counter[int], recorder: GroupReader) -> None:
        """Read until these attempts have rows, and no others."""

        def written() -> bool:
            recorder.run_once()
            return self.numbers() == numbers

        eventually(written)

    def wait_for(self, numbers: Counter[int]) -> None:
        """Wait until these attempts have rows, and no others."""
        eventually(lambda: self.numbers() == numbers)


def attempts(*numbers: int) -> list[Attempt]:
    """Attempts of two clients, so that both partitions have some."""
    return [replace(ATTEMPT, number=number, client=ClientId(str(number % 7))) for number in numbers]


@pytest.fixture
def stage(kafka: Kafka, topics: TopicNames, sqlite_url: str) -> Iterator[Stage]:
    made = Stage.make(KafkaConfig(bootstrap_servers=kafka.bootstrap_servers), topics, sqlite_url)
    yield made
    made.engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def on_both(request: pytest.FixtureRequest, kafka: Kafka, topics: TopicNames) -> Iterator[Stage]:
    url = request.getfixturevalue({"sqlite": "sqlite_url", "postgresql": "database_url"}[request.param])
    made = Stage.make(KafkaConfig(bootstrap_servers=kafka.bootstrap_servers), topics, url)
    yield made
    made.engine.dispose()


@pytest.fixture
def recorder(stage: Stage) -> Iterator[GroupReader]:
    made = stage.recorder()
    yield made
    made.close()


def test_kill_9_before_the_offsets_are_committed_writes_once(
    on_both: Stage, processes: Processes, request: pytest.FixtureRequest
) -> None:
    stage = on_both
    url = stage.engine.url.render_as_string(hide_password=False)
    where = stage.kafka.bootstrap_servers, stage.topics.prefix, url, "299"
    killed = processes.python("-m", attempt_recorder.__name__, *where, name="dies")
    stage.tell(*attempts(1))
    eventually(lambda: stage.committed() == 1)
    stage.tell(*attempts(*range(2, 300)))
    assert killed.wait() == -9, killed.complaint("was not killed")
    assert stage.committed() == 1
    assert stage.numbers() == Counter(range(1, 300))  # the killed batches have their rows
    recorder = stage.recorder()
    request.addfinalizer(recorder.close)
    stage.read_all(299, recorder)
    stage.tell(*attempts(*range(300, 320)))
    stage.read_all(319, recorder)
    assert stage.numbers() == Counter(range(1, 320))
    assert sum(each.next_offset for each in stage.progress().values()) == 319
    assert {each.covers_from_ms for each in stage.progress().values()} == {0}


def test_what_cannot_be_read_is_counted_and_holds_nothing_up(stage: Stage, recorder: GroupReader) -> None:
    stage.tell(b"nonsense", b"", *attempts(1))
    stage.read_all(3, recorder)
    assert stage.numbers() == {1: 1}
    assert stage.metrics.attempt_log.records == {"written": 1, "undecodable": 2, "expired": 0}


def test_what_the_database_refuses_holds_nothing_up(on_both: Stage, request: pytest.FixtureRequest) -> None:
    stage = on_both
    refused = [replace(ATTEMPT, event=EventName("lead.\0")), replace(ATTEMPT, delivery_id=DeliveryId("x" * 9000))]
    gap = AttemptGap(client=ClientId("7"), attempts=2**63 - 1, at_ms=now_ms())
    stage.tell(*refused, gap, *attempts(1), gap)
    recorder = stage.recorder()
    request.addfinalizer(recorder.close)
    stage.read_all(5, recorder)
    assert stage.numbers() == {1: 1}
    assert stage.metrics.attempt_log.records == {"written": 1, "undecodable": 4, "expired": 0}


def test_what_workers_could_not_record_is_summed_up_by_client(stage: Stage, recorder: GroupReader) -> None:
    gap = AttemptGap(client=ClientId("7"), attempts=40, at_ms=now_ms())
    stage.tell(gap, *attempts(1), gap)
    stage.read_all(3, recorder)
    with reading(stage.sessions) as session:
        assert [(found.client, found.attempts) for found in list_gaps(session, None, limit=9)] == [("7", 80)]
    assert stage.metrics.attempt_log.records == {"written": 1, "undecodable": 0, "expired": 0}


def test_attempts_wait_for_the_registry(stage: Stage) -> None:
    away = [RegistryUnavailableError("no answer from the registry")] * 2

    def decode(value: bytes | None) -> Attempt:
        if away:
            raise away.pop()
        return DECODE(value)

    stage.tell(*attempts(1, 2))
    with running(stage.recorder(decode)):
        eventually(lambda: stage.numbers() == {1: 1, 2: 1})
        eventually(lambda: stage.committed() == 2)


def test_attempts_wait_for_the_database(kafka: Kafka, topics: TopicNames, private_postgres: Postgres) -> None:
    stage = Stage.make(KafkaConfig(bootstrap_servers=kafka.bootstrap_servers), topics, private_postgres.url)
    health = Health()
    with running(stage.recorder(), health):
        stage.tell(*attempts(1))
        eventually(lambda: stage.numbers() == {1: 1})
        private_postgres.stop()
        stage.tell(*attempts(2, 3))
        eventually(lambda: "attempt log" in health.reasons)
        private_postgres.start()
        eventually(lambda: stage.numbers() == {1: 1, 2: 1, 3: 1})
        eventually(lambda: health.ready)
        eventually(lambda: stage.committed() == 3)
    stage.engine.dispose()


def test_a_restored_database_gets_back_what_the_log_still_holds(stage: Stage, recorder: GroupReader) -> None:
    stage.tell(*attempts(*range(10)))
    stage.read_all(10, recorder)
    with stage.engine.begin() as connection:
        for table in ("attempts", "attempt_log"):
            connection.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608  # the names stand above
    recorder.close()
    stage.read_until(Counter(range(10)), recorder)


def test_a_re_created_topic_is_read_from_its_beginning_and_the_gap_is_said(stage: Stage, recorder: GroupReader) -> None:
    stage.tell(*attempts(1, 2))
    stage.read_all(2, recorder)
    recorder.close()
    delete_topic(stage.kafka.bootstrap_servers, stage.topics.attempts)
    before_ms = now_ms()
    stage.make_topic()
    stage.tell(*attempts(*range(3, 20)))
    stage.read_until(Counter(range(1, 20)), recorder)
    assert all(each.covers_from_ms >= before_ms for each in stage.progress().values())


def test_what_is_old_is_deleted_while_others_read(
    stage: Stage, recorder: GroupReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt_log, "_DELETE_ROWS", 4)
    stage.tell(*attempts(*range(10)))
    stage.read_all(10, recorder)
    recorder.close()
    with reading(stage.sessions) as session, running(stage.recorder(keep_days=1e-9)):
        seen = session.scalars(select(AttemptRow.number)).all()
        eventually(lambda: stage.numbers() == {})
        assert session.scalars(select(AttemptRow.number)).all() == seen
    assert all(each.covers_from_ms > 0 for each in stage.progress().values())


def test_attempts_are_written_on_the_embedded_kafka_whose_offsets_begin_again(sqlite_url: str) -> None:
    """`hookstream up` keeps the database and not the log: the second start must not take its first records for old."""
    told: Counter[int] = Counter()
    for numbers in ((1, 2), (11, 12, 13, 14)):
        kafka = EmbeddedKafka()
        stage = Stage.make(kafka.config, TopicNames(), sqlite_url)
        create_topics(kafka.config, topic_specs(stage.topics, Catalogue.shipped(), TopicLimits()))
        stage.tell(*(replace(ATTEMPT, number=number) for number in numbers))  # of one partition, longer than the last
        told.update(numbers)
        with running(stage.recorder()):
            stage.wait_for(told)
        stage.engine.dispose()
        kafka.stop()
