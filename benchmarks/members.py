"""Workers of one group: how much each of them has delivered, which partitions it has, which clients those are."""

from __future__ import annotations

from collections import defaultdict
from itertools import count
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException

from benchmarks.stack import PARTITIONS, READY_WITHIN_S, until
from hookstream.processors.kafka import make_producer, producer_config
from tests.support.kafka_broker import admin

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from confluent_kafka import KafkaError, Message

    from benchmarks.stack import Role, Stack

_ASKED_AT_ONCE = 500


def clients_by_partition(stack: Stack, each: int) -> dict[int, list[int]]:
    """So many clients of each partition of `deliveries`, found by what the producer does with their keys."""
    stack.make_bodies_topic()
    producer = make_producer(producer_config(stack.kafka))
    found: dict[int, list[int]] = defaultdict(list)

    def placed(error: KafkaError | None, message: Message) -> None:
        if error is None and len(found[message.partition() or 0]) < each:
            found[message.partition() or 0].append(int(message.key() or b""))

    numbers = count(1)
    while len(found) < PARTITIONS or any(len(clients) < each for clients in found.values()):
        for _ in range(_ASKED_AT_ONCE):
            producer.produce(stack.bodies_topic, b"", str(next(numbers)).encode(), on_delivery=placed)
        producer.flush()
    return dict(found)


def delivered(workers: Sequence[Role]) -> list[float]:
    """How much each of them has delivered."""
    return [worker.samples("hookstream_deliveries_total").get("delivered", 0.0) for worker in workers]


def owned(worker: Role) -> set[int]:
    """The partitions that a worker has, as of a second ago."""
    return {int(partition) for partition in worker.samples("hookstream_window_used_ratio")}


def wait_balanced(stack: Stack, group: str, topic: str, workers: int) -> None:
    """Wait until a group has given each of its members the same number of a topic's partitions."""
    client = admin(stack.bootstrap_servers)

    def balanced() -> bool:
        try:
            members = client.describe_consumer_groups([group])[group].result(20).members
        except KafkaException:  # there is no such group yet, or no coordinator
            return False
        shares = [sum(tp.topic == topic for tp in member.assignment.topic_partitions) for member in members]
        return shares == [PARTITIONS // workers] * workers

    until(balanced, READY_WITHIN_S, what=f"{workers} members with the same number of partitions")


def wait_owners(workers: Sequence[Role]) -> None:
    """Wait until these have every partition, each of them some, and say so."""

    def settled() -> bool:
        shares = [owned(worker) for worker in workers]
        return all(shares) and sum(map(len, shares)) == PARTITIONS == len(set[int]().union(*shares))

    until(settled, READY_WITHIN_S, what="owners of every partition")


def of_partitions(clients: Mapping[int, Sequence[int]], partitions: Collection[int]) -> list[int]:
    """The clients whose deliveries are in these partitions."""
    return [client for partition in sorted(partitions) for client in clients[partition]]
