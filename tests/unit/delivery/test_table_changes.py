"""What waits follows its hook: deleted, replaced, retargeted, disabled, enabled."""

from __future__ import annotations

import pytest

from hookstream.processors.delivery.engine.outcome import FAILED, GONE, REFUSED
from hookstream.processors.delivery.engine.retry_schedule import LaneClock
from hookstream.schemas.hook import Hook, HookId, HookState, Revision
from tests.support.small_engine import SmallEngine, offsets


def test_a_deleted_hooks_records_settle_without_a_request() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1, 2)
    small.change(row, state=HookState.DELETED)
    assert small.window() == []
    assert small.send() == []


def test_a_deleted_hooks_cursors_and_clocks_go_with_it() -> None:
    small = SmallEngine()
    row = small.row()
    small.quarantine(row)
    assert small.cursor(row).next == 0
    assert small.backlog(row).clocks
    small.change(row, state=HookState.DELETED)
    assert small.backlog(row).empty
    assert not small.stream().hooks_with_cursor


def test_a_hook_whose_subscription_key_another_took_is_cancelled() -> None:
    small = SmallEngine()
    row = small.row()
    small.quarantine(row)
    small.read(row, 1)
    small.change(row, id=HookId(9))
    assert small.backlog(row).empty


def test_a_row_that_is_older_than_a_hook_says_nothing_of_it() -> None:
    """A rebuilt table is read from its beginning."""
    small = SmallEngine()
    row = small.row(revision=Revision(5))
    small.quarantine(row)
    small.row(id=HookId(9), revision=Revision(4))
    assert small.cursor(row).next == 0


def test_a_record_in_flight_when_its_hook_is_deleted_settles_with_its_answer() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1)
    post = small.send_one()
    small.change(row, state=HookState.DELETED)
    assert small.window() == [0]
    small.answer(post, FAILED)
    assert small.window() == []


def test_what_waits_goes_to_the_new_target() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1, 2)
    small.change(row, target="https://two.example/")
    assert [post.endpoint.target for post in small.send()] == ["https://two.example/"] * 2


def test_the_new_target_waits_for_the_request_to_the_old_one() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1, 2)
    small.answer(small.send()[1])
    small.read(row, 1, 3)
    small.change(row, target="https://two.example/")
    assert small.send() == []
    small.answer(next(iter(small.stream().in_flight.values())))
    assert offsets(small.send()) == [2, 3]


def test_a_hook_that_moves_to_an_endpoint_in_quarantine_is_owed_by_a_cursor() -> None:
    small = SmallEngine()
    well, failing = small.row(1), small.row(2, target="https://two.example/")
    small.quarantine(failing)
    small.read(well, 1)
    moved = small.change(well, target=failing.target)
    assert small.cursor(moved).next == 2
    assert small.window() == []


def test_what_a_disabled_hook_owes_waits_in_a_cursor_and_is_sent_when_it_is_enabled() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1, 2)
    disabled = small.change(row, state=HookState.DISABLED)
    assert small.cursor(row).next == 0
    small.catch_up()
    assert small.send() == []
    small.change(disabled, state=HookState.ENABLED)
    small.catch_up()
    assert offsets(small.send()) == [0, 1]


def test_a_hook_that_a_410_disabled_is_enabled_by_a_higher_revision_and_by_nothing_else() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1)
    small.answer(small.send_one(), GONE)
    small.put(row)
    assert small.hook(row).disabled_under == row.revision
    small.change(row)
    assert small.hook(row).disabled_under is None
    small.catch_up()
    assert offsets(small.send()) == [0]


def test_an_enabled_hook_has_five_days_again() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1)
    small.answer(small.send_one(), GONE)
    small.endpoint(row).health.failing_since_ms = 1
    small.change(row)
    assert small.endpoint(row).health.failing_since_ms == 0


def test_what_arrived_before_the_hook_wants_records_is_settled_where_it_waits() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1, arrived_ms=10)
    small.read(row, 2, arrived_ms=20)
    small.change(row, not_before_ms=20)
    assert small.window() == [1]


def test_a_change_keeps_the_clocks_of_a_hook_that_stays() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1)
    small.answer(small.send_one(), FAILED)
    small.change(row, rate_limit_per_s=5.0)
    (clock,) = small.backlog(row).clocks.values()
    assert clock == LaneClock(1, 1, small.now + 1.0, schedule_exhausted=False, first_failed_ms=small.wall_ms)


