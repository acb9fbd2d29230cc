"""Failure: the database is unavailable. Deliveries go on, the API says so, and the attempt log catches up."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hookstream.producers.config import ProducerConfig
from hookstream.producers.event_producer import EventProducer
from hookstream.schemas.delivery import delivery_id
from tests.support.deployment import Caller, Deployment
from tests.support.receiver import Receiver
from tests.support.values import an_event
from tests.support.wait import eventually

if TYPE_CHECKING:
    from hookstream.schemas.event import Event
    from hookstream.schemas.topics import TopicNames
    from tests.support.kafka_broker import Kafka
    from tests.support.postgres import Postgres
    from tests.support.processes import Processes

ARRIVE_S = 60.0


def test_deliveries_go_on_without_the_database(
    kafka: Kafka, registry_url: str, private_postgres: Postgres, topics: TopicNames, processes: Processes
) -> None:
    """Events are delivered in order while PostgreSQL is stopped; hooks answer 503; afterwards every attempt is told."""
    deployment = Deployment(kafka.bootstrap_servers, registry_url, private_postgres.url, topics, processes)
    deployment.prepare()
    roles = [deployment.role(name) for name in ("api", "router", "deliver", "attempt-log")]
    for role in roles:
        role.wait_ready()
    caller = Caller(roles[0].url, deployment.token("integrator", 434))
    events = [an_event("lead.updated", client=434, concept=1000 + n % 3) for n in range(30)]
    config = ProducerConfig(
        bootstrap_servers=kafka.bootstrap_servers, schema_registry_url=registry_url, topics=deployment.topics
    )
    with Receiver() as receiver, EventProducer(config) as producer:

        def publish(part: list[Event]) -> None:
            for receipt in [producer.produce(event) for event in part]:
                receipt.result(30)

        hook = caller.register("lead.updated", receiver.url("leads"))
        caller.wait_effective(hook["id"])
        publish(events[:10])
        eventually(lambda: len(receiver.accepted()) == 10, ARRIVE_S)

        private_postgres.stop()
        publish(events[10:])
        eventually(lambda: len(receiver.accepted()) == len(events), ARRIVE_S, describe="delivered without a database")
        answer = caller("GET", f"/hooks/{hook['id']}")
        assert answer.status_code == 503
        eventually(lambda: "database" in roles[0].unready_because(), describe="readiness says it")
        private_postgres.start()

        def told() -> bool:
            page = caller("GET", f"/hooks/{hook['id']}/attempts?limit=100")
            return page.status_code == 200 and len(page.json()["attempts"]) == len(events)

        eventually(told, ARRIVE_S, every_s=0.2, describe="the attempt log has caught up")
        for concept in (1000, 1001, 1002):
            expected = [delivery_id(event.id, hook["id"]) for event in events if event.concept.id == concept]
            came = [r.id for r in receiver.accepted() if json.loads(r.body)["concept"]["id"] == concept]
            assert came == expected
