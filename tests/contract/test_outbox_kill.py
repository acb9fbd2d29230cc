"""The outbox relay as a process of its own, with PostgreSQL and a real broker, killed in the middle of its work."""

from __future__ import annotations

import signal
from itertools import islice

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from sqlalchemy import create_engine, func, select
from sqlalchemy.orm import Session

from hookstream.processors.offsets import end_offset
from hookstream.producers.outbox import OUTBOX, create_tables, enqueue
from hookstream.schemas.topics import TopicNames
from tests.support.kafka_broker import Kafka
from tests.support.processes import Process, Processes
from tests.support.values import an_event
from tests.support.wait import eventually

# Dies as it is told: `sends` hands so many events over and is killed before their reports, `hears` at so many reports.
RELAY = """
import os, signal, sys, threading
from sqlalchemy import create_engine
from hookstream.processors.operations.relays.outbox import OutboxRelay
from hookstream.producers.config import ProducerConfig
from hookstream.producers.event_producer import EventProducer
from hookstream.producers.registry import SchemaRegistry
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.topics import TopicNames

database, servers, prefix, moment, number = sys.argv[1:]

class Mortal(EventProducer):
    counts = {"sends": 0, "hears": 0}

    def produce(self, event, **more):
        future = super().produce(event, **more)
        self.count("sends")
        future.add_done_callback(lambda _: self.count("hears"))
        return future

    def count(self, what):
        self.counts[what] += 1
        if (what, self.counts[what]) == (moment, int(number)):
            os.kill(os.getpid(), signal.SIGKILL)

topics = TopicNames(prefix)
registry = SchemaRegistry("mock://relay")
for subject, text in Catalogue.shipped().subjects(topics).items():
    registry.register(subject, text)
config = ProducerConfig(bootstrap_servers=servers, schema_registry_url="mock://relay", topics=topics)
with Mortal(config, registry=registry) as producer:
    OutboxRelay(create_engine(database), producer, batch_rows=40).run(threading.Event())
"""
EVENTS, RESOURCES, BATCH = 1200, 9, 40
DEADLINE_S = 60.0


def test_kill_9_loses_nothing_and_keeps_the_order(
    database_url: str, kafka: Kafka, topics: TopicNames, processes: Processes
) -> None:
    """Of a relay killed twice at work every event is in the log, in order per resource; a kill repeats one batch."""
    topic = topics.events("lead")
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    admin.create_topics([NewTopic(topic, 3, 1)])[topic].result(DEADLINE_S)
    engine = create_engine(database_url)
    create_tables(engine)
    events = [an_event("lead.updated", concept=n % RESOURCES) for n in range(EVENTS)]
    with Session(engine) as session, session.begin():
        for event in events:
            enqueue(session, event)

    def left() -> int:
        with engine.connect() as connection:
            return connection.execute(select(func.count()).select_from(OUTBOX)).scalar_one()

    def relay(moment: str, number: int) -> Process:
        where = database_url, kafka.bootstrap_servers, topics.prefix
        return processes.python("-c", RELAY, *where, moment, str(number), name="relay")

    kills = [("sends", 10 * BATCH + 3), ("hears", 10 * BATCH + 17)]  # in the middle of the eleventh batch of each
    for moment, number in kills:
        killed = relay(moment, number)
        assert killed.wait() == -signal.SIGKILL, killed.complaint("was not killed")
    assert left() == EVENTS - len(kills) * 10 * BATCH, "a kill keeps the whole batch"
    last = relay("never", 0)
    eventually(lambda: left() == 0, DEADLINE_S)
    last.kill()
    engine.dispose()

    log = read(kafka.bootstrap_servers, topic)
    first = list(dict.fromkeys(log))
    assert set(first) == {str(event.id) for event in events}
    resource_of = {str(event.id): event.concept.id for event in events}
    for resource in range(RESOURCES):
        expected = [str(event.id) for event in islice(events, resource, None, RESOURCES)]
        assert [event_id for event_id in first if resource_of[event_id] == resource] == expected
    assert len(log) - len(first) <= len(kills) * BATCH


def read(servers: str, topic: str) -> list[str]:
    """Give the event ids of a topic, each partition in its order."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "reader", "enable.auto.commit": False})
    ids: list[str] = []
    for partition in range(3):
        end = end_offset(consumer, topic, partition)
        consumer.assign([TopicPartition(topic, partition, 0)])
        count = len(ids)
        while len(ids) - count < end:
            for record in consumer.consume(500, 0.2):
                assert record.error() is None
                event_id = dict(record.headers() or [])["ce_id"]
                assert isinstance(event_id, bytes)
                ids.append(event_id.decode())
    consumer.close()
    return ids