def behind_another_hook(small: SmallEngine) -> tuple[Hook, Hook]:
    """Two hooks of one target: a record of the second is behind a record of the first, which was refused."""
    first, second = small.row(1), small.row(2)
    small.read(first, 1)
    small.read(second, 1)
    small.answer(small.send_one(), REFUSED)
    assert small.send() == []
    return first, second


def test_what_waits_behind_a_record_goes_on_when_its_hook_moves_to_another_target() -> None:
    """Nothing else wakes that lane: what the record waited for wakes the one that it has moved to."""
    small = SmallEngine()
    first, _ = behind_another_hook(small)
    small.change(first, target="https://two.example/")
    assert offsets(small.send()) == [1]


def test_what_waits_behind_a_record_goes_on_when_its_hook_is_deleted() -> None:
    small = SmallEngine()
    first, _ = behind_another_hook(small)
    small.change(first, state=HookState.DELETED)
    assert offsets(small.send()) == [1]


def test_what_waits_behind_a_record_whose_row_is_late_goes_on_when_that_row_is_disabled() -> None:
    small = SmallEngine()
    first, second = small.row(1), small.row(2)
    small.read(first, 1, hook_revision=Revision(2))
    small.read(second, 1)
    assert small.send() == []
    small.change(first, state=HookState.DISABLED)
    assert offsets(small.send()) == [1]


@pytest.mark.parametrize("how", ["by a 410", "by its row", "to another target"])
def test_what_waits_for_the_backlog_of_another_hook_goes_on_when_that_hook_leaves(how: str) -> None:
    """The other hook's cursor holds its buffer full, so the log is not read for it, and nothing else happens."""
    small = SmallEngine(buffer_records=2)
    leaving, staying = small.row(1), small.row(2)
    small.operate(leaving, paused=True)
    small.read(leaving, 1, 1, 1, 1)
    small.read(staying, 2, 3)
    small.operate(leaving, paused=False)
    small.catch_up()
    post = small.send_one()
    if how == "by a 410":
        small.answer(post, GONE)
    else:
        small.answer(post, FAILED)
        changes = {"state": HookState.DISABLED} if how == "by its row" else {"target": "https://two.example/"}
        small.change(leaving, **changes)
    small.wait(0.1)
    assert offsets(small.send()) == [4, 5]


def test_what_waits_behind_a_record_whose_row_does_not_come_goes_on() -> None:
    small = SmallEngine()
    first, second = small.row(1), small.row(2)
    small.read(first, 1, hook_revision=Revision(2))
    small.read(second, 1)
    small.wait(small.policy.stale_wait_s)
    assert small.unknown == [first.id]
    assert offsets(small.send()) == [1]


def test_what_waits_behind_a_record_in_flight_to_the_old_target_does_not_wait_for_the_others_there() -> None:
    small = SmallEngine()
    moving, there = small.row(1), small.row(2, target="https://two.example/")
    small.read(moving, 1, 2)
    first, _ = small.send()
    small.change(moving, target=there.target)
    small.read(there, 1)
    assert small.send() == []
    small.answer(first)
    assert offsets(small.send()) == [2]


def endpoints_left_behind(*, quarantined: bool) -> SmallEngine:
    """Register and delete a hundred hooks of targets that fail."""
    small = SmallEngine(disable_after_s=1e9, notice_every_s=60.0)
    for number in range(1, 101):
        row = small.row(number, target=f"https://{number}.example/")
        if quarantined:
            small.quarantine(row)
        else:
            small.read(row, number)
            small.answer(small.send_one(), FAILED)
        small.change(row, state=HookState.DELETED)
        small.wait(61)
    return small


@pytest.mark.parametrize("quarantined", [False, True])
def test_hooks_that_come_and_go_leave_few_endpoints_behind(*, quarantined: bool) -> None:
    """Each would be remembered, and written into each state, for a month."""
    small = endpoints_left_behind(quarantined=quarantined)
    assert len(small.engine._ledger.tracked.endpoints) <= 40
    assert len(small.snapshot().state.health) <= 40


def test_a_hook_that_is_moved_back_finds_its_endpoint_as_it_was() -> None:
    small = SmallEngine(disable_after_s=1e9, notice_every_s=60.0)
    row = small.row()
    small.read(row, 1)
    failed_ms = small.wall_ms
    small.answer(small.send_one(), FAILED)
    small.change(row, target="https://two.example/")
    assert small.send() == []  # so the endpoint that it has left waits for no turn either
    small.wait(200)
    row = small.change(row, target="https://one.example/")
    assert small.endpoint(row).health.failing_since_ms == failed_ms
