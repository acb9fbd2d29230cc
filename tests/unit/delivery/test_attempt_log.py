"""What the worker hands over to the attempt log's producer, and what it drops, by client."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from hookstream.processors.delivery.attempts import producer
from hookstream.processors.delivery.http.exchange import Answer
from hookstream.processors.kafka import KafkaConfig
from hookstream.schemas.attempt import GAP_HEADER, AttemptResult, gap_of
from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import HookId
from tests.support.posts import a_post
from tests.support.values import DELIVERY

LARGE = b"a" * 20_000


class Broker:
    """A producer that holds what it is given; `room` is how many records it takes at once."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.room = 1_000_000
        self.on_delivery: Any = None
        self.gaps: list[tuple[bytes, dict[str, bytes]]] = []

    def __len__(self) -> int:
        return len(self.values)

    def produce_batch(self, _topic: str, records: list[dict[str, Any]]) -> int:
        for record in records[self.room :]:
            record["_error"] = "the queue is full"
        self.values += [record["value"] for record in records[: self.room]]
        return min(len(records), self.room)

    def produce(self, _topic: str, _value: None, key: bytes, headers: dict[str, bytes]) -> None:
        if not self.room:
            raise BufferError
        self.gaps.append((key, headers))

    def poll(self, _timeout_s: float) -> None:
        """Nothing is reported."""

    def flush(self, _timeout_s: float) -> int:
        return len(self.values)


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    made = Broker()

    def make(config: dict[str, Any]) -> Broker:
        made.on_delivery = config["on_delivery"]
        return made

    monkeypatch.setattr(producer, "make_producer", make)
    return made


@pytest.fixture
def attempts(broker: Broker) -> producer.AttemptLog:
    assert not len(broker)
    return producer.AttemptLog(KafkaConfig(bootstrap_servers="nowhere:9092"), "attempts", schema_id=1)


def add(log: producer.AttemptLog, client: int, body: bytes, *, status: int = 200) -> None:
    """A request of a client has ended."""
    delivery = replace(DELIVERY, client=ClientId(str(client)), hook_id=HookId(client))
    post = a_post(delivery)
    result = AttemptResult.DELIVERED if status == 200 else AttemptResult.ERROR_STATUS
    log.add(post, result, Answer(status, None, body, None, 0.1), partition=0, wall_ms=1_700_000_000_000)
    log.flush()


def record(key: bytes, value: bytes | None, headers: object = None) -> Any:
    """A record as the producer reports it."""
    return SimpleNamespace(key=lambda: key, value=lambda: value, headers=lambda: headers)


@pytest.mark.parametrize(("status", "kept"), [(200, 1_000), (500, 20_000)])
def test_of_a_success_the_first_thousand_bytes_are_kept(
    attempts: producer.AttemptLog, broker: Broker, status: int, kept: int
) -> None:
    add(attempts, 1, LARGE, status=status)
    assert broker.values[0].count(b"a" * kept) == 1
    assert len(broker.values[0]) < kept + 300


def test_large_answers_of_one_client_cost_no_other_client_a_record(
    attempts: producer.AttemptLog, broker: Broker
) -> None:
    for number in range(30_000):
        add(attempts, 1, LARGE, status=500)
        if number % 100 == 0:
            add(attempts, 2, b"ok")
    held = sum(map(len, broker.values))
    assert held <= 16 * 1024 * 1024, "librdkafka would refuse more"
    assert len(broker.values) + attempts.dropped == 30_300
    with capture_logs() as lines:
        attempts.poll()
        attempts.poll()
    assert [line["clients"] for line in lines] == [{"1": attempts.dropped}], (
        "told once, by client, nothing of the other"
    )


def test_what_the_producer_refuses_is_counted_by_client(attempts: producer.AttemptLog, broker: Broker) -> None:
    broker.room = 0
    add(attempts, 7, b"")
    broker.on_delivery(RuntimeError(), record(b"8", b"value"))
    with capture_logs() as lines:
        attempts.poll()
    assert lines[0]["clients"] == {"7": 1, "8": 1}
    assert attempts.dropped == 2


def test_the_attempt_log_is_told_of_whom_attempts_are_missing_as_soon_as_the_queue_takes_it(
    attempts: producer.AttemptLog, broker: Broker
) -> None:
    broker.room = 0
    for client in (7, 8, 7):
        add(attempts, client, b"")
    attempts.poll()
    assert broker.gaps == []
    broker.room = 10
    attempts.poll()
    attempts.poll()
    told = {gap.client: gap.attempts for key, headers in broker.gaps if (gap := gap_of(key, dict(headers)))}
    assert told == {"7": 2, "8": 1}


def test_a_gap_whose_record_did_not_arrive_is_told_again(attempts: producer.AttemptLog, broker: Broker) -> None:
    broker.on_delivery(RuntimeError(), record(b"7", b"value"))
    attempts.poll()
    ((key, headers),) = broker.gaps
    broker.on_delivery(RuntimeError(), record(key, None, list(headers.items())))
    attempts.poll()
    gaps = [gap_of(key, dict(headers)) for key, headers in broker.gaps]
    assert [(gap.client, gap.attempts) for gap in gaps if gap] == [("7", 1), ("7", 1)]
    assert attempts.dropped == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"7", b""),
        (b"7", b"1"),
        (b"7", b"1:x"),
        (b"x\0", b"1:2"),
        (None, b"1:2"),
        (b"7", b"-1:2"),
        (b"9" * 5_000, b"1:2"),
    ],
)
def test_what_others_write_there_is_no_gap(key: bytes | None, value: bytes) -> None:
    assert gap_of(key, [(GAP_HEADER, value)]) is None
    assert gap_of(key, None) is None
