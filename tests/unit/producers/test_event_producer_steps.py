"""The producer's locks, waits and order of steps, with a double of Kafka's client that settles when a test says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from sqlalchemy import create_engine

from hookstream.producers import event_producer as module
from hookstream.producers.config import ProducerConfig
from hookstream.producers.deadline import Deadline
from hookstream.producers.errors import (
    DeliveryFailedError,
    FlushTimeoutError,
    ProducerClosedError,
    QueueFullError,
    RegistryUnavailableError,
)
from hookstream.producers.event_producer import EventProducer, _failed
from hookstream.producers.outbox import create_tables, enqueue
from hookstream.producers.receipt import Receipt
from hookstream.schemas.errors import InvalidValueError, UnknownEventError
from hookstream.schemas.event import Concept, Event, EventName
from tests.support.values import EVENT, an_event

Report = Callable[[KafkaError | None, Any], None]


class Kafka:
    """Takes `room` records; `settle` reports the oldest."""

    def __init__(self, config: dict[str, object]) -> None:
        self.config = config
        self.room = 1000
        self.refuses: KafkaException | None = None
        self.waiting: list[Report] = []
        self.steps: list[str] = []
        self.on_poll: Callable[[], object] = lambda: None

    def produce(self, _topic: str, _value: bytes, _key: bytes, *, on_delivery: Report, headers: object) -> None:
        del headers
        if self.refuses is not None:
            raise self.refuses
        if len(self.waiting) >= self.room:
            raise BufferError
        self.waiting.append(on_delivery)

    def settle(self, error: KafkaError | None = None, *, offset: int | None = 4) -> None:
        self.waiting.pop(0)(error, SimpleNamespace(partition=lambda: 3, offset=lambda: offset))

    def poll(self, timeout_s: float) -> int:
        if threading.current_thread() is threading.main_thread():
            self.on_poll()
        else:
            self.polled.wait(timeout_s)
        return 0

    def flush(self, _timeout_s: float) -> int:
        self.steps.append("flush")
        return len(self.waiting)

    def purge(self) -> None:
        self.steps.append("purge")
        while self.waiting:
            self.settle(KafkaError(KafkaError._PURGE_QUEUE))

    polled = threading.Event()


class Registry:
    """Gives ids; counts how often it is asked, and says when."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.inside = threading.Barrier(1)
        self.error: Exception | None = None
        self.closed = False

    def id_for(self, subject: str, _text: str) -> int:
        self.asked.append(subject)
        if self.error is not None:
            raise self.error
        return 1

    def wait_for(self, question: Callable[[], int], _deadline_s: float) -> int:
        return question()

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch, registry: Registry) -> Iterator[EventProducer]:
    monkeypatch.setattr(module, "Producer", Kafka)
    monkeypatch.setattr(module, "_POLL_S", 0.01)
    config = ProducerConfig(bootstrap_servers="k", schema_registry_url="http://r", close_deadline_s=0.0)
    made = EventProducer(config, registry=registry)  # type: ignore[arg-type]
    yield made
    kafka_of(made).purge()
    made.close(0.0)


def kafka_of(producer: EventProducer) -> Kafka:
    return producer._kafka  # type: ignore[return-value]


def test_a_receipt_comes_with_the_report_and_not_before(producer: EventProducer) -> None:
    future = producer.produce(EVENT)
    assert not future.done()
    assert not future.cancel(), "it is on its way"
    kafka_of(producer).settle()
    assert future.result(0) == Receipt("events.property", 3, 4)


@pytest.mark.parametrize(
    ("code", "retriable", "refused"),
    [
        (KafkaError._FATAL, False, False),
        (KafkaError.MSG_SIZE_TOO_LARGE, False, True),
        (KafkaError.INVALID_RECORD, False, True),
        (KafkaError._MSG_TIMED_OUT, True, False),
        (KafkaError._PURGE_QUEUE, True, False),
        (KafkaError.NOT_ENOUGH_REPLICAS, True, False),
    ],
)
def test_what_a_refusal_means(producer: EventProducer, code: int, *, retriable: bool, refused: bool) -> None:
    future = producer.produce(EVENT)
    kafka_of(producer).settle(KafkaError(code))
    error = future.exception(0)
    assert isinstance(error, DeliveryFailedError)
    assert (error.retriable, error.record_refused) == (retriable, refused)
    kafka_of(producer).refuses = KafkaException(KafkaError(code))
    with pytest.raises(DeliveryFailedError) as caught:
        producer.produce(EVENT)
    assert caught.value.retriable == retriable


def test_a_report_that_names_no_offset_is_no_receipt(producer: EventProducer) -> None:
    future = producer.produce(EVENT)
    kafka_of(producer).settle(offset=None)
    error = future.exception(0)
    assert isinstance(error, DeliveryFailedError)
    assert error.retriable


def test_after_a_fatal_error_of_the_client_nothing_is_retriable() -> None:
    """The client is done for: whoever tries the same call again tries without end."""
    fatal = KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "lost", True)
    assert fatal.fatal()
    assert not _failed("t", fatal).retriable


