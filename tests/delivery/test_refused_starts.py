"""Promise: where a commit, a log and a state contradict each other, a worker refuses to guess and names the command."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import NewPartitions

from hookstream.processors.delivery.checkpoints.commit_metadata import encode_metadata
from hookstream.processors.errors import StartRefusedError
from hookstream.processors.topic_specs import TopicLimits, topic_specs
from hookstream.processors.topics import create_topics
from tests.support.deployment import Deployment
from tests.support.kafka_broker import admin, delete_topic
from tests.support.targets import OK, Reply
from tests.support.wait import eventually

if TYPE_CHECKING:
    from hookstream.schemas.topics import TopicNames
    from tests.support.delivery_world import DeliveryWorld
    from tests.support.kafka_broker import Kafka
    from tests.support.processes import Processes


@pytest.fixture
def stopped(world: DeliveryWorld) -> DeliveryWorld:
    """Twenty deliveries are owed by a state, the offset has passed them, and no worker runs."""
    (hook,) = world.hooks("one")
    world.targets.answer = lambda _seen: Reply(500)
    world.send(hook, range(20), partition=0)
    worker = world.start()
    eventually(lambda: world.commit_of()[0] == 20, describe="everything is owed by a state")
    worker.stop()
    world.targets.answer = lambda _seen: OK
    return world


def refusal(world: DeliveryWorld) -> str:
    """The one line with which a worker does not start."""
    asked = len(world.targets.requests)
    error = world.start(ready=False).wait_ended()
    assert isinstance(error, StartRefusedError), error
    line = str(error)
    assert "\n" not in line
    assert f"{world.topics.deliveries}:0" in line
    assert "hookstream recover --keep-owed" in line
    assert "--forget" in line
    assert len(world.targets.requests) == asked, "nothing is sent"
    return line


def test_offsets_that_an_operator_reset(stopped: DeliveryWorld) -> None:
    """An offset without our metadata, while a state owes, is refused: it says nothing of what is owed below it."""
    stopped.alter_offset(TopicPartition(stopped.topics.deliveries, 0, 20))
    assert "a state has pending deliveries" in refusal(stopped)


def test_offsets_that_expired(stopped: DeliveryWorld) -> None:
    """A group without offsets, while a state owes, is refused: it would begin anew, or lose what is owed."""
    group = stopped.topics.deliver_group
    eventually(lambda: deleted(stopped, group), describe="the group is deleted")
    assert "no offset" in refusal(stopped)


def deleted(world: DeliveryWorld, group: str) -> bool:
    """Delete a group; false while it has members."""
    client = admin(world.config.bootstrap_servers)
    try:
        client.delete_consumer_groups([group])[group].result(20)
    except Exception:  # noqa: BLE001 - it is not empty yet
        return False
    return True


def test_a_topic_that_was_made_anew(stopped: DeliveryWorld) -> None:
    """Commits of an earlier topic of the same name are refused: their offsets mean other records, or none."""
    stopped.producer.flush(10)
    delete_topic(stopped.config.bootstrap_servers, stopped.topics.deliveries)
    specs = topic_specs(stopped.topics, stopped.catalogue, TopicLimits(partitions=stopped.config.partitions))
    create_topics(stopped.config.kafka, [spec for spec in specs if spec.name == stopped.topics.deliveries])
    line = refusal(stopped)
    assert "another cluster, or of an earlier topic" in line or "no offset" in line


def test_a_commit_of_another_cluster(stopped: DeliveryWorld) -> None:
    """Metadata of another cluster, as a mirror brings it along, is refused."""
    offset, metadata = stopped.commit_of()
    assert metadata is not None
    foreign = encode_metadata(replace(metadata, log_digest=b"elsewher"))
    stopped.alter_offset(TopicPartition(stopped.topics.deliveries, 0, offset, foreign))
    assert "another cluster" in refusal(stopped)


@pytest.mark.parametrize("metadata", ["9.AAAA", "written by another program", "1.!!!"])
def test_metadata_that_is_not_ours(stopped: DeliveryWorld, metadata: str) -> None:
    """Metadata of a later release, of another program, or damaged is refused."""
    stopped.alter_offset(TopicPartition(stopped.topics.deliveries, 0, 20, metadata))
    assert "metadata" in refusal(stopped)


def test_a_state_that_is_not_there(stopped: DeliveryWorld) -> None:
    """A commit that points to a state which the topic does not hold is refused."""
    offset, metadata = stopped.commit_of()
    assert metadata is not None
    assert metadata.pointer is not None
    nowhere = encode_metadata(replace(metadata, pointer=replace(metadata.pointer, id=b"nowhere!")))
    stopped.alter_offset(TopicPartition(stopped.topics.deliveries, 0, offset, nowhere))
    assert "is not in its topic" in refusal(stopped)


def test_the_same_worker_goes_on_where_nothing_contradicts(stopped: DeliveryWorld) -> None:
    """A worker whose offsets were left alone starts, and delivers what is owed."""
    stopped.start()
    assert stopped.check_promises() == 0


def test_the_role_says_one_line_and_ends(
    kafka: Kafka, registry_url: str, sqlite_url: str, topics: TopicNames, processes: Processes
) -> None:
    """`hookstream deliver` ends with code 1 and one line, for foreign commits and for a changed partition count."""
    deployment = Deployment(kafka.bootstrap_servers, registry_url, sqlite_url, topics, processes)
    made = deployment.run("topics", "create")
    assert made.code == 0, made.err
    commit_as_another_program(kafka.bootstrap_servers, topics)
    role = deployment.role("deliver")
    assert role.process.wait() == 1
    lines = [line for line in role.process.log_text().splitlines() if line.startswith("hookstream: ")]
    assert len(lines) == 1
    assert "hookstream recover --keep-owed" in lines[0]

    client = admin(kafka.bootstrap_servers)
    client.create_partitions([NewPartitions(topics.deliveries, 5)])[topics.deliveries].result(20)
    role = deployment.role("deliver")
    assert role.process.wait() == 1
    (line,) = [line for line in role.process.log_text().splitlines() if line.startswith("hookstream: ")]
    assert "partitions" in line
    assert topics.deliveries in line


def commit_as_another_program(bootstrap_servers: str, topics: TopicNames) -> None:
    """Commit with metadata that is not ours."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": topics.deliver_group})
    try:
        consumer.commit(offsets=[TopicPartition(topics.deliveries, 0, 0, "of another program")], asynchronous=False)
    finally:
        consumer.close()
