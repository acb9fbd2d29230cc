"""How the group assigns decides what a worker subscribes to, and what comes along."""

from __future__ import annotations

from dataclasses import replace

import pytest
from confluent_kafka import TopicPartition

from hookstream.processors.delivery.group.group_protocol import Assignment, group_config
from hookstream.processors.errors import KafkaRefusedError
from hookstream.processors.kafka import GroupProtocol, KafkaConfig

KAFKA = KafkaConfig(bootstrap_servers="k:9092")
CLASSIC = replace(KAFKA, group_protocol=GroupProtocol.CLASSIC)
STRATEGY = "partition.assignment.strategy"
TOPICS = ("deliveries", "deliveries.replay")


def assignment_of(kafka: KafkaConfig) -> Assignment:
    return group_config(kafka, "g", on_commit=lambda *_: None)[1]


def test_the_protocol_and_the_assignor_decide() -> None:
    assert assignment_of(KAFKA) is Assignment.INCREMENTAL
    assert assignment_of(CLASSIC) is Assignment.EAGER
    sticky = replace(CLASSIC, options={STRATEGY: "cooperative-sticky"})
    assert assignment_of(sticky) is Assignment.DELIVERIES_ALONE


@pytest.mark.parametrize("strategy", ["roundrobin", "range,cooperative-sticky", "cooperative-sticky,range"])
def test_an_assignor_that_may_separate_deliveries_from_their_replays_is_refused(strategy: str) -> None:
    with pytest.raises(KafkaRefusedError, match="one owner"):
        assignment_of(replace(CLASSIC, options={STRATEGY: strategy}))


def test_replays_come_along_where_the_group_assigns_deliveries_alone() -> None:
    given = [TopicPartition("deliveries", 3)]
    assert Assignment.DELIVERIES_ALONE.subscribed(TOPICS) == ["deliveries"]
    along = Assignment.DELIVERIES_ALONE.co_partitions(given, TOPICS)
    assert [(tp.topic, tp.partition) for tp in along] == [("deliveries", 3), ("deliveries.replay", 3)]
    assert Assignment.INCREMENTAL.subscribed(TOPICS) == list(TOPICS)
    assert Assignment.INCREMENTAL.co_partitions(given, TOPICS) == given
