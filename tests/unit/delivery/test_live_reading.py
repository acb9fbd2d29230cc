"""How far the log is read ahead, and where each record that is read goes."""

from __future__ import annotations

from hookstream.processors.delivery.engine.model import LIVE
from hookstream.processors.delivery.engine.outcome import FAILED
from hookstream.schemas.hook import HookState, Revision
from tests.support.small_engine import SmallEngine, offsets

WINDOW = {"window_records": 4, "read_ahead_records": 4, "buffer_records": 3}


def test_a_full_window_evicts_the_resource_that_holds_its_oldest_record_and_no_other() -> None:
    small = SmallEngine(**WINDOW)
    row = small.row()
    small.read(row, 1, 2, 1, 2)
    small.send()
    small.wait(small.policy.fresh_window_s)
    assert small.engine.room(LIVE) == 1
    assert small.cursor(row, 1).next == 0
    assert small.window() == [1, 3]


def test_a_window_whose_oldest_record_is_young_is_waited_for() -> None:
    small = SmallEngine(**WINDOW)
    small.read(small.row(), 1, 2, 3, 4)
    assert small.engine.room(LIVE) == 0
    assert small.window() == [0, 1, 2, 3]


def test_a_record_of_a_hook_that_the_table_does_not_know_goes_behind_a_cursor_and_an_alert_says_so() -> None:
    small, unknown = SmallEngine(), SmallEngine().row()
    small.read(unknown, 1)
    assert small.window() == [0]
    small.wait(small.policy.stale_wait_s)
    assert small.unknown == [unknown.id]
    assert small.window() == []
    assert small.cursor(unknown).next == 0


def test_a_full_window_does_not_wait_for_the_table() -> None:
    small = SmallEngine(**WINDOW)
    row = small.row()
    small.read(row, 1, 2, 3, 4, hook_revision=Revision(9))
    small.wait(small.policy.fresh_window_s)
    assert small.engine.room(LIVE) == 4
    assert small.unknown == [row.id]


def test_a_window_that_flows_is_not_read_far_ahead() -> None:
    small = SmallEngine(read_ahead_records=3)
    small.read(small.row(), 1)
    assert small.engine.room(LIVE) == 2


def test_a_record_of_a_disabled_hook_is_pending_from_a_cursor_and_in_no_window() -> None:
    small = SmallEngine()
    row = small.row(state=HookState.DISABLED)
    small.read(row, 1)
    assert small.window() == []
    assert small.cursor(row).next == 0


def test_a_record_of_a_hook_that_is_deleted_is_settled_where_it_is_read() -> None:
    small = SmallEngine()
    small.read(small.row(state=HookState.DELETED), 1)
    assert small.snapshot().offset == 1
    assert small.send() == []


def test_what_the_last_owner_settled_is_not_sent_by_a_cursor_that_opens_after_the_start() -> None:
    """Nor by one that opened before the record is read again."""
    small = SmallEngine()
    row = small.row()
    small.read(row, 1, 2, 3)
    small.answer(small.send()[1])
    after = SmallEngine(small)
    failing = after.row(1)
    after.read_log()
    after.change(failing, state=HookState.DISABLED)
    after.change(failing, revision=Revision(3), state=HookState.ENABLED)
    after.catch_up()
    assert offsets(after.send()) == [0, 2]


def test_a_record_whose_lane_has_a_resource_cursor_of_another_hook_gets_one_too() -> None:
    """Or it would overtake the record that waits for its retry."""
    small = SmallEngine(retry_in_window_s=0.5)
    first, second = small.row(1), small.row(2)
    small.read(first, 1)
    small.answer(small.send_one(), FAILED)
    small.read(second, 1)
    assert small.window() == []
    assert small.cursor(second, 1).next == 1
