"""Everything from an offset on is pending from a cursor; a backlog keeps what a later cursor must not deliver again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from hookstream.processors.delivery.engine.model import Backlog, Cursor
from hookstream.processors.delivery.engine.retry_schedule import FRESH, LaneClock

if TYPE_CHECKING:
    from hookstream.processors.delivery.engine.model import Pending


def buffered(cursor: Cursor, *offsets: int) -> Cursor:
    """Let catch-up have read so far."""
    for offset in offsets:
        cursor.buffer[offset] = cast("Pending", SimpleNamespace(offset=offset))
        cursor.scan = offset + 1
    return cursor


def test_a_cursor_may_owe_the_first_that_it_buffered_else_where_it_reads_on() -> None:
    cursor = Cursor(10, set(), None)
    assert cursor.next == 10
    assert buffered(cursor, 12, 15).next == 12
    del cursor.buffer[12]
    assert cursor.next == 15


def test_a_rewind_forgets_the_buffer_and_reads_it_again_from_its_first() -> None:
    cursor = buffered(Cursor(10, set(), None), 12, 15)
    assert [pending.offset for pending in cursor.rewind()] == [12, 15]
    assert (cursor.scan, cursor.buffer) == (12, {})


def test_a_cursor_keeps_the_settled_offsets_above_what_it_owes_and_no_others() -> None:
    cursor = buffered(Cursor(10, {11, 13, 20}, None), 12)
    cursor.trim()
    assert cursor.settled == {13, 20}


def test_a_cursor_forgets_settled_offsets_by_itself_before_they_are_many() -> None:
    cursor = Cursor(0, set(), None)
    for offset in range(1_000):
        cursor.scan = offset + 1
        cursor.settle(offset)
    assert len(cursor.settled) < 64


def test_a_resource_with_a_cursor_of_its_own_is_not_owed_by_the_hooks() -> None:
    backlog = Backlog()
    backlog.cursor, backlog.resource_cursors["a"] = Cursor(10, set(), None), Cursor(20, set(), "a")
    assert backlog.cursor_for("a") is backlog.resource_cursors["a"]
    assert backlog.cursor_for("b") is backlog.cursor
    assert set(backlog.cursors()) == {backlog.cursor, backlog.resource_cursors["a"]}


def test_a_resource_of_which_nothing_failed_has_a_fresh_clock() -> None:
    backlog = Backlog()
    backlog.clocks["a"] = LaneClock(attempts=2)
    assert backlog.clock("a").attempts == 2
    assert backlog.clock("b") is FRESH


def test_settled_records_are_remembered_only_while_a_cursor_may_open_below_them() -> None:
    backlog = Backlog()
    backlog.remember(5, "a", lowest=0)
    assert backlog.settled == []
    backlog.window[4] = cast("Pending", SimpleNamespace(offset=4))
    backlog.remember(6, "a", lowest=0)
    assert backlog.settled == [(6, "a")]
    del backlog.window[4]
    backlog.remember(7, "a", lowest=0)
    assert backlog.settled == []


def test_of_many_settled_records_those_below_every_cursor_and_the_window_are_forgotten() -> None:
    backlog = Backlog()
    backlog.cursor = Cursor(50, set(), None)
    for offset in range(64):
        backlog.remember(offset, "a", lowest=0)
    assert backlog.settled == [(offset, "a") for offset in range(50, 64)]


def test_a_backlog_is_empty_when_neither_window_nor_cursor_nor_clock_needs_it() -> None:
    none, clock, cursor = Backlog(), Backlog(), Backlog()
    clock.clocks["a"] = LaneClock(schedule_exhausted=True)
    cursor.resource_cursors["a"] = Cursor(1, set(), "a")
    assert [backlog.empty for backlog in (none, clock, cursor)] == [True, False, False]
