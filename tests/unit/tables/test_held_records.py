"""A reader of a table waits for the schema registry, as often as it is unavailable, and says so each time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.tables import endpoint_settings as control_table
from hookstream.processors.tables import held_records, table_reader
from hookstream.processors.tables.endpoint_settings import ControlReader, SettingsBatch
from hookstream.processors.tables.table_reader import TableBatch, TableReader
from hookstream.producers.errors import RegistryUnavailableError
from tests.support.scripted_consumer import ScriptedConsumer, record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from confluent_kafka import Message

KAFKA = KafkaConfig(bootstrap_servers="k:9092", embedded=True)


@dataclass
class Registry:
    """Decodes a record while it answers."""

    away: bool = False
    asked: list[bytes | None] = field(default_factory=list)

    def decode(self, value: bytes | None) -> None:
        """Decode it as a tombstone."""
        self.asked.append(value)
        if self.away:
            raise RegistryUnavailableError("no answer")


@dataclass
class Clock:
    """Time that passes when the reader waits."""

    now: float = 0.0

    def __call__(self) -> float:
        """Read it."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time as every holder of records sees it."""
    clock = Clock()
    real = held_records.HeldRecords
    for module in (table_reader, control_table):
        monkeypatch.setattr(module, "HeldRecords", lambda what: real(what, clock=clock, sleep=clock.sleep))
    return clock


@dataclass
class Reading:
    """One of the two readers, on a topic that a test has written down."""

    step: Callable[[float], int]
    registry: Registry
    next_offsets: list[int]


def _table(batches: list[list[Message]], monkeypatch: pytest.MonkeyPatch) -> Reading:
    monkeypatch.setattr(table_reader, "make_consumer", lambda _config: ScriptedConsumer(deque(batches), end=9))
    registry, seen = Registry(), list[int]()

    def deliver(batch: TableBatch) -> None:
        seen.append(batch.next_offset)

    reader = TableReader(KAFKA, "t", decode=registry.decode, deliver=deliver)
    reader.open()
    return Reading(reader.step, registry, seen)


def _control(batches: list[list[Message]], monkeypatch: pytest.MonkeyPatch) -> Reading:
    monkeypatch.setattr(control_table, "make_consumer", lambda _config: ScriptedConsumer(deque(batches), end=9))
    registry, seen = Registry(), list[int]()

    def deliver(batch: SettingsBatch) -> None:
        seen.extend(batch.next_offsets.values())

    reader = ControlReader(KAFKA, "t", decode=registry.decode, deliver=deliver)
    reader.open()
    return Reading(reader.step, registry, seen)


READERS = pytest.mark.parametrize("make", [_table, _control], ids=["subscriptions", "control"])


def _outages(lines: Iterator[str]) -> list[str]:
    return [line for line in lines if "schema registry" in line]


@READERS
def test_every_outage_of_the_registry_is_told_once(
    make: Callable[[list[list[Message]], pytest.MonkeyPatch], Reading], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = make([[record(b"%d" % offset, offset=offset)] for offset in range(2)], monkeypatch)
    with capture_logs() as lines:
        for _ in range(2):
            reading.registry.away = True
            for _ in range(3):
                reading.step(5.0)  # asked, waited, asked again
            reading.registry.away = False
            clock.sleep(1.0)
            reading.step(5.0)
    told = _outages(line["event"] for line in lines)
    assert (
        told
        == [
            "a table waits for the schema registry",
            "a table waits for the schema registry no longer",
        ]
        * 2
    )


@READERS
@pytest.mark.usefixtures("clock")
def test_a_row_that_came_while_the_registry_was_away_is_applied_when_it_is_back_and_nothing_after_it_before(
    make: Callable[[list[list[Message]], pytest.MonkeyPatch], Reading], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = [record(b"a", offset=0), record(b"b", offset=1), record(b"c", offset=2)]
    reading = make([first, [record(b"d", offset=3)]], monkeypatch)
    reading.registry.away = True
    for _ in range(4):
        reading.step(5.0)
    assert set(reading.registry.asked) == {b"a"}
    assert reading.next_offsets == []
    reading.registry.away = False
    while len(reading.next_offsets) < 2:
        reading.step(5.0)
    assert reading.next_offsets == [3, 4]
    assert reading.registry.asked[-4:] == [b"a", b"b", b"c", b"d"]
