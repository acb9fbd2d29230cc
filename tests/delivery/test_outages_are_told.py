"""Promise: a process whose Kafka or registry does not answer says so in `/readyz`, and stays alive."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import httpx
import pytest
from sqlalchemy import create_engine

from hookstream.processors.last_answers import SILENT_AFTER_S
from hookstream.producers.outbox import create_tables
from tests.support.deployment import Caller, Deployment, Role
from tests.support.tcp_proxy import TcpProxy
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hookstream.schemas.topics import TopicNames
    from tests.support.kafka_broker import HurtableKafka
    from tests.support.processes import Processes

ROLES = ("api", "router", "deliver", "attempt-log", "replayer", "outbox-relay")
EVENT = {"event": "lead.new", "client": 434, "concept": {"id": 17}}
KAFKA_AGE, REGISTRY_AGE = "hookstream_kafka_last_answer_seconds", "hookstream_registry_last_answer_seconds"


@pytest.fixture
def registry(registry_url: str) -> Iterator[TcpProxy]:
    """A way to the registry that may be cut."""
    with TcpProxy(httpx.URL(registry_url).port or 80) as proxy:
        yield proxy


def test_every_role_says_that_kafka_is_silent_and_lives_on(
    private_kafka: Callable[..., HurtableKafka],
    registry: TcpProxy,
    registry_url: str,
    sqlite_url: str,
    topics: TopicNames,
    processes: Processes,
) -> None:
    """Every role's readiness and metrics name a frozen broker and a registry that is cut off; liveness stays."""
    broker = private_kafka()
    through = str(httpx.URL(registry_url).copy_with(host="127.0.0.1", port=int(registry.address.rpartition(":")[2])))
    deployment = Deployment(broker.bootstrap_servers, through, sqlite_url, topics, processes)
    deployment.prepare()
    engine = create_engine(sqlite_url)
    create_tables(engine)
    engine.dispose()
    roles = {name: deployment.role(name) for name in ROLES}
    for role in roles.values():
        role.wait_ready()
    accepted = Caller(roles["api"].url, deployment.token("platform"))("POST", "/events", EVENT)
    assert accepted.status_code == 202, accepted.text
    broker.pause()
    registry.blackhole()
    for name, role in roles.items():
        eventually(partial(says_silent, role), every_s=0.2, describe=f"{name} says that its parts are silent")
        assert role.metric(KAFKA_AGE) > SILENT_AFTER_S
        assert role.metric(REGISTRY_AGE) > SILENT_AFTER_S
        assert role.is_alive()
    broker.resume()
    registry.heal()
    for role in roles.values():
        role.wait_ready()
        assert role.metric(KAFKA_AGE) <= SILENT_AFTER_S


def says_silent(role: Role) -> bool:
    """Whether readiness names both parts, each with a sentence."""
    reasons = role.unready_because()
    assert reasons.count("has not answered for") == 2, reasons
    return "kafka" in reasons and "schema registry" in reasons
