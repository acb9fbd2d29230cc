"""An attempt that the log will not know of is counted, and no delivery waits for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from structlog.testing import capture_logs

from hookstream.processors.delivery.attempts import producer
from hookstream.processors.delivery.attempts.producer import AttemptLog
from hookstream.processors.kafka import KafkaConfig

if TYPE_CHECKING:
    from collections.abc import Callable


class Producer:
    """Takes as many records as there is room for."""

    def __init__(self) -> None:
        self.room: int | Exception = 10**6
        self.unsent = 0
        self.report: Callable[[KafkaError | None, Any], None]

    def produce_batch(self, _topic: str, records: list[Any]) -> int:
        if isinstance(self.room, Exception):
            raise self.room
        for record in records[self.room :]:
            record["_error"] = "the queue is full"
        return min(self.room, len(records))

    def produce(self, _topic: str, _value: None, _key: bytes, headers: object) -> None:
        """Takes what tells of a gap."""

    def __len__(self) -> int:
        return self.unsent

    def poll(self, _timeout_s: float) -> None:
        pass

    def flush(self, _timeout_s: float) -> int:
        return self.unsent


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Producer:
    made = Producer()

    def make(config: Any) -> Producer:
        made.report = config["on_delivery"]
        return made

    monkeypatch.setattr(producer, "make_producer", make)
    return made


def a_log(client: Producer, *, waiting: int) -> AttemptLog:
    log = AttemptLog(KafkaConfig(bootstrap_servers="127.0.0.1:1"), "attempts", schema_id=1)
    log._waiting = [{"value": b"v", "key": b"7"} for _ in range(waiting)]
    assert callable(client.report)
    return log


def test_what_there_is_room_for_is_not_counted(client: Producer) -> None:
    log = a_log(client, waiting=5)
    log.flush()
    log.flush()
    assert log.dropped == 0


@pytest.mark.parametrize(
    ("room", "dropped"),
    [(2, 3), (0, 5), (BufferError(), 5), (KafkaException(KafkaError(KafkaError._QUEUE_FULL)), 5)],
    ids=["room for two", "none", "BufferError", "KafkaException"],
)
def test_attempts_that_found_the_queue_full_are_counted(client: Producer, room: int | Exception, dropped: int) -> None:
    log = a_log(client, waiting=5)
    client.room = room
    log.flush()
    assert log.dropped == dropped
    log.flush()
    assert log.dropped == dropped, "once"


def test_attempts_that_kafka_refused_and_that_were_unsent_at_the_end_are_counted(client: Producer) -> None:
    log = a_log(client, waiting=0)
    record = SimpleNamespace(key=lambda: b"7", value=lambda: b"v")
    client.report(KafkaError(KafkaError._MSG_TIMED_OUT), record)
    client.report(None, record)
    assert log.dropped == 1
    client.unsent = 7
    log.close()
    assert log.dropped == 8


def test_the_log_tells_of_what_was_dropped_since_it_told_last(client: Producer) -> None:
    log = a_log(client, waiting=5)
    client.room = 0
    log.flush()
    with capture_logs() as lines:
        log.poll()
        log.poll()
    assert [(line["since_start"], line["now"]) for line in lines] == [(5, 5)]
