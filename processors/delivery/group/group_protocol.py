"""How the workers' group assigns partitions: both topics or `deliveries` alone, step by step or everything anew."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from confluent_kafka import Consumer, KafkaError, TopicPartition

from hookstream.processors.errors import KafkaRefusedError
from hookstream.processors.kafka import ClientConfig, KafkaConfig, group_consumer_config, translated

# A record of a live partition waits behind what was fetched of a busy one: 2 MiB are some 10,000 records.
_QUEUED_KBYTES = 2 * 1024
_FETCH_BYTES = 256 * 1024


class Assignment(Enum):
    """What a rebalance brings, by the assignor."""

    INCREMENTAL = "incremental"
    """Both topics of a partition come to one worker, and what stays is not mentioned (KIP-848 with `range`)."""
    EAGER = "eager"
    """Likewise, but every rebalance assigns everything anew: the classic protocol with `range`."""
    DELIVERIES_ALONE = "deliveries alone"
    """The group assigns `deliveries`, and its replays follow: the classic protocol with `cooperative-sticky`.

    An assignor that balances each partition by itself would give the two topics of one partition to two workers.
    """

    def subscribed(self, topics: tuple[str, str]) -> list[str]:
        """Which topics the group assigns."""
        return list(topics[: 1 if self is Assignment.DELIVERIES_ALONE else 2])

    def co_partitions(self, partitions: list[TopicPartition], topics: tuple[str, str]) -> list[TopicPartition]:
        """What comes and goes with these partitions."""
        if self is not Assignment.DELIVERIES_ALONE:
            return partitions
        return [TopicPartition(topic, tp.partition) for tp in partitions for topic in topics]

    def assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Begin to read these, which a rebalance brought."""
        if self is Assignment.EAGER:
            consumer.assign(partitions)
        else:
            consumer.incremental_assign(partitions)

    def unassign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Read no more of these; where no co-partition came along, the client does that after the callback."""
        if self is Assignment.DELIVERIES_ALONE:
            with translated("cannot give partitions away"):
                consumer.incremental_unassign(partitions)


def group_config(
    kafka: KafkaConfig, group: str, *, on_commit: Callable[[KafkaError | None, list[TopicPartition]], None]
) -> tuple[ClientConfig, Assignment]:
    """Build the configuration of a worker's consumer; say how its group assigns.

    Raises:
        KafkaRefusedError: the deployment's options name an assignor that this worker cannot work with.
    """
    own = {"queued.max.messages.kbytes": _QUEUED_KBYTES, "fetch.message.max.bytes": _FETCH_BYTES}
    config = group_consumer_config(kafka, group=group, co_partitioned=True, own=own)
    strategy = config.get("partition.assignment.strategy", "")
    if strategy not in _ASSIGNMENTS:
        raise KafkaRefusedError(
            "partition.assignment.strategy must be range or cooperative-sticky: partition p of deliveries and of"
            " its replays has one owner"
        )
    return {**config, "on_commit": on_commit}, _ASSIGNMENTS[strategy]


_ASSIGNMENTS = {
    "": Assignment.INCREMENTAL,
    "range": Assignment.EAGER,
    "cooperative-sticky": Assignment.DELIVERIES_ALONE,
}
