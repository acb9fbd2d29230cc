"""What the worker asks of one stream of a partition."""

from __future__ import annotations

from hookstream.processors.delivery.engine.model import LIVE
from hookstream.schemas.hook import HookState
from tests.support.small_engine import SmallEngine, name


def test_a_view_says_how_far_the_log_was_read_and_what_of_it_is_settled() -> None:
    small = SmallEngine()
    small.read(small.row(), 1, 2)
    view = small.engine.views[LIVE]
    small.answer(small.send()[1])
    assert view.position == 2
    assert view.progress() == (0, b"\x40")
    assert (view.window_size, view.window_span) == (1, 2)
    assert view.oldest_read_at == small.now
    assert view.oldest_pending_ms == small.logs[LIVE][0].arrived_ms


def test_a_view_of_an_empty_window_knows_no_oldest_record() -> None:
    view = SmallEngine().engine.views[LIVE]
    assert (view.window_size, view.window_span, view.oldest_read_at, view.oldest_pending_ms) == (0, 0, None, None)


def test_a_view_names_every_cursor_and_the_oldest_pending_delivery() -> None:
    small = SmallEngine(retry_in_window_s=0.5)
    whole, one = small.row(1, state=HookState.DISABLED), small.row(2)
    small.read(whole, 1)
    small.read(one, 2)
    hook = small.hook(one)
    small.engine._ledger.open_cursor(hook, small.stream(), name(2))
    view = small.engine.views[LIVE]
    assert set(view.cursors()) == {(whole.id, None), (one.id, name(2))}
    assert view.oldest_pending_ms == small.logs[LIVE][1].arrived_ms


def test_a_view_knows_what_the_commit_of_the_start_calls_settled() -> None:
    small = SmallEngine()
    small.read(small.row(), 1, 2)
    small.answer(small.send()[1])
    view = SmallEngine(small).engine.views[LIVE]
    assert [view.settled_before(offset) for offset in (0, 1, 2)] == [False, True, False]
