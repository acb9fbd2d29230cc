"""A reader of a group that runs in a thread of the test, and how far its group is."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from confluent_kafka import TopicPartition

from hookstream.processors.errors import StoppedError
from hookstream.processors.kafka import KafkaConfig, group_consumer_config, make_consumer
from hookstream.processors.lifecycle import Health, StopSignal
from hookstream.processors.offsets import committed_offsets
from tests.support.wait import WITHIN_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hookstream.processors.operations.group_reader import GroupReader


@contextmanager
def running(reader: GroupReader, health: Health | None = None) -> Iterator[None]:
    """Let a reader run in a thread."""
    stop = StopSignal()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            reader.run(stop, health)
        except StoppedError:
            pass
        except BaseException as exc:  # noqa: BLE001  # shown by the test
            failures.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.ask()
        thread.join(WITHIN_S)
        assert not thread.is_alive()
        assert failures == []


def committed_records(kafka: KafkaConfig, topic: str, group: str, *, partitions: int) -> int:
    """Count the records below the group's offsets."""
    asking = make_consumer(group_consumer_config(kafka, group=group))
    try:
        wanted = [TopicPartition(topic, number) for number in range(partitions)]
        return sum(max(0, found.offset) for found in committed_offsets(asking, wanted, "cannot read the offsets"))
    finally:
        asking.close()
