"""What is written to `deliveries.replay` on a real broker."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hookstream.processors.errors import StoppedError
from hookstream.processors.lifecycle import StopSignal
from hookstream.processors.operations.replays.writer import ReplayWriter
from hookstream.producers.murmur2 import partition_of
from hookstream.schemas.codecs.deliveries import delivery_encoder
from hookstream.schemas.delivery import DeliveryId
from hookstream.schemas.event import ClientId
from tests.support.routing import RoutingWorld
from tests.support.values import DELIVERY

if TYPE_CHECKING:
    from hookstream.schemas.topics import TopicNames
    from tests.support.kafka_broker import Kafka


def test_records_keep_their_order_and_carry_the_job_and_the_end_of_their_live_partition(
    kafka: Kafka, topics: TopicNames
) -> None:
    """Each goes to its client's partition, with the end that this partition of `deliveries` had, and the time."""
    world = RoutingWorld(kafka.bootstrap_servers, topics)
    clients = [ClientId(str(number)) for number in range(1, 9)]
    home = {client: partition_of(client.encode(), world.partitions) for client in clients}
    for client in clients:
        for _ in range(int(client)):
            world.put(topics.deliveries, b"live", client.encode())
    world.flush()
    ends = {
        partition: sum(int(client) for client in clients if home[client] == partition) for partition in {*home.values()}
    }
    sent = [
        replace(DELIVERY, client=client, id=DeliveryId(f"msg_{client}_{number}"), replay=None, live_end=0)
        for number in range(20)
        for client in clients
    ]
    encode = delivery_encoder(world.schema_id(topics.replays))
    with ReplayWriter(world.kafka, topics, encode=encode, now_ms=lambda: 1234) as writer:
        writer.write(sent[:100], job="replay-7")
        writer.write(sent[100:], job="replay-7")
        arrived = world.replayed()
    for client in clients:
        mine = [found for found in arrived if found.delivery.client == client]
        assert {found.partition for found in mine} == {home[client]}
        wanted = [
            replace(delivery, replay="replay-7", live_end=ends[home[client]], replayed_at_ms=1234)
            for delivery in sent
            if delivery.client == client
        ]
        assert [found.delivery for found in mine] == wanted


def test_a_writer_without_a_time_out_ends_its_wait_when_asked_to_stop(kafka: Kafka, topics: TopicNames) -> None:
    """What was not acknowledged is not called written."""
    world = RoutingWorld(kafka.bootstrap_servers, topics)
    world.put(topics.deliveries, b"live", DELIVERY.key)
    world.flush()  # the topic is new: until this is acknowledged its partitions may have no leader
    stop = StopSignal()
    stop.ask()
    encode = delivery_encoder(world.schema_id(topics.replays))
    with ReplayWriter(world.kafka, topics, encode=encode, acknowledged_within_s=None) as writer:
        with pytest.raises(StoppedError):
            writer.write([DELIVERY] * 5000, job="replay-7", stop=stop)
        writer.write([DELIVERY], job="replay-7")
