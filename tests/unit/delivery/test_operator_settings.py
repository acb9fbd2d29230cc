"""What an operator sets for an endpoint: paused, what to skip, when to attempt again."""

from __future__ import annotations

from dataclasses import replace

from hookstream.processors.delivery.engine.outcome import FAILED
from hookstream.schemas.control import EndpointSettings, target_digest
from hookstream.schemas.delivery import DeadLetterReason
from tests.support.small_engine import SmallEngine, offsets

DAY_MS = 24 * 3600 * 1000


def test_a_paused_endpoint_is_sent_nothing_and_leaves_the_window_and_others_go_on() -> None:
    small = SmallEngine()
    paused, well = small.row(1), small.row(2, target="https://two.example/")
    small.operate(paused, paused=True)
    small.read(paused, 1)
    small.read(well, 1)
    assert offsets(small.send()) == [1]
    small.catch_up()
    assert small.send() == []
    assert small.window() == [1]


def test_an_endpoint_that_is_resumed_is_sent_its_backlog() -> None:
    small = SmallEngine()
    row = small.row()
    small.operate(row, paused=True)
    small.read(row, 1, 2)
    small.operate(row, paused=False)
    small.catch_up()
    assert offsets(small.send()) == [0, 1]
    assert small.window() == [0, 1]


def test_an_endpoint_that_is_resumed_without_a_backlog_is_served_from_the_window_again() -> None:
    small = SmallEngine()
    row = small.row()
    small.endpoint(row)
    small.operate(row, paused=True)
    small.operate(row, paused=False)
    small.wait(small.policy.rejoin_every_s)
    small.read(row, 1)
    assert small.window() == [0]


def test_an_endpoint_that_is_paused_before_its_first_record_is_paused() -> None:
    small = SmallEngine()
    row = small.row()
    key = (row.client, target_digest(row.target))
    small.settings[key] = EndpointSettings(client=row.client, target_digest=key[1], paused=True)
    small.read(row, 1)
    assert small.send() == []


def test_a_backlog_that_is_skipped_goes_to_the_dead_letters() -> None:
    small = SmallEngine()
    row = small.row()
    small.quarantine(row)
    small.operate(row, skip_before_ms=small.wall_ms)
    small.read_backlog()
    assert {(p.offset, reason) for _, p, reason in small.dead_letters} == {
        (0, DeadLetterReason.SKIPPED),
        (1, DeadLetterReason.SKIPPED),
    }


def test_a_single_delivery_that_is_skipped_goes_to_the_dead_letters_and_the_next_of_its_resource_is_sent() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1, 1)
    small.skip(row, 0)
    assert small.send() == []
    assert [reason for _, _, reason in small.dead_letters] == [DeadLetterReason.SKIPPED]
    small.acknowledge()
    assert offsets(small.send()) == [1]


def test_a_single_delivery_that_is_skipped_behind_a_cursor_does_not_wait_for_its_endpoint() -> None:
    small = SmallEngine()
    row = small.row()
    small.quarantine(row)
    small.skip(row, 0)
    small.read_backlog()
    assert [(p.offset, reason) for _, p, reason in small.dead_letters] == [(0, DeadLetterReason.SKIPPED)]


def test_a_retry_that_is_asked_for_is_made_at_once() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1)
    small.answer(small.send_one(), FAILED)
    assert small.send() == []
    small.operate(row, retry_at_ms=small.wall_ms)
    assert offsets(small.send()) == [0]


def test_a_probe_that_is_asked_for_is_sent_at_once() -> None:
    small = SmallEngine()
    row = small.row()
    small.quarantine(row)
    assert small.send() == []
    small.operate(row, retry_at_ms=small.wall_ms)
    assert small.send_one().probe


def test_a_retry_is_followed_once_whoever_owns_the_partition() -> None:
    small = SmallEngine()
    row = small.row()
    small.quarantine(row)
    small.operate(row, retry_at_ms=small.wall_ms)
    small.answer(small.send_one(), FAILED)
    due = small.endpoint(row).health.probe_times.due
    small.operate(row, reason="the same settings, read again")
    assert small.endpoint(row).health.probe_times.due == due
    after = SmallEngine(small)
    assert after.endpoint(row).health.probe_times.due > after.now


def test_a_retry_that_was_asked_for_a_day_ago_is_not_followed() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1)
    small.answer(small.send_one(), FAILED)
    small.operate(row, retry_at_ms=small.wall_ms - DAY_MS)
    assert small.send() == []


def test_settings_of_another_endpoint_change_nothing() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1)
    small.operate(replace(row, target="https://two.example/"), paused=True)
    assert offsets(small.send()) == [0]
