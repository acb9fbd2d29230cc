"""A browser, and a deployment for it: both shared by the tests of a file."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from hookstream.schemas.topics import TopicNames
from tests.support.chromium import MISSING, chromium, running_chromium
from tests.support.deployment import Deployment
from tests.support.kafka_broker import delete_topics
from tests.support.machine import give_up
from tests.support.portal_stack import PortalStack
from tests.support.postgres import new_database
from tests.support.processes import Processes, free_port
from tests.support.receiver import Receiver
from tests.support.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

    from tests.support.forks import ForkServer
    from tests.support.kafka_broker import Kafka


@pytest.fixture(scope="module")
def database(postgres_url: str) -> Iterator[str]:
    """SQLAlchemy URL of the deployment's database."""
    yield from new_database(postgres_url)


@pytest.fixture(scope="module")
def stack(  # a deployment needs all of it
    kafka: Kafka,
    registry_url: str,
    database: str,
    forks: ForkServer | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[PortalStack]:
    """Run every role of a deployment."""
    topics = TopicNames(prefix=f"t{uuid.uuid4().hex[:10]}.")
    processes = Processes(tmp_path_factory.mktemp("portal"), forks)
    try:
        yield PortalStack(
            Deployment(kafka.bootstrap_servers, registry_url, database, topics, processes), embedder_port=free_port()
        )
    finally:
        processes.close()
        delete_topics(kafka.bootstrap_servers, topics.prefix)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium. It ends with the file: while it runs, no other event loop does in this process."""
    program = chromium()
    if program is None:
        give_up(MISSING)
    with running_chromium(program) as running:
        yield running


@pytest.fixture
def visitor(browser: Browser, stack: PortalStack, tmp_path: Path, logs: list[Path]) -> Iterator[Callable[..., Visitor]]:
    """Make people with a browser each; at the end none of them has met an error of a page."""
    logs.extend(process.log for process in stack.deployment.processes.started)
    made: list[Visitor] = []

    def make(**options: Any) -> Visitor:  # options of a Visitor
        visitor = Visitor(browser, stack.url, **options)
        made.append(visitor)
        return visitor

    yield make
    for number, each in enumerate(made):
        each.page.screenshot(path=tmp_path / f"last-{number}.png")
        each.close()
    assert [fault for each in made for fault in each.faults] == []


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Receive deliveries."""
    with Receiver() as listening:
        yield listening
