"""What a writer says of each record: that Kafka has it, that Kafka refuses it, or that it can write no more."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from hookstream.processors.delivery.partitions import record_writer
from hookstream.processors.delivery.partitions.record_writer import RecordWriter
from hookstream.processors.errors import ProduceFailedError
from hookstream.processors.kafka import KafkaConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

TOO_LARGE = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
FATAL = KafkaError(KafkaError._FATAL)


class Producer:
    """librdkafka's producer: it takes records, raises what a test plants, and reports when it is told to."""

    def __init__(self) -> None:
        self.raises: list[Exception] = []
        self.reports: list[Callable[[KafkaError | None, Any], None]] = []
        self.due: list[tuple[Callable[[KafkaError | None, Any], None], KafkaError | None, int | None]] = []
        self.done: list[str] = []
        self.headers: list[object] = []

    def produce(self, *_: object, on_delivery: Callable[[KafkaError | None, Any], None], headers: object) -> None:
        self.headers.append(headers)
        if self.raises:
            raise self.raises.pop(0)
        self.reports.append(on_delivery)

    def report(self, error: KafkaError | None, offset: int | None = 0) -> None:
        """Let the next poll report the oldest record."""
        self.due.append((self.reports.pop(0), error, offset))

    def poll(self, _timeout_s: float) -> None:
        due, self.due = self.due, []
        for report, error, offset in due:
            report(error, SimpleNamespace(offset=lambda at=offset: at))

    def flush(self, _timeout_s: float) -> None:
        self.done.append("flush")

    def purge(self) -> None:
        self.done.append("purge")


class Bench:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.producer = Producer()
        monkeypatch.setattr(record_writer, "make_producer", lambda _: self.producer)
        monkeypatch.setattr(record_writer, "_POLL_EVERY_S", 0.0)
        monkeypatch.setattr(record_writer, "_FIRST_RETRY_S", 0.0)
        self.ended: list[Exception] = []
        self.told: list[int | None] = []
        self.writer = RecordWriter(
            KafkaConfig(bootstrap_servers="127.0.0.1:1"), max_record_bytes=1000, failed=self.ended.append
        )

    def write(self) -> None:
        self.writer.write("t", b"k", b"v", self.told.append, retry_s=0.0)


def turns(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


async def some_turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_record_is_written_when_kafka_s_report_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        bench = Bench(monkeypatch)
        bench.write()
        await some_turns()
        assert not bench.told
        bench.producer.report(None, 77)
        await some_turns()
        assert bench.told == [77]
        assert bench.writer._timer is None, "idle it costs nothing"

    turns(main())


def test_a_report_that_names_no_offset_is_told_as_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        bench = Bench(monkeypatch)
        bench.write()
        bench.producer.report(None, None)
        await some_turns()
        assert bench.told == [None]
        assert not bench.ended

    turns(main())


@pytest.mark.parametrize("how", ["raised", "reported"])
def test_a_record_that_kafka_refuses_is_told_as_refused_after_the_call(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        bench = Bench(monkeypatch)
        if how == "raised":
            bench.producer.raises = [KafkaException(TOO_LARGE)]
        bench.write()
        assert not bench.told
        if how == "reported":
            bench.producer.report(TOO_LARGE)
        await some_turns()
        assert bench.told == [None]
        assert not bench.ended

    turns(main())


@pytest.mark.parametrize("how", ["raised", "reported"])
def test_a_producer_that_is_done_for_ends_the_worker_and_says_nothing_of_the_record(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused would mean that another try may succeed; this producer never sends again."""

    async def main() -> None:
        bench = Bench(monkeypatch)
        if how == "raised":
            bench.producer.raises = [KafkaException(FATAL)]
        bench.write()
        if how == "reported":
            bench.producer.report(FATAL)
        await some_turns()
        assert not bench.told
        assert [type(error) for error in bench.ended] == [ProduceFailedError]

    turns(main())


def test_a_record_that_finds_the_queue_full_is_written_later(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        bench = Bench(monkeypatch)
        bench.producer.raises = [BufferError(), BufferError()]
        bench.write()
        await some_turns()
        assert not bench.producer.raises
        bench.producer.report(None, 5)
        await some_turns()
        assert bench.told == [5]

    turns(main())


def test_at_the_end_what_is_unsent_is_sent_for_a_moment_and_then_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        bench = Bench(monkeypatch)
        bench.write()
        bench.writer.close()
        assert bench.producer.done == ["flush", "purge"]
        assert not bench.told

    turns(main())


def test_an_error_that_calls_itself_fatal_ends_the_writer_and_refuses_no_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        bench = Bench(monkeypatch)
        bench.write()
        bench.producer.report(KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "out of order", fatal=True))
        await some_turns()
        assert bench.told == [], "a dead letter that was refused would be written without its bytes"
        assert [type(error) for error in bench.ended] == [ProduceFailedError]

    turns(main())
