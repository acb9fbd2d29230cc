"""Real parts for tests: brokers, registries, databases, processes, and names that no other test uses.

Where a part comes from is decided in `tests.support.machine`. What is shared by the session is only used, never hurt;
a test that stops or kills a part takes a private one.
"""

from __future__ import annotations

import os
import sys
import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.support import machine
from tests.support.deployment import Command, command_of
from tests.support.forks import ForkServer
from tests.support.kafka_broker import GivenKafka, HurtableKafka, Kafka, KafkaBroker, delete_topics
from tests.support.kafka_cluster import KafkaCluster
from tests.support.machine import Part, Source
from tests.support.postgres import Postgres, new_database, server_of
from tests.support.processes import Processes
from tests.support.registry import ApicurioRegistry, Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

from hookstream.schemas.topics import TopicNames

# How fast a machine is, or how busy, is no property of the code. Under CI every run tries the same, as by Hypothesis's
# own profile for it; elsewhere each tries something else.
settings.register_profile(
    "hookstream", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("hookstream")

LOGS = pytest.StashKey[list["Path"]]()
_LOG_LINES_SHOWN = 60


def pytest_configure(config: pytest.Config) -> None:
    """Start an empty list of the logs that a failing test shows."""
    config.stash[LOGS] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of every running part's log with a failure."""
    report = yield
    if report.failed:
        for log in item.config.stash[LOGS]:
            if log.exists():
                lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:]
                report.sections.append((f"end of {log}", "\n".join(lines)))
    return report


def source_of(part: Part, *, private: bool = False) -> Source:
    """Choose where `part` comes from; without any, skip at home and fail in CI."""
    order = machine.own(machine.ORDER[part]) if private else machine.ORDER[part]
    source = machine.choose(order, lambda candidate: machine.available(part, candidate))
    if source is None:
        machine.give_up(machine.missing(part))
    return source


@pytest.fixture
def logs(request: pytest.FixtureRequest) -> Iterator[list[Path]]:
    """Log files that are shown when this test fails: append to it."""
    shown = request.config.stash[LOGS]
    before = len(shown)
    yield shown
    del shown[before:]


# --- Kafka ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """One real broker for the whole session; use `topics` so that tests do not meet in it."""
    source = source_of(Part.KAFKA)
    if source is Source.GIVEN:
        yield GivenKafka(machine.given(Part.KAFKA) or "")
        return
    broker = KafkaBroker(source, tmp_path_factory.mktemp("kafka"))
    request.config.stash[LOGS].append(broker.log)
    try:
        broker.start()
        yield broker
    finally:
        broker.close()


@pytest.fixture
def private_kafka(tmp_path: Path, logs: list[Path]) -> Iterator[Callable[..., HurtableKafka]]:
    """Make started brokers that the test may stop, kill and freeze; keyword arguments are broker properties.

    Dots in property names are written as underscores: `private_kafka(log_retention_ms="1000")`.
    """
    source = source_of(Part.KAFKA, private=True)
    with ExitStack() as stack:

        def make(**properties: str) -> HurtableKafka:
            more = {name.replace("_", "."): value for name, value in properties.items()}
            broker = KafkaBroker(source, tmp_path / f"kafka-{uuid.uuid4().hex[:6]}", more=more)
            logs.append(broker.log)
            stack.callback(broker.close)
            broker.start()
            return broker

        yield make


@pytest.fixture
def kafka_cluster(tmp_path: Path, logs: list[Path]) -> Iterator[KafkaCluster]:
    """Three running brokers, replication factor 3, two in sync."""
    cluster = KafkaCluster(source_of(Part.KAFKA, private=True), tmp_path / "cluster")
    logs.extend(cluster.logs)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def topics(request: pytest.FixtureRequest) -> Iterator[TopicNames]:
    """Topic and group names under a prefix of this test's own; on the session's broker they are deleted afterwards."""
    names = TopicNames(prefix=f"t{uuid.uuid4().hex[:10]}.")
    broker: Kafka | None = request.getfixturevalue("kafka") if "kafka" in request.fixturenames else None
    yield names
    if broker is not None:
        delete_topics(broker.bootstrap_servers, names.prefix)


# --- registry ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def registry_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of one real registry for the whole session, of Confluent's API version 7."""
    source = source_of(Part.REGISTRY)
    if source is Source.GIVEN:
        yield machine.given(Part.REGISTRY) or ""
        return
    registry = ApicurioRegistry(source, tmp_path_factory.mktemp("registry"))
    request.config.stash[LOGS].append(registry.log)
    try:
        registry.start()
        yield registry.url
    finally:
        registry.close()


@pytest.fixture
def private_registry(tmp_path: Path, logs: list[Path]) -> Iterator[Callable[[], Registry]]:
    """Make started registries that the test may stop, kill and freeze."""
    source = source_of(Part.REGISTRY, private=True)
    with ExitStack() as stack:

        def make() -> Registry:
            registry = ApicurioRegistry(source, tmp_path / f"registry-{uuid.uuid4().hex[:6]}")
            logs.append(registry.log)
            stack.callback(registry.close)
            registry.start()
            return registry

        yield make


# --- databases --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One real PostgreSQL server for the whole session; tests take `database_url`."""
    source = source_of(Part.POSTGRES)
    if source is Source.GIVEN:
        yield machine.given(Part.POSTGRES) or ""
        return
    server = server_of(source, tmp_path_factory.mktemp("postgres"))
    request.config.stash[LOGS].append(server.log)
    try:
        server.start()
        yield server.url
    finally:
        server.close()


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """SQLAlchemy URL of an empty PostgreSQL database of this test's own."""
    yield from new_database(postgres_url)


@pytest.fixture
def private_postgres(tmp_path: Path, logs: list[Path]) -> Iterator[Postgres]:
    """Yield a started PostgreSQL server that the test may stop and crash."""
    server = server_of(source_of(Part.POSTGRES, private=True), tmp_path)
    logs.append(server.log)
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """SQLAlchemy URL of an SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'hookstream.sqlite3'}"


# --- processes --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def forks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer | None]:
    """Fork what a test starts from one process that has imported it; where forks of libraries are not safe, none."""
    if sys.platform != "linux":
        yield None
        return
    with ForkServer(tmp_path_factory.mktemp("forks")) as server:
        request.config.stash[LOGS].append(server.log)
        yield server


@pytest.fixture
def command(forks: ForkServer | None) -> Command:
    """Run `hookstream` to its end."""
    return command_of(forks)


@pytest.fixture
def processes(tmp_path: Path, logs: list[Path], forks: ForkServer | None) -> Iterator[Processes]:
    """Start our roles and scripts as processes of their own; what is left is killed."""
    started = Processes(tmp_path, forks)
    try:
        yield started
    finally:
        logs.extend(process.log for process in started.started)
        started.close()
