"""What the next owner of a partition needs is stored, and put back as it was; a healthy partition stores nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hookstream.processors.delivery.engine.outcome import FAILED, GONE, Outcome, Verdict
from hookstream.processors.delivery.engine.partition_state import EMPTY_STATE, StoredDisable
from hookstream.schemas.hook import HookId, HookState, NoticeKind, Revision
from tests.support.small_engine import SmallEngine, name, offsets


def test_a_healthy_partition_stores_nothing_whatever_waits_in_its_window() -> None:
    small = SmallEngine()
    small.read(small.row(), 1, 2, 3)
    small.answer(small.send()[0])
    assert small.snapshot().state == EMPTY_STATE


def test_a_retry_that_waits_in_the_window_is_not_stored() -> None:
    """The next owner reads the record again, and tries it at once."""
    small = SmallEngine()
    small.read(small.row(), 1)
    small.answer(small.send_one(), FAILED)
    assert small.snapshot().state.clocks == ()


def test_what_a_cursor_owes_is_sent_by_the_next_owner() -> None:
    small = SmallEngine()
    row = small.row()
    small.quarantine(row)
    after = SmallEngine(small)
    assert after.cursor(row).next == 0
    after.answer(after.probe(row))
    after.catch_up()
    assert offsets(after.send()) == [1]


def test_what_was_settled_above_a_cursor_is_not_sent_again() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1, 2, 3)
    small.answer(small.send()[1])
    disabled = small.change(row, state=HookState.DISABLED)
    after = SmallEngine(small)
    after.change(disabled, state=HookState.ENABLED)
    after.catch_up()
    assert offsets(after.send()) == [0, 2]


def test_a_clock_behind_a_cursor_keeps_attempts_and_due_time() -> None:
    small = SmallEngine(retry_in_window_s=0.5)
    row = small.row()
    small.read(row, 1)
    small.answer(small.send_one(), FAILED)
    assert small.cursor(row, 1).next == 0
    after = SmallEngine(small)
    clock = after.backlog(row).clocks[name(1)]
    assert (clock.attempts, clock.requests) == (1, 1)
    assert clock.due == pytest.approx(after.now + 1.0)


def test_a_spent_resource_stays_spent() -> None:
    small = SmallEngine(full_schedule_s=())
    row = small.row()
    small.read(row, 1)
    small.answer(small.send_one(), FAILED)
    small.acknowledge()
    assert SmallEngine(small).backlog(row).clocks[name(1)].schedule_exhausted


def test_a_hook_that_a_410_disabled_stays_so_until_its_row_changes() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1)
    small.answer(small.send_one(), GONE)
    assert small.snapshot().state.disables == (StoredDisable(row.id, row.client, row.event, row.revision, False),)
    after = SmallEngine(small)
    assert (after.hook(row).disabled_under, after.hook(row).notice_kind) == (row.revision, NoticeKind.GONE)
    small.change(row)
    assert SmallEngine(small).hook(row).disabled_under is None


def test_a_disable_that_the_table_has_overtaken_is_not_put_back() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1)
    small.answer(small.send_one(), GONE)
    small.table[row.client, row.event] = replace(row, revision=Revision(row.revision + 1))
    assert SmallEngine(small).hook(row).disabled_under is None


def test_a_quarantine_and_the_pace_of_its_probes_go_on() -> None:
    small = SmallEngine()
    row = small.row()
    small.quarantine(row)
    small.answer(small.probe(row), FAILED)
    health = SmallEngine(small).endpoint(row).health
    assert (health.breaker_open, health.probe_times.failed) == (True, 1)
    assert health.probe_times.due == pytest.approx(small.now + 0.2, abs=0.002)


def test_silence_that_an_endpoint_asked_for_lasts_over_a_change_of_owner() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1)
    small.answer(small.send_one(), Outcome(Verdict.BUSY, 20.0))
    after = SmallEngine(small)
    after.read_log()
    assert after.send() == []
    after.wait(20.0)
    assert offsets(after.send()) == [0]


def test_the_cursor_of_a_hook_that_was_deleted_meanwhile_is_not_put_back() -> None:
    small = SmallEngine()
    row = small.row()
    small.quarantine(row)
    small.table[row.client, row.event] = replace(row, state=HookState.DELETED)
    assert not SmallEngine(small).stream().hooks_with_cursor


def test_the_cursor_of_a_hook_that_another_replaced_meanwhile_is_not_put_back() -> None:
    small = SmallEngine()
    row = small.row()
    small.quarantine(row)
    small.table[row.client, row.event] = replace(row, id=HookId(row.id + 1))
    assert not SmallEngine(small).stream().hooks_with_cursor


def test_a_hook_that_is_held_after_a_start_does_not_send_again_what_the_last_owner_delivered() -> None:
    """Its resource's cursor has rejoined below what was delivered of the others, and below where this owner began."""
    small = SmallEngine(retry_in_window_s=0.5)
    row = small.row()
    small.read(row, 1, 2, 1, 3)
    failed, *delivered = small.send()
    small.answer(failed, FAILED)
    for post in delivered:
        small.answer(post)
    assert small.cursor(row, 1).next == 0
    after = SmallEngine(small)
    after.wait(small.policy.full_schedule_s[0])
    after.catch_up()
    after.answer(after.send_one())
    after.catch_up()
    assert after.window() == [2]
    disabled = after.change(row, state=HookState.DISABLED)
    assert (after.cursor(row).next, after.cursor(row, 1).next) == (4, 2)
    after.change(disabled, state=HookState.ENABLED)
    after.catch_up()
    assert offsets(after.send()) == [2]


def test_since_when_an_endpoint_fails_is_known_after_two_starts_at_once() -> None:
    """The second comes before the first owner has read a delivery to the endpoint, by which it finds it again."""
    small = SmallEngine()
    row = small.row()
    small.read(row, 1)
    small.answer(small.send_one(), FAILED)
    after = SmallEngine(SmallEngine(small))
    after.read_log()
    assert after.endpoint(row).health.failing_since_ms == small.wall_ms


def test_an_endpoint_that_no_hook_leads_to_is_forgotten_after_a_month() -> None:
    small = SmallEngine()
    small.read(small.row(), 1)
    small.answer(small.send_one(), FAILED)
    after = SmallEngine(small)
    after.wait(30 * 86_400 - 1)
    assert len(after.snapshot().state.health) == 1
    after.wait(1)
    assert after.snapshot().state == EMPTY_STATE