def test_flush_waits_for_what_callbacks_of_receipts_do(producer: EventProducer) -> None:
    """Kafka's own flush returns when reports were handed over; a receipt's callbacks may still run."""
    future = producer.produce(EVENT)
    done: list[int] = []
    future.add_done_callback(lambda _: done.append(1))
    threading.Timer(0.01, kafka_of(producer).settle).start()
    producer.flush(10.0)
    assert done == [1]
    assert future.done()


def test_flush_says_what_was_not_acknowledged(producer: EventProducer) -> None:
    producer.produce(EVENT)
    with pytest.raises(FlushTimeoutError, match="1 events"):
        producer.flush(0.0)


def test_a_full_queue_is_waited_for_and_given_up_at_its_deadline(
    producer: EventProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka = kafka_of(producer)
    kafka.room = 0
    clock = iter(range(1000))
    after = partial(Deadline.after, monotonic_s=lambda: float(next(clock)))
    monkeypatch.setattr(module, "Deadline", SimpleNamespace(after=after))
    with pytest.raises(QueueFullError) as caught:
        producer.produce(EVENT)
    assert caught.value.retriable
    producer.flush(0.0)  # what was not accepted is not awaited

    kafka.on_poll = lambda: setattr(kafka, "room", 1)
    producer.produce(EVENT)
    assert len(kafka.waiting) == 1


def test_the_first_events_of_a_namespace_ask_the_registry_once(
    producer: EventProducer, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2)
    asked = registry.wait_for

    def slow(question: Callable[[], int], deadline_s: float) -> int:
        assert not producer._values._encoders, "the second looks again when it has the lock"
        return asked(question, deadline_s)

    monkeypatch.setattr(registry, "wait_for", slow)

    def produce() -> None:
        both.wait(10)
        producer.produce(EVENT)

    threads = [threading.Thread(target=produce) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert registry.asked == ["events.property-value"]
    assert len(kafka_of(producer).waiting) == 2


def test_an_id_that_could_not_be_had_is_asked_for_again(producer: EventProducer, registry: Registry) -> None:
    registry.error = RegistryUnavailableError("no answer")
    with pytest.raises(RegistryUnavailableError):
        producer.produce(EVENT)
    registry.error = None
    producer.produce(EVENT)
    assert len(registry.asked) == 2


def test_closing_gives_up_what_is_left_and_says_so(producer: EventProducer, registry: Registry) -> None:
    future = producer.produce(EVENT)
    with pytest.raises(FlushTimeoutError):
        producer.close(0.0)
    assert kafka_of(producer).steps == ["flush", "purge", "flush"]
    assert isinstance(future.exception(0), DeliveryFailedError)
    assert not producer._poller.is_alive()
    assert not registry.closed, "it is the caller's"
    producer.close(0.0)
    with pytest.raises(ProducerClosedError):
        producer.produce(EVENT)


def test_nothing_is_accepted_once_closing_has_begun(producer: EventProducer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or it would be dropped without a word by whoever closes."""
    refused: list[type[Exception]] = []

    def flush(_deadline_s: float) -> None:
        try:
            producer.produce(EVENT)
        except ProducerClosedError as exc:
            refused.append(type(exc))

    monkeypatch.setattr(producer, "flush", flush)
    producer.close(0.0)
    assert refused == [ProducerClosedError]


# --- the outbox -------------------------------------------------------------------------------------------------------


class NoSql:
    """A connection that must not be used."""

    def __getattr__(self, name: str) -> object:
        msg = f"{name}: SQL before the event was checked"
        raise AssertionError(msg)


def with_sub(text: object) -> Event:
    concept = Concept(id=1, namespace="lead", sub_namespace=text)  # type: ignore[arg-type]
    return Event(name=EventName("lead.new"), client=1, concept=concept, occurred_at_ms=1)


@pytest.mark.parametrize("text", ["a\0b", "\0", "\ud800", "a\udfff", 3, b"x"])
def test_what_a_database_or_avro_cannot_keep_is_refused_before_any_sql(text: object) -> None:
    """The caller's transaction stays usable."""
    with pytest.raises(InvalidValueError, match="sub_namespace"):
        enqueue(NoSql(), with_sub(text))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["lead.nwe", "lead.new\0", "lead.\ud800", ""])
def test_an_unknown_event_is_refused_before_any_sql(name: str) -> None:
    with pytest.raises(UnknownEventError) as caught:
        enqueue(NoSql(), an_event(name))  # type: ignore[arg-type]
    str(caught.value).encode()  # it can be logged


@pytest.mark.parametrize("text", ["", "é", "日本", "\x01", "😀"])
def test_any_other_text_is_kept(text: str) -> None:
    engine = create_engine("sqlite://")
    create_tables(engine)
    with engine.begin() as connection:
        enqueue(connection, with_sub(text))
    engine.dispose()


def test_every_way_in_has_the_same_check(producer: EventProducer) -> None:
    with pytest.raises(InvalidValueError, match="sub_namespace"):
        producer.produce(with_sub("a\0b"))
    assert kafka_of(producer).waiting == []


def test_a_future_that_was_given_out_is_settled_once(producer: EventProducer) -> None:
    futures: list[Future[Receipt]] = [producer.produce(EVENT) for _ in range(3)]
    for _ in futures:
        kafka_of(producer).settle()
    assert all(future.done() for future in futures)
    producer.flush(0.0)
