"""Moves that take records out of the window, so that others do not wait for them."""

from __future__ import annotations

from hookstream.processors.delivery.engine.model import LIVE
from hookstream.processors.delivery.engine.outcome import FAILED
from hookstream.schemas.delivery import DeadLetterReason
from hookstream.schemas.hook import HookState, NoticeKind
from tests.support.small_engine import SmallEngine, offsets


def test_an_endpoint_in_quarantine_takes_what_it_is_owed_out_of_the_window_and_leaves_others_alone() -> None:
    small = SmallEngine()
    failing, well = small.row(1), small.row(2, target="https://two.example/")
    small.quarantine(failing)
    small.read(well, 1)
    small.read(failing, 3)
    assert small.window() == [2]
    assert offsets(small.send()) == [2]
    assert small.cursor(failing).next == 0


def test_a_quarantine_is_ended_by_a_probe_with_the_window_as_it_was() -> None:
    small = SmallEngine()
    row = small.row()
    small.quarantine(row)
    small.answer(small.probe(row))
    small.catch_up()
    assert small.window() == [1]
    assert not small.stream().hooks_with_cursor


def test_a_resource_behind_a_cursor_takes_along_what_other_hooks_of_the_endpoint_are_owed_of_it() -> None:
    """Or a later record of the resource would overtake the one that waits for its retry."""
    small = SmallEngine(retry_in_window_s=0.5)
    first, second = small.row(1), small.row(2)
    small.read(first, 1)
    small.read(second, 1, 2)
    small.answer(small.send()[0], FAILED)
    assert (small.cursor(first, 1).next, small.cursor(second, 1).next) == (0, 1)
    small.read(second, 1, 2)
    assert small.window() == [2, 4]


def test_more_resource_cursors_than_an_endpoint_may_have_become_one_for_each_hook() -> None:
    small = SmallEngine(retry_in_window_s=0.5, max_resource_cursors=2, breaker_after_s=1e9)
    row = small.row()
    small.read(row, 1, 2, 3)
    for post in small.send():
        small.answer(post, FAILED)
    assert small.backlog(row).cursor is not None
    assert small.endpoint(row).from_backlog[LIVE]


def test_an_endpoint_that_holds_much_of_the_window_for_long_goes_behind_cursors_and_into_no_quarantine() -> None:
    small = SmallEngine(window_records=8, read_ahead_records=8, buffer_records=4)
    row = small.row()
    small.read(row, 1, 1)
    small.wait(small.policy.lagging_s)
    assert small.window() == [0, 1]
    small.read(row, 1)
    assert small.window() == []
    assert small.endpoint(row).from_backlog[LIVE]
    assert not small.endpoint(row).health.breaker_open


def test_an_endpoint_that_holds_much_of_the_window_for_a_moment_stays_there() -> None:
    small = SmallEngine(window_records=8, read_ahead_records=8, buffer_records=4)
    small.read(small.row(), 1, 1, 1)
    assert small.window() == [0, 1, 2]


def test_that_a_hook_is_disabled_is_said_again_until_its_row_shows_it() -> None:
    small = SmallEngine(disable_after_s=60.0, notice_every_s=60.0, breaker_after_s=1e9)
    row = small.row()
    small.read(row, 1)
    small.answer(small.send_one(), FAILED)
    small.wait(61.0)
    small.wait(60.0)
    assert small.notices == [(row.id, NoticeKind.FAILING)] * 2
    small.change(row, state=HookState.DISABLED)
    small.wait(60.0)
    assert len(small.notices) == 2


def test_a_dead_letter_is_produced_once() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1)
    small.endpoint(row).skips.drained_before_ms = small.wall_ms
    for _ in range(3):
        small.engine._ledger.ready.wake_lanes(small.endpoint(row))
        assert small.send() == []
    assert [reason for _, _, reason in small.dead_letters] == [DeadLetterReason.SKIPPED]
