"""A backlog cursor rejoins the live reading when it has read to the position, and its group with it."""

from __future__ import annotations

from hookstream.processors.delivery.engine.model import LIVE, Cursor
from hookstream.processors.delivery.engine.outcome import FAILED, Outcome, Verdict
from hookstream.processors.delivery.engine.policy import EnginePolicy
from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import Hook, HookState, Revision
from tests.support.small_engine import SmallEngine, offsets


def disabled(small: SmallEngine, *numbers: int) -> list[Hook]:
    """Hooks of one target that are disabled, with one record each of the same resource."""
    rows = [small.row(number, state=HookState.DISABLED) for number in numbers]
    for row in rows:
        small.read(row, 1)
    return rows


def enable(small: SmallEngine, rows: list[Hook]) -> list[Hook]:
    """The next revisions, enabled."""
    return [small.change(row, state=HookState.ENABLED) for row in rows]


def test_what_a_cursor_has_read_to_the_end_is_in_the_window_again() -> None:
    small = SmallEngine()
    enable(small, disabled(small, 1, 2))
    small.catch_up()
    assert small.window() == [0, 1]
    assert not small.stream().hooks_with_cursor
    assert small.snapshot().offset == 0


def test_a_cursor_that_has_not_read_to_the_position_stays() -> None:
    small = SmallEngine()
    (row,) = enable(small, disabled(small, 1))
    small.read(row, 1)
    assert small.window() == []
    small.wait(small.policy.rejoin_every_s)
    assert small.window() == []


def test_a_cursor_close_to_the_position_is_given_what_the_live_reading_has_just_read() -> None:
    """Or it would never reach the position of a busy log."""
    small = SmallEngine()
    (row,) = enable(small, disabled(small, 1))
    small.read_backlog()
    small.read(row, 2)
    assert small.window() == []
    small.wait(small.policy.rejoin_every_s)
    assert small.window() == [0, 1]


def test_hooks_of_an_endpoint_that_is_not_served_from_its_backlog_rejoin_each_alone() -> None:
    small = SmallEngine()
    enable(small, disabled(small, 1, 2))
    small.read_for_cursors(1)
    small.wait(small.policy.rejoin_every_s)
    assert small.window() == [1]


def test_hooks_of_an_endpoint_that_is_served_from_its_backlog_rejoin_together() -> None:
    small = SmallEngine()
    rows = [small.row(1), small.row(2)]
    for row in rows:
        small.read(row, 1)
    small.operate(rows[0], paused=True)
    small.operate(rows[0], paused=False)
    small.endpoint(rows[0]).from_backlog[LIVE] = True
    assert [small.cursor(row).next for row in rows] == [0, 1]
    small.cursor(rows[1]).scan = 1
    small.read_for_cursors(1)
    small.wait(small.policy.rejoin_every_s)
    assert small.window() == []
    small.catch_up()
    assert small.window() == [0, 1]


def test_nothing_rejoins_before_what_the_last_owner_settled_is_read_again() -> None:
    """Below that, a record that is settled in the commit may be pending from a cursor."""
    small = SmallEngine()
    failing, well = small.row(1, target="https://two.example/"), small.row(2)
    small.operate(failing, paused=True)
    small.read(failing, 1)
    small.read(well, 1, 2)
    first, second = small.send()
    small.answer(second)
    after = SmallEngine(small)
    after.operate(failing, paused=False)
    after.engine.feed(LIVE, 0, 0, ())
    after.catch_up()
    assert after.stream().hooks_with_cursor
    after.read_log()
    after.catch_up()
    assert not after.stream().hooks_with_cursor
    assert offsets([first]) == [1]


def test_a_resource_cursor_stays_while_its_head_has_failed() -> None:
    small = SmallEngine(retry_in_window_s=0.5)
    row = small.row()
    small.read(row, 1, 1)
    small.answer(small.send_one(), FAILED)
    small.wait(small.policy.full_schedule_s[0])
    small.catch_up()
    assert small.window() == []
    small.answer(small.send_one())
    small.catch_up()
    assert small.window() == [1]


def test_a_cursor_whose_newest_record_waits_for_its_row_stays() -> None:
    """In the window it would hold the offset for as long as the table does not show the row."""
    small = SmallEngine()
    row = small.row(state=HookState.DISABLED)
    small.read(row, 1)
    small.read(row, 2, hook_revision=Revision(3))
    row = small.change(row, state=HookState.ENABLED)
    small.catch_up()
    assert small.window() == []
    small.change(row)
    small.catch_up()
    assert small.window() == [0, 1]


