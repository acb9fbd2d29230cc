"""What a worker holds of bodies is bounded in bytes, not only in records."""

from __future__ import annotations

from dataclasses import replace

from hookstream.processors.delivery.engine.catch_up import BacklogRecord
from hookstream.processors.delivery.engine.model import LIVE
from hookstream.processors.delivery.engine.stream import Stream
from hookstream.processors.delivery.engine.tracker import SettledSet
from hookstream.processors.delivery.partitions.log_reader import CHUNK_RECORDS, _ReadPosition
from hookstream.schemas.hook import HookState
from tests.support.small_engine import SmallEngine
from tests.support.values import DELIVERY

KIB = 1024


def buffered(body_bytes: int) -> int:
    """How many of 300 records, one a resource, catch-up holds of a hook that could not be sent before."""
    small = SmallEngine(buffer_records=100, buffer_bytes=64 * KIB, window_records=400, read_ahead_records=400)
    row = small.row(1, state=HookState.DISABLED)
    small.read(row, *range(300), body=b"x" * body_bytes)
    row = small.change(row, state=HookState.ENABLED)
    records = [BacklogRecord(offset, b"1", b"%c%d" % (LIVE, offset)) for offset in range(300)]
    small.engine.feed(LIVE, 0, 300, records)
    return len(small.cursor(row).buffer)


def test_a_cursor_holds_fewer_records_of_large_bodies() -> None:
    assert buffered(100) == 100
    assert buffered(8 * KIB) == 8
    assert buffered(256 * KIB) == 1, "one is always taken, or nothing would ever be sent"


def test_the_tail_of_the_live_reading_is_bounded_in_bytes() -> None:
    stream = Stream(LIVE, 0, SettledSet(0, b""))
    for offset in range(20):
        stream.remember_tail(offset, replace(DELIVERY, body=b"x" * KIB), 10, 5 * KIB)
    assert [offset for offset, _ in stream.tail] == [15, 16, 17, 18, 19]
    assert (stream.tail_start, stream.tail_bytes) == (15, 5 * KIB)
    for offset in range(20, 40):
        stream.remember_tail(offset, replace(DELIVERY, body=b""), 10, 5 * KIB)
    assert ([offset for offset, _ in stream.tail], stream.tail_bytes) == ([*range(30, 40)], 0)


def test_a_reader_fetches_no_more_ahead_than_so_many_bytes() -> None:
    position = _ReadPosition(0, 0, 0)
    for offset in range(8):
        assert not position.full
        position.push(BacklogRecord(offset, b"1", b"x" * 256 * KIB))
    assert position.full
    for _ in range(4):
        assert not position.low
        position.pop()
    assert not position.low
    position.pop()
    assert (position.low, position.ahead_bytes) == (True, 3 * 256 * KIB)


def test_a_reader_holds_so_many_small_records() -> None:
    position = _ReadPosition(0, 0, 0)
    for offset in range(2 * CHUNK_RECORDS):
        assert not position.full
        position.push(BacklogRecord(offset, b"1", b"x"))
    assert (position.full, position.low, position.next_offset) == (True, False, 2 * CHUNK_RECORDS)
    assert position.goes_on_at(CHUNK_RECORDS + 1)
    assert (position.low, position.ahead_bytes) == (True, CHUNK_RECORDS - 1)
