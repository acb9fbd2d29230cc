"""Whose record goes next, and what holds one back."""

from __future__ import annotations

from hookstream.processors.delivery.engine.model import REPLAY
from hookstream.processors.delivery.engine.outcome import FAILED
from hookstream.schemas.delivery import DeadLetterReason
from hookstream.schemas.hook import HookState
from tests.support.small_engine import SmallEngine, offsets


def test_a_resource_has_one_request_in_flight_and_its_records_go_in_the_order_of_the_log() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1, 1)
    for offset in range(2):
        post = small.send_one()
        small.read(row, 1)  # a record that arrives meanwhile offers its lane again
        assert small.send() == []
        assert post.pending.offset == offset
        small.answer(post)


def test_resources_do_not_wait_for_each_other() -> None:
    small = SmallEngine()
    small.read(small.row(), 1, 1, 2, 3)
    assert offsets(small.send()) == [0, 2, 3]


def test_two_hooks_with_one_target_share_the_order_of_a_resource() -> None:
    small = SmallEngine()
    small.read(small.row(1), 1)
    small.read(small.row(2), 1)
    first = small.send_one()
    assert first.pending.offset == 0
    small.answer(first)
    assert offsets(small.send()) == [1]


def test_an_endpoint_has_no_more_in_flight_than_its_limit() -> None:
    small = SmallEngine(concurrency_start=2)
    small.read(small.row(), 1, 2, 3)
    first, _ = small.send()
    small.answer(first, FAILED)
    assert small.send() == [], "a failure halved the limit"


def test_a_paused_endpoint_is_sent_nothing_not_even_a_probe() -> None:
    small = SmallEngine()
    well, failing = small.row(1), small.row(2, target="https://two.example/")
    small.quarantine(failing)
    for row in (well, failing):
        small.endpoint(row).health.paused = True
    small.read(well, 1)
    small.wait(small.policy.probe_steady_s)
    assert small.send() == []


def test_what_a_cursor_has_read_is_sent_in_the_order_of_the_log_and_before_the_window() -> None:
    small = SmallEngine()
    row = small.row(state=HookState.DISABLED)
    small.read(row, 1, 1)
    row = small.change(row, state=HookState.ENABLED)
    small.read(small.row(2), 1)
    small.read_backlog()
    for offset in range(3):
        post = small.send_one()
        assert post.pending.offset == offset
        small.answer(post)


def test_what_a_cursor_has_read_waits_until_the_other_cursors_of_the_endpoint_have_read_past_it() -> None:
    """A lower record of the same resource may be pending from another hook's cursor."""
    small = SmallEngine()
    rows = [small.row(number, state=HookState.DISABLED) for number in (1, 2)]
    for row in rows:
        small.read(row, 1)
        small.change(row, state=HookState.ENABLED)
    small.read_for_cursors(1)
    assert list(small.cursor(rows[1]).buffer) == [1]
    assert small.send() == []
    small.read_backlog()
    assert offsets(small.send()) == [0]


def test_what_an_operator_skips_goes_to_the_dead_letters_instead_of_the_target() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1)
    small.endpoint(row).skips.drained_before_ms = small.wall_ms
    assert small.send() == []
    assert [reason for _, _, reason in small.dead_letters] == [DeadLetterReason.SKIPPED]


def test_a_record_is_sent_under_the_row_of_the_moment() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1)
    newer = small.change(row, secrets=(b"newer",))
    assert small.send_one().row is newer


def test_a_hook_with_a_rate_limit_gets_its_first_records_at_once_and_the_others_in_time() -> None:
    small = SmallEngine()
    small.read(small.row(rate_limit_per_s=2.0), 1, 2, 3, 4, 5)
    small.wait(1.0)
    assert offsets(small.send()) == [0, 1]
    sent = []
    for _ in range(3):
        small.wait(0.5)
        sent.append(offsets(small.send()))
    assert sent == [[2], [3], [4]]


def test_a_replay_waits_until_live_reading_has_read_what_the_log_held_when_it_was_asked_for() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1, stream=REPLAY, live_end=1)
    assert small.send() == []
    small.read(row, 2)
    small.wait(0.2)
    assert [(post.pending.stream, post.pending.offset) for post in small.send()] == [(0, 0), (1, 0)]


def test_a_replay_waits_for_the_first_delivery_of_its_resource_and_hook() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1)
    small.answer(small.send_one(), FAILED)
    small.read(row, 1, stream=REPLAY)
    assert small.send() == []
    small.wait(1.0)
    small.answer(small.send_one())
    small.wait(0.2)
    assert small.send_one().pending.stream == REPLAY


def test_requests_are_numbered_from_one() -> None:
    small = SmallEngine()
    small.read(small.row(), 1)
    numbers = []
    for pause_s in small.policy.full_schedule_s[:3]:
        post = small.send_one()
        numbers.append(post.number)
        small.answer(post, FAILED)
        small.wait(pause_s)
    assert numbers == [1, 2, 3]
