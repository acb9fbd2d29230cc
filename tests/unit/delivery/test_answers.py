"""What an answer means for its record, its resource, its endpoint and its hook."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hookstream.processors.delivery.engine.outcome import FAILED, GONE, REFUSED, REJECTED, Outcome, Verdict
from hookstream.schemas.delivery import DeadLetterReason
from hookstream.schemas.hook import Hook, HookState, NoticeKind, Revision
from tests.support.small_engine import SmallEngine, name, offsets


def busy(seconds: float | None) -> Outcome:
    return Outcome(Verdict.BUSY, seconds)


def test_a_delivered_record_is_settled_and_the_next_of_its_resource_goes() -> None:
    small = SmallEngine()
    small.read(small.row(), 1, 1)
    small.answer(small.send_one())
    assert small.window() == [1]
    assert offsets(small.send()) == [1]


def test_a_failed_record_is_sent_again_when_it_is_due_and_before_the_next_of_its_resource() -> None:
    small = SmallEngine()
    small.read(small.row(), 1, 1)
    small.answer(small.send_one(), FAILED)
    small.wait(0.99)
    assert small.send() == []
    small.wait(0.01)
    post = small.send_one()
    assert (post.pending.offset, post.number) == (0, 2)


def test_a_success_gives_the_resource_its_whole_schedule_back() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1)
    small.answer(small.send_one(), FAILED)
    small.wait(1.0)
    small.answer(small.send_one())
    assert small.backlog(row).clocks == {}


def test_a_record_whose_schedule_ran_out_goes_to_the_dead_letters_and_settles_when_kafka_has_it() -> None:
    small = SmallEngine(full_schedule_s=(1.0,), breaker_after_s=1e9)
    small.read(small.row(), 1, 1)
    for _ in range(2):
        small.answer(small.send_one(), FAILED)
        small.wait(1.0)
    assert [(pending.offset, reason) for _, pending, reason in small.dead_letters] == [(0, DeadLetterReason.SCHEDULE)]
    assert small.window() == [0, 1]
    assert small.send() == [], "the next of its resource waits for the acknowledgement"
    small.acknowledge()
    assert small.window() == [1]
    assert offsets(small.send()) == [1]


def test_after_a_schedule_that_ran_out_each_record_of_the_resource_gets_one_attempt_until_one_succeeds() -> None:
    small = SmallEngine(full_schedule_s=(), breaker_after_s=1e9)
    row = small.row()
    small.read(row, 1, 1, 1)
    for _ in range(2):
        small.answer(small.send_one(), FAILED)
        small.acknowledge()
        assert small.backlog(row).clocks[name(1)].schedule_exhausted
    small.answer(small.send_one())
    assert small.backlog(row).clocks == {}


def test_a_rejected_record_has_the_short_schedule_while_other_resources_succeed() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1, 2)
    rejected, other = small.send()
    small.answer(other)
    small.answer(rejected, REJECTED)
    assert small.backlog(row).clocks[name(1)].due == small.now + small.policy.short_schedule_s[0]


def test_a_retry_that_is_far_off_leaves_the_window_with_its_resource_alone() -> None:
    small = SmallEngine(full_schedule_s=(31.0,), retry_in_window_s=30.0)
    row = small.row()
    small.read(row, 1, 2)
    small.answer(small.send()[0], FAILED)
    assert small.cursor(row, 1).next == 0
    assert small.window() == [1]


def test_a_retry_that_is_near_stays_in_the_window() -> None:
    small = SmallEngine(full_schedule_s=(30.0,), retry_in_window_s=30.0)
    small.read(small.row(), 1)
    small.answer(small.send_one(), FAILED)
    assert small.window() == [0]


def behind_a_cursor(**policy: float) -> tuple[SmallEngine, Hook]:
    """A hook whose two resources are sent from the buffer of its cursor."""
    small = SmallEngine(**policy)
    row = small.row(state=HookState.DISABLED)
    small.read(row, 1, 2, 2, 2)
    row = small.change(row, state=HookState.ENABLED)
    small.read_backlog()
    return small, row


def test_behind_a_cursor_a_resource_whose_retry_is_not_near_gets_a_cursor_of_its_own() -> None:
    small, row = behind_a_cursor(retry_in_buffer_s=0.5)
    small.answer(small.send()[0], FAILED)
    assert small.cursor(row, 1).next == 0
    assert small.cursor(row).next == 1


def test_behind_a_cursor_a_resource_whose_retry_is_near_stays_in_the_buffer_of_its_hook() -> None:
    small, row = behind_a_cursor()
    small.answer(small.send()[1], FAILED)
    assert small.backlog(row).resource_cursors == {}


def test_behind_a_cursor_a_resource_that_fails_with_many_records_buffered_gets_a_cursor_of_its_own() -> None:
    small, row = behind_a_cursor(resource_buffer_records=2)
    small.answer(small.send()[1], FAILED)
    assert small.cursor(row, 2).next == 1


def test_a_busy_endpoint_is_sent_nothing_until_the_time_it_named_and_spends_no_attempt() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1)
    small.answer(small.send_one(), busy(20.0))
    small.read(row, 2)
    small.wait(19.9)
    assert small.send() == []
    assert small.backlog(row).clocks[name(1)].attempts == 0
    small.wait(0.1)
    assert offsets(small.send()) == [0, 1]


def test_an_endpoint_that_is_busy_for_long_leaves_the_window() -> None:
    small = SmallEngine(retry_in_window_s=30.0)
    row = small.row()
    small.read(row, 1)
    small.answer(small.send_one(), busy(31.0))
    assert small.window() == []
    assert small.cursor(row).next == 0


def test_a_410_disables_the_hook_at_once_and_says_so() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1, 2)
    small.answer(small.send()[0], GONE)
    assert small.hook(row).disabled_under == row.revision
    assert small.notices == [(row.id, NoticeKind.GONE)]


def test_a_410_to_a_request_under_an_older_row_disables_nothing() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1)
    post = small.send_one()
    small.change(row, rate_limit_per_s=100.0)
    small.answer(post, GONE)
    assert small.hook(row).disabled_under is None
    assert small.notices == []


def test_nothing_but_failure_puts_the_endpoint_into_quarantine_and_all_it_is_owed_behind_cursors() -> None:
    small = SmallEngine()
    row, other = small.row(1), small.row(2)
    small.read(other, 7)
    small.answer(small.send_one())
    small.read(other, 8)
    waiting = small.send_one()
    small.quarantine(row)
    assert small.window() == []
    assert (small.cursor(row).next, small.cursor(other).next) == (2, waiting.pending.offset)


def test_a_failed_probe_spends_no_attempt() -> None:
    small = SmallEngine()
    row = small.row()
    small.quarantine(row)
    before = {resource: clock.attempts for resource, clock in small.backlog(row).clocks.items()}
    for _ in range(3):
        small.answer(small.probe(row), FAILED)
    assert {resource: clock.attempts for resource, clock in small.backlog(row).clocks.items()} == before


def test_probes_are_numbered_as_the_requests_they_are() -> None:
    small = SmallEngine()
    row = small.row()
    small.quarantine(row)
    post = small.probe(row)
    assert post.number == 3


def test_the_failure_of_a_request_to_the_old_target_spends_no_attempt_at_the_new_one() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1)
    post = small.send_one()
    small.change(row, target="https://two.example/")
    small.answer(post, FAILED)
    assert small.backlog(row).clocks[name(1)].attempts == 0
    assert offsets(small.send()) == [0]


@pytest.mark.parametrize(
    "outcome",
    [REFUSED, replace(busy(30.0), refused=True), replace(GONE, refused=True)],
    ids=lambda outcome: outcome.verdict.value,
)
def test_what_its_receiver_refuses_is_a_dead_letter_at_once_whatever_the_status_says_of_the_endpoint(
    outcome: Outcome,
) -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1, 1)
    small.answer(small.send_one(), outcome)
    assert [(pending.offset, reason) for _, pending, reason in small.dead_letters] == [(0, DeadLetterReason.REFUSED)]
    assert small.send() == [], "the next of its resource waits for the acknowledgement"
    small.acknowledge()
    assert small.hook(row).disabled_under == (row.revision if outcome.verdict is Verdict.GONE else None)
    assert offsets(small.send()) == ([1] if outcome is REFUSED else []), "a disabled hook and a busy endpoint wait"


def test_a_refusal_is_the_answer_of_an_endpoint_that_is_up() -> None:
    """No number of them quarantines it, one ends a quarantine, and the five days begin anew."""
    small = SmallEngine(breaker_in_a_row=3)
    row = small.row()
    small.read(row, *range(6))
    for post in small.send():
        small.answer(post, REFUSED)
    health = small.endpoint(row).health
    assert (health.breaker_open, health.failures, health.failing_since_ms) == (False, None, 0)
    small.quarantine(row)
    assert health.breaker_open
    small.answer(small.probe(row), REFUSED)
    assert (health.breaker_open, health.failing_since_ms) == (False, 0)


def test_a_refusal_spends_no_attempt_of_what_comes_next() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1, 1)
    small.answer(small.send_one(), FAILED)
    small.wait(1.0)
    small.answer(small.send_one(), REFUSED)
    small.acknowledge()
    assert small.backlog(row).clocks == {}
    assert small.send_one().number == 1


def test_what_the_old_target_refuses_goes_to_the_new_one() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1)
    post = small.send_one()
    small.change(row, target="https://two.example/")
    small.answer(post, REFUSED)
    assert small.dead_letters == []
    assert offsets(small.send()) == [0]


def test_a_refused_delivery_of_a_hook_that_was_deleted_meanwhile_is_cancelled() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1)
    post = small.send_one()
    small.change(row, state=HookState.DELETED)
    small.answer(post, REFUSED)
    assert (small.dead_letters, small.window()) == ([], [])


def test_an_abandoned_request_settles_nothing_and_gives_its_place_back() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1)
    post = small.send_one()
    assert small.dispatcher.in_flight == 1
    small.engine.abandon(post)
    endpoint = small.endpoint(row)
    assert (small.dispatcher.in_flight, endpoint.in_flight, endpoint.client.in_flight) == (0, 0, 0)
    assert small.window() == [0]


@pytest.mark.parametrize("outcome", [FAILED, busy(None), GONE], ids=lambda outcome: outcome.verdict.value)
def test_only_a_quick_2xx_makes_an_endpoint_quick(outcome: Outcome) -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1, 2)
    first, second = small.send()
    small.answer(first)
    assert small.endpoint(row).quick
    small.answer(second, outcome)
    assert not small.endpoint(row).quick


def test_a_hook_that_changed_while_its_record_was_in_flight_is_judged_by_its_new_row() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1, arrived_ms=10)
    post = small.send_one()
    small.put(replace(row, revision=Revision(2), not_before_ms=20))
    small.answer(post, FAILED)
    assert small.window() == []
