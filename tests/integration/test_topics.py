"""Topics on a real broker: made as specified, left alone when they exist, refused when they differ."""

from __future__ import annotations

import json

import pytest
from confluent_kafka.admin import ConfigResource, ResourceType

from hookstream.processors.errors import KafkaUnavailableError, TopicMismatchError
from hookstream.processors.kafka import KafkaConfig, make_admin, make_producer, producer_config
from hookstream.processors.operations.embedded import EmbeddedKafka
from hookstream.processors.topic_specs import TopicLimits, topic_specs
from hookstream.processors.topics import (
    check_topics,
    cluster_id,
    create_topics,
    judge_schemas,
    judge_topics,
    register_schemas,
    topic_ids,
)
from hookstream.producers.errors import IncompatibleSchemaError
from hookstream.producers.registry import SchemaRegistry
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.event_schema import NOTICES
from hookstream.schemas.topics import TopicNames
from tests.support.kafka_broker import Kafka, create_plain_topics, delete_topic
from tests.support.wait import WITHIN_S, eventually

CATALOGUE = Catalogue.shipped()
LIMITS = TopicLimits(partitions=3)


def test_topics_are_made_as_specified_and_can_be_used_at_once(kafka: Kafka, topics: TopicNames) -> None:
    config = KafkaConfig(bootstrap_servers=kafka.bootstrap_servers)
    specs = topic_specs(topics, CATALOGUE, LIMITS)
    assert sorted(create_topics(config, specs)) == sorted(spec.name for spec in specs)
    admin = make_admin(config)
    resources = [ConfigResource(ResourceType.TOPIC, spec.name) for spec in specs]
    for resource, future in admin.describe_configs(resources).items():
        (spec,) = (spec for spec in specs if spec.name == resource.name)
        found = future.result()
        assert {key: found[key].value for key in spec.config} == dict(spec.config)
    made = admin.list_topics(timeout=WITHIN_S).topics
    assert {spec.name: len(made[spec.name].partitions) for spec in specs} == {
        spec.name: spec.partitions for spec in specs
    }
    leaders = {partition.leader for spec in specs for partition in made[spec.name].partitions.values()}
    assert min(leaders) >= 0, "there is nothing to wait for"
    producer = make_producer(producer_config(config, message_timeout_ms=60_000))
    errors: list[object] = []
    for spec in specs:
        producer.produce(spec.name, b"v", b"k", on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(WITHIN_S) == 0
    assert errors == [None] * len(specs)
    check_topics(config, specs)


def test_making_them_again_changes_nothing(kafka: Kafka, topics: TopicNames) -> None:
    config = KafkaConfig(bootstrap_servers=kafka.bootstrap_servers)
    create_topics(config, topic_specs(topics, CATALOGUE, LIMITS))
    names = [topics.deliveries, topics.subscriptions]
    before = topic_ids(config, names)
    assert create_topics(config, topic_specs(topics, CATALOGUE, TopicLimits(partitions=5))) == []
    assert topic_ids(config, names) == before
    assert None not in before.values()


def test_a_topic_that_differs_is_refused_with_what_to_do(kafka: Kafka, topics: TopicNames) -> None:
    config = KafkaConfig(bootstrap_servers=kafka.bootstrap_servers)
    create_plain_topics(kafka.bootstrap_servers, topics.deliveries, partitions=4)
    create_plain_topics(kafka.bootstrap_servers, topics.control, partitions=3)
    create_plain_topics(kafka.bootstrap_servers, topics.events("user"), partitions=3)
    specs = topic_specs(topics, CATALOGUE, LIMITS)
    create_topics(config, specs)
    with pytest.raises(TopicMismatchError) as caught:
        check_topics(config, specs)
    message = str(caught.value)
    assert f"{topics.deliveries} has 4 partitions, needs 3" in message
    assert f"{topics.control} has cleanup.policy=delete, needs compact" in message
    assert f"{topics.events('user')} has message.timestamp.type=CreateTime, needs LogAppendTime" in message
    assert topics.events("lead") not in message
    told = [complaint.text for complaint in judge_topics(config, specs)]
    assert any(f"{topics.control} has delete.retention.ms=86400000" in text for text in told)


def test_a_missing_topic_is_refused_with_what_to_do(kafka: Kafka, topics: TopicNames) -> None:
    config = KafkaConfig(bootstrap_servers=kafka.bootstrap_servers)
    with pytest.raises(TopicMismatchError, match=r"does not exist: run `hookstream topics create`"):
        check_topics(config, topic_specs(topics, CATALOGUE, LIMITS))
    with pytest.raises(KafkaUnavailableError):
        topic_ids(config, [topics.deliveries])


def test_a_re_created_topic_has_another_id(kafka: Kafka, topics: TopicNames) -> None:
    config = KafkaConfig(bootstrap_servers=kafka.bootstrap_servers)
    specs = topic_specs(topics, CATALOGUE, LIMITS)
    create_topics(config, specs)
    before = topic_ids(config, [topics.control])
    delete_topic(kafka.bootstrap_servers, topics.control)
    create_topics(config, specs)

    def another() -> bool:
        try:
            return topic_ids(config, [topics.control]) != before
        except KafkaUnavailableError as exc:  # it was deleted a moment ago
            raise AssertionError from exc

    eventually(another)
    assert cluster_id(config, topics.control)


def test_the_embedded_kafka_has_nothing_to_make_or_check() -> None:
    kafka = EmbeddedKafka()
    names = TopicNames("x.")
    assert create_topics(kafka.config, topic_specs(names, CATALOGUE, LIMITS)) == []
    check_topics(kafka.config, topic_specs(names, CATALOGUE, LIMITS))
    assert topic_ids(kafka.config, [names.control]) == {names.control: None}
    assert cluster_id(kafka.config, names.control) is None
    kafka.stop()


def test_a_broker_that_is_unavailable_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookstream.processors.topics.REQUEST_TIMEOUT_S", 0.5)
    config = KafkaConfig(bootstrap_servers="127.0.0.1:1")
    with pytest.raises(KafkaUnavailableError, match=r"^cannot list topics: "):
        create_topics(config, topic_specs(TopicNames(), CATALOGUE, LIMITS))


def test_schemas_are_registered_and_what_breaks_readers_is_refused(registry_url: str, topics: TopicNames) -> None:
    subject = f"{topics.deliveries}-value"
    text = CATALOGUE.subjects(topics)[subject]
    broken = text.replace('"name":"client","type":"string"', '"name":"client","type":"long"')
    assert broken != text
    with SchemaRegistry(registry_url) as registry:
        assert len(judge_schemas(registry, CATALOGUE, topics)) == len(CATALOGUE.subjects(topics))
        register_schemas(registry, CATALOGUE, topics)
        register_schemas(registry, CATALOGUE, topics)
        assert judge_schemas(registry, CATALOGUE, topics) == []
        assert registry.id_for(subject, text) > 0
        with pytest.raises(IncompatibleSchemaError):
            registry.register(subject, broken)
        for topic in (topics.attempts, topics.dead_letters, topics.events(NOTICES)):  # those that others read
            fields = json.loads(CATALOGUE.subjects(topics)[f"{topic}-value"])
            fields["fields"].append({"name": "added", "type": "long"})
            assert registry.compatibility(f"{topic}-value") == "BACKWARD_TRANSITIVE"
            with pytest.raises(IncompatibleSchemaError):
                registry.register(f"{topic}-value", json.dumps(fields))
