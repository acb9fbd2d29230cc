"""What an error of the Kafka client says to whoever produced: try again, give the record up, or make a new producer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from hookstream.producers import event_producer
from hookstream.producers.config import ProducerConfig
from hookstream.producers.errors import DeliveryFailedError
from hookstream.producers.event_producer import EventProducer
from tests.support.values import EVENT

if TYPE_CHECKING:
    from collections.abc import Iterator


class Registry:
    """Knows every schema under one id."""

    def wait_for(self, ask: Any, _deadline_s: float) -> int:
        answer: int = ask()
        return answer

    def id_for(self, _subject: str, _text: str) -> int:
        return 7


class Client:
    """librdkafka's producer, which raises or reports what a test plants."""

    raises: KafkaError | None = None
    reports: KafkaError | None = None

    def __init__(self, _config: object) -> None:
        pass

    def produce(self, *_: object, on_delivery: Any, **__: object) -> None:
        if Client.raises is not None:
            raise KafkaException(Client.raises)
        on_delivery(Client.reports, None)

    def poll(self, _timeout_s: float) -> None:
        pass

    def flush(self, _timeout_s: float) -> None:
        pass


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> Iterator[EventProducer]:
    monkeypatch.setattr(event_producer, "Producer", Client)
    monkeypatch.setattr(event_producer, "_POLL_S", 0.001)
    monkeypatch.setattr(Client, "raises", None)
    monkeypatch.setattr(Client, "reports", None)
    config = ProducerConfig(bootstrap_servers="127.0.0.1:1", schema_registry_url="mock://refused")
    with EventProducer(config, registry=Registry()) as made:  # type: ignore[arg-type]
        yield made


def failure(producer: EventProducer, error: KafkaError, how: str) -> DeliveryFailedError:
    """The error that a producing service gets."""
    if how == "raised":
        Client.raises = error
        with pytest.raises(DeliveryFailedError) as raised:
            producer.produce(EVENT)
        return raised.value
    Client.reports = error
    found = producer.produce(EVENT).exception(1)
    assert isinstance(found, DeliveryFailedError)
    return found


@pytest.mark.parametrize("how", ["raised", "reported"])
@pytest.mark.parametrize(
    "error",
    [
        KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "the first one", fatal=True),
        KafkaError(KafkaError._FATAL, "every one after it, which does not say that it is fatal"),
        KafkaError(KafkaError.PRODUCER_FENCED, "another", fatal=True),
    ],
    ids=["the first", "those after it", "fenced"],
)
def test_after_a_fatal_error_of_the_kafka_client_a_receipt_s_error_is_not_retriable(
    producer: EventProducer, error: KafkaError, how: str
) -> None:
    """Only a new producer helps: who tries this one again would try for ever."""
    failed = failure(producer, error, how)
    assert not failed.retriable
    assert not failed.record_refused


@pytest.mark.parametrize("how", ["raised", "reported"])
@pytest.mark.parametrize(
    ("code", "retriable", "record_refused"),
    [
        (KafkaError._MSG_TIMED_OUT, True, False),
        (KafkaError.NOT_ENOUGH_REPLICAS, True, False),
        (KafkaError.MSG_SIZE_TOO_LARGE, False, True),
        (KafkaError.INVALID_RECORD, False, True),
    ],
)
def test_other_errors_say_whether_the_same_may_succeed_later(
    producer: EventProducer, how: str, code: int, retriable: bool, record_refused: bool
) -> None:
    failed = failure(producer, KafkaError(code), how)
    assert (failed.retriable, failed.record_refused) == (retriable, record_refused)
