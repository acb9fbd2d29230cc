"""Promise: routers and workers are added and lost while events flow, on three brokers; nothing is lost or reordered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.scale_out import play
from benchmarks.stack import Stack

if TYPE_CHECKING:
    from tests.support.kafka_cluster import KafkaCluster

# What a router and a worker had not committed when they were killed, and what was under way when the broker was killed.
REPEATED_BY_KILLS = 600


def test_members_come_and_go_and_a_broker_dies(kafka_cluster: KafkaCluster) -> None:
    """Of three routers and four workers one of each is killed -9 and one leaves; of three brokers the coordinator dies.

    One target is down meanwhile, and gets what it is owed in order, too.
    """
    with Stack(kafka_cluster.bootstrap_servers) as stack:
        scene = play(kafka_cluster, stack, rate=150.0, seconds=24.0)
    assert scene.lost == 0
    assert scene.everybody.out_of_order == 0
    assert scene.everybody.duplicates <= REPEATED_BY_KILLS
