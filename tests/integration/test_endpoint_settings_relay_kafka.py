"""The relay of endpoint settings on a real broker and PostgreSQL: settings that was answered reaches the topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hookstream.schemas.control import endpoint_id, target_digest
from hookstream.schemas.event import ClientId
from tests.support import endpoint_settings_relay
from tests.support.endpoint_settings_relay import ControlTopic
from tests.support.subscriptions_api import TARGET, Api
from tests.support.wait import eventually

if TYPE_CHECKING:
    from hookstream.schemas.topics import TopicNames
    from tests.support.kafka_broker import Kafka
    from tests.support.processes import Processes

CLIENT = 434
ENDPOINT = endpoint_id(ClientId(str(CLIENT)), target_digest(TARGET))


@pytest.mark.parametrize(("mode", "written"), [("dies-before", 0), ("dies-after", 1)])
def test_kill_9_between_the_commit_of_settings_and_its_publication_loses_nothing(
    kafka: Kafka, topics: TopicNames, processes: Processes, database_url: str, mode: str, written: int
) -> None:
    topic = ControlTopic.make(kafka.bootstrap_servers, topics)
    api = Api(database_url)
    try:
        assert api.integrator(CLIENT).create().status_code == 201
        operator = api.operator()
        answer = operator("POST", f"/endpoints/{ENDPOINT}/pause", {"reason": "ticket 17"})
        assert answer.json()["settings"]["published"] is False, answer.text
        program = (
            "-m",
            endpoint_settings_relay.__name__,
            mode,
            topic.kafka.bootstrap_servers,
            topic.name,
            database_url,
        )
        killed = processes.python(*program, name=mode)
        assert killed.wait() == -9, killed.complaint("was not killed")
        assert len(topic.settings()) == written
        assert operator("GET", f"/endpoints/{ENDPOINT}/settings").json()["settings"]["published"] is False
        successor = topic.relay(api.sessions)
        eventually(lambda: successor.run_once().published)
        successor.close()
        settings = topic.settings()
        assert {(wanted.endpoint, wanted.paused, wanted.revision) for wanted in settings} == {(ENDPOINT, True, 1)}
        assert operator("GET", f"/endpoints/{ENDPOINT}/settings").json()["settings"]["published"] is True
    finally:
        api.close()
