"""Which part of the log is read again, and what becomes of each record there."""

from __future__ import annotations

from hookstream.processors.delivery.engine.catch_up import BacklogRecord
from hookstream.processors.delivery.engine.model import LIVE
from hookstream.processors.delivery.engine.outcome import FAILED
from hookstream.schemas.delivery import DeadLetterReason
from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import Hook, HookState
from tests.support.small_engine import SmallEngine, offsets

DAY_S = 24 * 3600.0


def backlogs(small: SmallEngine, *numbers: int) -> list[Hook]:
    """Hooks with one record each, pending from a cursor that wants it read."""
    rows = [small.row(number, state=HookState.DISABLED) for number in numbers]
    for row in rows:
        small.read(row, 1)
    return [small.change(row, state=HookState.ENABLED) for row in rows]


def test_nothing_is_read_where_nothing_is_pending_or_nothing_of_it_may_be_sent() -> None:
    small = SmallEngine()
    small.read(small.row(1), 1)
    small.read(small.row(2, state=HookState.DISABLED), 1)
    assert small.engine.plan(LIVE) is None


def test_the_reader_goes_where_a_cursor_has_waited_longest() -> None:
    small = SmallEngine()
    first, second = backlogs(small, 1, 2)
    small.cursor(first).unserved_since = small.now + 1.0
    assert small.engine.plan(LIVE) == 1
    small.cursor(second).unserved_since = small.now + 2.0
    assert small.engine.plan(LIVE) == 0


def test_the_reader_goes_on_where_it_stands_if_that_is_wanted() -> None:
    small = SmallEngine()
    backlogs(small, 1, 2)
    assert small.engine.plan(LIVE, at=1) == 1
    assert small.engine.plan(LIVE, at=7) == 0


def test_two_readers_share_what_is_near_the_position_and_what_is_far_from_it() -> None:
    small = SmallEngine(window_records=2, read_ahead_records=2, buffer_records=1)
    backlogs(small, 1, 2, 3)
    assert small.engine.plan(LIVE, near=False) == 0
    assert small.engine.plan(LIVE, near=True) == 1


def test_records_of_clients_without_a_backlog_are_not_decoded() -> None:
    small = SmallEngine()
    (row,) = backlogs(small, 1)
    small.read(small.row(2, client=ClientId("2")), 1)
    records = [BacklogRecord(0, b"1", b"%c%d" % (LIVE, 0)), BacklogRecord(1, b"2", b"no record")]
    small.engine.feed(LIVE, 0, 2, records)
    assert list(small.cursor(row).buffer) == [0]


def test_a_cursor_reads_no_further_than_its_buffer_holds_and_goes_on_when_half_of_it_is_free() -> None:
    small = SmallEngine(window_records=4, read_ahead_records=4, buffer_records=2)
    row = small.row(state=HookState.DISABLED)
    small.read(row, 1, 2, 3, 4, 5)
    small.change(row, state=HookState.ENABLED)
    small.read_backlog()
    assert list(small.cursor(row).buffer) == [0, 1]
    assert small.engine.plan(LIVE) is None
    small.answer(small.send()[0])
    assert small.engine.plan(LIVE) == 2


def test_what_was_settled_above_a_cursor_is_not_buffered() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1, 2)
    small.answer(small.send()[1])
    row = small.change(row, state=HookState.DISABLED)
    small.change(row, state=HookState.ENABLED)
    small.read_backlog()
    assert list(small.cursor(row).buffer) == [0]


def test_a_record_that_is_too_old_goes_to_the_dead_letters_while_its_endpoint_is_quarantined() -> None:
    small = SmallEngine()
    row = small.row()
    small.quarantine(row)
    small.wait(6 * DAY_S + 1)
    small.read(row, 103, arrived_ms=small.wall_ms)
    small.read_backlog()
    assert {(pending.offset, reason) for _, pending, reason in small.dead_letters} == {
        (0, DeadLetterReason.EXPIRED),
        (1, DeadLetterReason.EXPIRED),
    }
    assert small.cursor(row).scan == 2, "what follows is kept"


def test_a_record_that_the_hook_no_longer_wants_is_settled_where_it_is_read() -> None:
    small = SmallEngine()
    row = small.row(state=HookState.DISABLED)
    small.read(row, 1)
    row = small.change(row, state=HookState.ENABLED, not_before_ms=small.wall_ms)
    small.read(row, 1, arrived_ms=small.wall_ms)
    small.read_backlog()
    assert list(small.cursor(row).buffer) == [1]
    assert offsets(small.send()) == [1]


def test_where_retention_passed_a_cursor_it_goes_on_at_the_low_watermark_and_says_how_much_may_be_lost() -> None:
    small = SmallEngine()
    row = small.row(state=HookState.DISABLED)
    small.read(row, 1, 2, 3)
    small.change(row, state=HookState.ENABLED)
    assert small.engine.lose_below(LIVE, 2) == 2
    assert small.engine.lose_below(LIVE, 2) == 0
    small.catch_up()
    assert small.window() == [2]


def test_what_waits_behind_a_cursor_goes_on_where_retention_moves_that_cursor_after_a_restart() -> None:
    """Live reading has not read everything again yet, so no cursor rejoins, but catch-up goes on."""
    small = SmallEngine()
    first, second = small.row(1), small.row(2)
    other = small.row(3, client=ClientId("2"))
    small.read(first, 9)
    small.answer(small.send_one())
    small.read(first, 1)
    small.answer(small.send_one(), FAILED)
    for wait_s in small.policy.full_schedule_s[:3]:
        small.wait(wait_s)
        small.answer(small.send_one(), FAILED)
    assert small.cursor(first, 1).next == 1  # its next attempt is in minutes
    small.read(second, 1)
    small.read(other, 1, 2)
    small.answer(small.send()[1])
    restarted = SmallEngine(small)
    restarted.wait(0.0)
    restarted.read_backlog()
    assert offsets(restarted.send()) == []
    restarted.engine.lose_below(LIVE, 3)
    restarted.wait(0.0)
    assert offsets(restarted.send()) == [2]
