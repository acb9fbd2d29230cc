"""A replay's records: where first deliveries end at that moment, each written once, and what a failed report means."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException, Message

from hookstream.processors.deadline import Deadline
from hookstream.processors.errors import KafkaUnavailableError, ProduceFailedError, StoppedError
from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.lifecycle import StopSignal
from hookstream.processors.operations.replays import writer as module
from hookstream.processors.operations.replays.writer import ReplayWriter
from hookstream.schemas.delivery import Delivery, DeliveryId
from hookstream.schemas.event import ClientId
from hookstream.schemas.topics import TopicNames
from tests.support.values import DELIVERY

if TYPE_CHECKING:
    from collections.abc import Callable

DELIVERIES = [replace(DELIVERY, id=DeliveryId(f"msg_{number}")) for number in range(4)]


@dataclass
class Producer:
    """Acknowledges in each poll what its queue of `room` records holds, or answers with `errors`."""

    room: int = 2
    errors: deque[KafkaError] = field(default_factory=deque)
    silent: bool = False
    raises: KafkaException | None = None
    queue: deque[Callable[..., None]] = field(default_factory=deque)
    written: list[Delivery] = field(default_factory=list)
    purged: bool = False

    def produce(self, _topic: str, value: Any, _key: bytes, _partition: int, *, on_delivery: Any) -> None:
        """Take a record."""
        if self.raises is not None:
            raise self.raises
        if len(self.queue) >= self.room:
            raise BufferError
        self.queue.append(on_delivery)
        self.written.append(value)

    def poll(self, _timeout_s: float) -> None:
        """Report."""
        while self.queue and not self.silent:
            self.queue.popleft()(self.errors.popleft() if self.errors else None, Message(offset=17))

    def purge(self, **_: bool) -> None:
        """Note it."""
        self.purged = True


@dataclass
class Live:
    """The topic of first deliveries, which grows. Its leaders answer after `late_s`."""

    end: int = 10
    late_s: float = 0.0
    now: float = 100.0
    asked_s: list[float] = field(default_factory=list)

    def end_offset(self, _consumer: object, _topic: str, _partition: int, *, timeout_s: float) -> int:
        """Answer, or not in time."""
        self.asked_s.append(timeout_s)
        self.now += min(self.late_s, timeout_s)
        if self.late_s > timeout_s:
            raise KafkaUnavailableError("no answer")
        return self.end

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Live:
    made = Live()
    monkeypatch.setattr(module, "make_consumer", lambda _config: made)
    monkeypatch.setattr(module, "partitions_of", lambda _consumer, _topic, **_within: range(4))
    monkeypatch.setattr(module, "end_offset", made.end_offset)
    return made


def writer_of(monkeypatch: pytest.MonkeyPatch, *producers: Producer, within_s: float | None = 5.0) -> ReplayWriter:
    left = list(producers)
    monkeypatch.setattr(module, "make_producer", lambda _config: left.pop(0))
    return ReplayWriter(
        KafkaConfig(bootstrap_servers="k:9092"),
        TopicNames(),
        encode=lambda delivery: cast("bytes", delivery),
        acknowledged_within_s=within_s,
        now_ms=lambda: 77,
    )


def test_each_batch_carries_the_end_of_that_moment_and_a_full_queue_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, live: Live
) -> None:
    producer = Producer()
    writer = writer_of(monkeypatch, producer)
    writer.write(DELIVERIES, job="1")
    live.end = 20
    writer.write(DELIVERIES[:1], job="1")
    assert [each.id for each in producer.written] == [each.id for each in [*DELIVERIES, DELIVERIES[0]]]
    assert [each.live_end for each in producer.written] == [10, 10, 10, 10, 20]
    assert {(each.replay, each.replayed_at_ms) for each in producer.written} == {("1", 77)}


def test_a_batch_whose_leaders_answer_late_is_given_up_in_its_time(monkeypatch: pytest.MonkeyPatch, live: Live) -> None:
    monkeypatch.setattr(
        module, "Deadline", SimpleNamespace(after=lambda within_s: Deadline.after(within_s, lambda: live.now))
    )
    clients = [replace(DELIVERY, client=ClientId(str(client))) for client in range(9)]
    live.late_s, producer = 2.0, Producer()
    with pytest.raises(KafkaUnavailableError):
        writer_of(monkeypatch, producer, within_s=5.0).write(clients, job="1")
    assert live.asked_s == [5.0, 3.0, 1.0]
    assert not producer.written, "its lease may be another one's by now"
    live.late_s = 0.1
    writer_of(monkeypatch, producer, within_s=5.0).write(clients, job="1")
    assert len(producer.written) == 9


@pytest.mark.parametrize(
    ("code", "raised"),
    [
        (KafkaError._MSG_TIMED_OUT, KafkaUnavailableError),
        (KafkaError._GAPLESS_GUARANTEE, KafkaUnavailableError),
        (KafkaError.DUPLICATE_SEQUENCE_NUMBER, KafkaUnavailableError),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, ProduceFailedError),
        (KafkaError.MSG_SIZE_TOO_LARGE, ProduceFailedError),
    ],
)
@pytest.mark.usefixtures("live")
def test_a_failed_report_says_whether_another_try_may_succeed_and_ends_the_producer(
    monkeypatch: pytest.MonkeyPatch, code: int, raised: type[Exception]
) -> None:
    for failed in (Producer(errors=deque([KafkaError(code)])), Producer(raises=KafkaException(KafkaError(code)))):
        writer = writer_of(monkeypatch, failed, Producer())
        with pytest.raises(raised):
            writer.write(DELIVERIES, job="1")
        assert failed.purged, "what is unsent would be written behind what is written next"
        writer.write(DELIVERIES, job="1")


@pytest.mark.usefixtures("live")
def test_a_record_without_a_report_ends_at_the_deadline_or_when_a_stop_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_REPORT_GRACE_S", 0.0)
    with pytest.raises(KafkaUnavailableError, match="in time"):
        writer_of(monkeypatch, Producer(silent=True), within_s=0.0).write(DELIVERIES[:1], job="1")
    stop = StopSignal()
    stop.ask()
    with pytest.raises(StoppedError):
        writer_of(monkeypatch, Producer(silent=True), within_s=None).write(DELIVERIES[:1], job="1", stop=stop)