def test_a_cursor_that_retention_emptied_while_its_endpoint_was_silent_rejoins_when_the_silence_ends() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1)
    small.answer(small.send_one(), Outcome(Verdict.BUSY, 60.0))
    small.wait(1.0)
    assert small.engine.lose_below(LIVE, 1) == 1
    small.wait(1.0)
    assert small.cursor(row).next == 1
    small.wait(60.0)
    assert not small.stream().hooks_with_cursor


def test_a_cursor_that_retention_emptied_before_it_was_read_rejoins_in_that_turn() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1)
    small.answer(small.send_one(), Outcome(Verdict.BUSY, 60.0))
    small.wait(61.0)
    assert small.cursor(row).next == 0
    small.engine.lose_below(LIVE, 1)
    small.wait(0.0)
    assert not small.stream().hooks_with_cursor


def test_what_a_resource_had_settled_above_its_hooks_cursor_is_not_sent_again_when_both_have_rejoined() -> None:
    """Only the cursor of the resource knew it, by where it began; it gets one again when another of the hook opens."""
    small = SmallEngine(buffer_records=4, retry_in_window_s=0.5)
    row = small.row()
    small.operate(row, paused=True)
    small.read(row, 1, 2, 2, 3, 3, 3, 3, 3)
    small.operate(row, paused=False)
    small.catch_up()
    _, second, _ = small.send()
    small.answer(second, FAILED)
    small.wait(small.policy.full_schedule_s[0])
    small.catch_up()
    small.answer(small.send_one())
    assert (small.cursor(row).next, small.cursor(row, 2).next) == (0, 2)
    small.policy = EnginePolicy()
    after = SmallEngine(small)
    after.catch_up()
    assert after.window() == [0, *range(2, 8)]
    after.operate(row, paused=True)
    after.operate(row, paused=False)
    after.catch_up()
    assert sorted(offsets(after.send())) == [0, 2, 3]


def end_cursors_and_hold(small: SmallEngine, row: Hook) -> Cursor:
    """Let the cursors of a hook and of resource 2 end, with a record of that one left, and hold the hook again."""
    row = small.change(row, state=HookState.ENABLED)
    small.wait(small.policy.full_schedule_s[0])
    small.read_backlog()
    for post in small.send():
        small.answer(post)
    small.snapshot()  # which forgets what is settled below the first that is pending
    small.wait(small.policy.rejoin_every_s)
    assert not small.stream().hooks_with_cursor
    small.change(row, state=HookState.DISABLED)
    return small.cursor(row)


def test_what_the_last_owner_settled_is_known_when_the_cursor_that_it_came_with_has_ended() -> None:
    """A cursor that opens later below it, for what a resource has left in the window, does not hold it."""
    small = SmallEngine(retry_in_window_s=0.5)
    row = small.row()
    small.read(row, 1, 2, 2, 3)
    _, second, third = small.send()
    small.answer(third)
    small.answer(second, FAILED)
    row = small.change(row, state=HookState.DISABLED)
    assert small.cursor(row).settled == {3}
    after = SmallEngine(small)
    after.read_log()
    opened = end_cursors_and_hold(after, row)
    assert (opened.next, opened.settled) == (2, {3})


def test_what_a_cursor_has_met_of_that_is_known_when_that_cursor_has_ended() -> None:
    """It opened before the live reading had read again what the last owner settled."""
    small = SmallEngine(retry_in_window_s=0.5)
    other, row = small.row(9, target="https://two.example/"), small.row()
    small.read(other, 1)
    small.read(row, 1, 2, 2, 3)
    small.answer(small.send()[-1])
    after = SmallEngine(small)
    for offset in range(4):
        after.engine.read(LIVE, offset, after.logs[LIVE][offset], 100)
    _, first, second = after.send()
    after.answer(second, FAILED)
    row = after.change(row, state=HookState.DISABLED)
    after.read_log()
    assert after.cursor(row).settled == {4}
    after.answer(first)
    opened = end_cursors_and_hold(after, row)
    assert (opened.next, opened.settled) == (3, {4})


def test_a_restored_cursor_that_owes_nothing_rejoins_when_live_reading_arrives_where_it_stands() -> None:
    """A replay would wait for it, and nothing else happens to its endpoint."""
    small = SmallEngine()
    row, other = small.row(1), small.row(2, client=ClientId("2"))
    small.read(other, 1)  # not settled: a commit says that live reading begins here
    small.operate(row, paused=True)
    small.read(row, 1)
    small.operate(row, skip_before_ms=small.wall_ms + 1)
    small.catch_up()
    small.acknowledge()
    restarted = SmallEngine(small)
    restarted.operate(row, paused=False)
    restarted.wait(1.0)
    assert restarted.cursor(row).next == len(restarted.logs[LIVE])
    restarted.read_log()
    restarted.wait(0.0)
    assert restarted.backlog(row).cursor is None
