"""A compacted topic is read whole, waits for the schema registry, and nothing counts as read that was not delivered."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaError, Message
from structlog.testing import capture_logs

from hookstream.processors.errors import ExpiredRecordsError
from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.tables import compacted_topic_reader, held_records
from hookstream.processors.tables.compacted_topic_reader import UNREADABLE, CompactedTopicReader, TopicBatch
from hookstream.producers.errors import RegistryUnavailableError
from hookstream.schemas.errors import UndecodableError
from tests.support.scripted_consumer import ScriptedConsumer, record

if TYPE_CHECKING:
    from collections.abc import Iterator

KAFKA = KafkaConfig(bootstrap_servers="k:9092", embedded=True)


@dataclass
class Registry:
    """Decodes a record while it answers."""

    away: bool = False
    asked: list[bytes | None] = field(default_factory=list)

    def decode(self, value: bytes | None) -> bytes | None:
        """Decode it as itself."""
        self.asked.append(value)
        if self.away:
            raise RegistryUnavailableError("no answer")
        if value == b"garbage":
            raise UndecodableError("no row")
        return value


@dataclass
class Clock:
    """Time that passes when it is waited for."""

    now: float = 0.0

    def __call__(self) -> float:
        """Read it."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time as the holder of records sees it."""
    clock = Clock()
    real = held_records.HeldRecords
    monkeypatch.setattr(compacted_topic_reader, "HeldRecords", lambda what: real(what, clock=clock, sleep=clock.sleep))
    return clock


@dataclass
class Reading:
    """A reader, on a topic that a test has written down."""

    reader: CompactedTopicReader[bytes | None]
    registry: Registry
    batches: list[TopicBatch[bytes | None]]

    def step(self) -> int:
        """Step, waiting for what has to be waited for."""
        return self.reader.step(5.0)

    @property
    def next_offsets(self) -> list[int]:
        """How far each batch was read."""
        return [batch.next_offsets[0] for batch in self.batches]


def reading_of(batches: list[list[Message]], monkeypatch: pytest.MonkeyPatch, *, end: int = 9) -> Reading:
    """Open a reader of these batches."""
    consumer = ScriptedConsumer(deque(batches), end=end)
    monkeypatch.setattr(compacted_topic_reader, "make_consumer", lambda _config: consumer)
    registry, seen = Registry(), list[TopicBatch[bytes | None]]()
    reader = CompactedTopicReader(KAFKA, "t", decode=registry.decode, deliver=seen.append)
    reader.open()
    return Reading(reader, registry, seen)


def trouble(code: int, *, offset: int = 0) -> Message:
    """Make what a consumer gives in place of a record."""
    return Message(topic="t", partition=0, offset=offset, error=KafkaError(code))


def _outages(lines: Iterator[str]) -> list[str]:
    return [line for line in lines if "schema registry" in line]


def test_every_outage_of_the_registry_is_told_once(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    reading = reading_of([[record(b"%d" % offset, offset=offset)] for offset in range(2)], monkeypatch)
    with capture_logs() as lines:
        for _ in range(2):
            reading.registry.away = True
            for _ in range(3):
                reading.step()  # asked, waited, asked again
            reading.registry.away = False
            clock.sleep(1.0)
            reading.step()
    told = _outages(line["event"] for line in lines)
    assert (
        told
        == [
            "a table waits for the schema registry",
            "a table waits for the schema registry no longer",
        ]
        * 2
    )


@pytest.mark.usefixtures("clock")
def test_a_row_that_came_while_the_registry_was_away_is_applied_when_it_is_back_and_nothing_after_it_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = [record(b"a", offset=0), record(b"b", offset=1), record(b"c", offset=2)]
    reading = reading_of([first, [record(b"d", offset=3)]], monkeypatch)
    reading.registry.away = True
    for _ in range(4):
        reading.step()
    assert set(reading.registry.asked) == {b"a"}
    assert reading.next_offsets == []
    reading.registry.away = False
    while len(reading.next_offsets) < 2:
        reading.step()
    assert reading.next_offsets == [3, 4]
    assert reading.registry.asked[-4:] == [b"a", b"b", b"c", b"d"]


@pytest.mark.usefixtures("clock")
def test_a_registry_that_does_not_answer_is_asked_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = reading_of([[record(b"a", offset=0)]], monkeypatch)
    reading.registry.away = True
    for _ in range(9):
        reading.reader.step(0.25)
    assert len(reading.registry.asked) == 2, "at once, and after a second"


def test_what_was_not_handed_on_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = reading_of([[record(b"a", offset=0)]], monkeypatch, end=1)

    def refuse(_batch: object) -> None:
        raise RuntimeError("the loop has ended")

    monkeypatch.setattr(reading.reader, "_deliver", refuse)
    with pytest.raises(RuntimeError):
        reading.step()
    assert not reading.reader.loaded


@pytest.mark.parametrize("code", [KafkaError._AUTO_OFFSET_RESET])
def test_a_topic_that_was_cut_is_not_loaded_by_records_that_were_not_delivered(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the reader counted records as read whose batch an error had ended."""
    reading = reading_of([[record(b"a", offset=0), trouble(code)]], monkeypatch, end=1)
    with pytest.raises(ExpiredRecordsError):
        reading.step()
    assert not reading.batches
    assert not reading.reader.loaded


def test_a_row_that_cannot_be_read_is_told_by_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = reading_of([[record(b"garbage", offset=0, key=b"1|a"), record(b"b", offset=1)]], monkeypatch, end=2)
    assert reading.step() == 2
    ((unreadable, sound),) = (batch.records for batch in reading.batches)
    assert (unreadable.key, unreadable.row, sound.row) == (b"1|a", UNREADABLE, b"b")
    assert reading.reader.loaded


def test_offsets_at_the_end_that_hold_no_record_are_passed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    end = trouble(KafkaError._PARTITION_EOF, offset=3)
    reading = reading_of([[record(b"a", offset=0), end], [end]], monkeypatch, end=3)
    assert reading.step() == 1
    assert reading.reader.loaded
    reading.step()
    assert reading.next_offsets == [3]
