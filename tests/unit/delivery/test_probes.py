"""Which delivery a quarantined endpoint is probed with, and how the heads of its lanes are found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hookstream.processors.delivery.engine.model import LIVE, REPLAY, Post
from hookstream.processors.delivery.engine.outcome import FAILED
from hookstream.schemas.delivery import DeadLetterReason
from hookstream.schemas.event import ClientId
from tests.support.small_engine import SmallEngine, offsets

if TYPE_CHECKING:
    from hookstream.schemas.hook import Hook


def test_a_probe_takes_the_lowest_record_that_its_resource_is_owed() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 101)
    small.quarantine(row)
    assert small.probe(row).pending.offset == 0


def test_an_endpoint_has_one_probe_in_flight() -> None:
    small = SmallEngine()
    row = small.row()
    small.quarantine(row)
    small.probe(row)
    small.wait(small.policy.probe_max_s)
    small.engine._ledger.ready.wake(small.endpoint(row))
    assert small.send() == []


def test_a_record_that_is_on_its_way_to_the_dead_letters_is_not_probed_with() -> None:
    small = SmallEngine()
    row = small.row()
    small.quarantine(row)
    small.endpoint(row).skips.single = {record.id: small.wall_ms + 1 for record in small.logs[LIVE]}
    small.wait(small.policy.probe_first_s)
    assert small.send() == []
    assert {reason for _, _, reason in small.dead_letters} == {DeadLetterReason.SKIPPED}


def test_the_probes_take_a_record_of_another_resource_each_time() -> None:
    small = SmallEngine()
    row = small.row()
    small.quarantine(row)
    probed = []
    for _ in range(4):
        post = small.probe(row)
        probed.append(int(post.pending.delivery.concept_id))
        small.answer(post, FAILED)
    assert probed == [101, 102, 101, 102]


def test_the_probes_of_an_endpoint_begin_again_when_one_of_its_hooks_comes_back() -> None:
    """The backlog of the hook may begin below what they have passed."""
    small = SmallEngine()
    row = small.row()
    small.quarantine(row)
    small.change(row)
    small.wait(small.policy.probe_first_s)
    assert not small.send()  # the heads that it knew are forgotten: the log is read first
    small.catch_up()
    assert offsets(small.send()) == [0]


def test_a_quarantine_that_was_restored_finds_its_heads_by_reading_the_log() -> None:
    small = SmallEngine()
    row = small.row()
    small.quarantine(row)
    after = SmallEngine(small)
    after.wait(small.policy.probe_first_s)
    assert not after.send()
    after.catch_up()
    assert offsets(after.send()) == [0]


def test_every_resource_has_its_turn_however_few_heads_are_known_at_a_time() -> None:
    small = SmallEngine(probe_candidates=2)
    row = small.row()
    small.quarantine(row)
    small.read(row, 103, 104, 103, 105)
    probed = []
    for _ in range(7):
        post = small.probe(row)
        probed.append(int(post.pending.delivery.concept_id))
        small.answer(post, FAILED)
    assert probed == [101, 102, 103, 104, 105, 101, 102]


def test_a_resource_whose_head_becomes_a_dead_letter_is_probed_with_its_next_record() -> None:
    small = SmallEngine()
    row = small.row()
    small.quarantine(row)
    small.read(row, 101)
    small.skip(row, 0)
    small.answer(small.probe(row), FAILED)  # of the other resource
    small.acknowledge()
    probed = []
    for _ in range(3):  # the other resource keeps its turns while the log is read from the start
        post = small.probe(row)
        probed += offsets([post])
        small.answer(post, FAILED)
    assert probed == [1, 1, 2]


def test_where_retention_took_the_whole_backlog_of_a_quarantined_endpoint_its_cursors_go() -> None:
    small = SmallEngine()
    row = small.row()
    small.quarantine(row)
    assert small.engine.lose_below(LIVE, 2) == 2
    small.wait(small.policy.probe_first_s)
    assert not small.send()
    small.catch_up()
    assert not small.stream().hooks_with_cursor


def test_a_delivery_that_is_read_while_the_probes_read_the_log_of_replays_is_not_lost() -> None:
    """Nothing else is pending, so the cursors go at the end of that reading."""
    small = SmallEngine()
    row, other = small.row(), small.row(2, client=ClientId("2"))
    small.quarantine(row)
    small.read(row, 1, stream=REPLAY)
    small.read(other, 1, stream=REPLAY)
    small.engine.lose_below(LIVE, 2)
    small.engine.lose_below(REPLAY, 1)
    small.wait(small.policy.probe_first_s)
    small.send()
    small.wait(small.policy.rejoin_every_s)
    small.read_for_cursors(1, REPLAY)  # a round that only drops the heads that retention took
    small.wait(small.policy.rejoin_every_s)
    small.read(row, 3)
    small.read_for_cursors(1, REPLAY)
    small.wait(small.policy.rejoin_every_s)
    assert small.cursor(row).next == 2
    assert offsets([small.probe(row)]) == [2]


def test_what_was_in_flight_when_the_quarantine_began_is_no_dead_letter_before_its_answer() -> None:
    """The turn of the probes meets it, and an operator has drained its endpoint meanwhile."""
    small = SmallEngine()
    row = small.row()
    small.read(row, 1, 2, 3)
    late, *others = small.send()
    for post in others:
        small.answer(post, FAILED)
    small.wait(small.policy.full_schedule_s[0])
    for post in small.send():
        small.answer(post, FAILED)
    assert small.endpoint(row).health.breaker_open
    small.operate(row, skip_before_ms=small.wall_ms)
    small.wait(small.policy.probe_first_s)
    assert small.send() == []
    small.answer(late)
    small.catch_up()
    assert [pending.offset for _, pending, _ in small.dead_letters] == [1, 2]


def test_a_replay_is_probed_with_where_nothing_live_of_its_resource_is_pending_any_more() -> None:
    """The cursor of what an operator has drained stays until the quarantine ends."""
    small = SmallEngine()
    row = drained_in_quarantine(small)
    assert small.cursor(row).next == small.stream().position
    replayed = {"live_end": small.stream().position, "replayed_at_ms": small.wall_ms + 1}
    small.read(row, 101, stream=REPLAY, **replayed)
    small.wait(small.policy.probe_first_s)
    assert [(post.probe, post.pending.stream) for post in probes_read_from_both_logs(small)] == [(True, REPLAY)]


def test_a_replay_is_not_probed_with_once_something_live_before_it_is_read() -> None:
    """It is known before that, and the reading that finds the live one has not ended."""
    small = SmallEngine()
    row = drained_in_quarantine(small)
    small.read(row, 101, stream=REPLAY, live_end=small.stream().position + 1, replayed_at_ms=small.wall_ms + 1)
    small.wait(small.policy.probe_first_s)
    assert probes_read_from_both_logs(small) == []
    small.read(row, 101, arrived_ms=small.wall_ms + 1)
    small.read_backlog()
    small.engine.advance(small.now, small.wall_ms)
    assert small.send() == []
    assert [post.pending.stream for post in probes_read_from_both_logs(small)] == [LIVE]


def drained_in_quarantine(small: SmallEngine) -> Hook:
    """A hook of an endpoint that is quarantined, of whose backlog nothing is pending any more."""
    row = small.row()
    small.quarantine(row)
    small.operate(row, skip_before_ms=small.wall_ms + 1)
    small.catch_up()
    small.acknowledge()
    return row


def probes_read_from_both_logs(small: SmallEngine) -> list[Post]:
    """Let the probes read both logs, round after round."""
    found = small.send()
    for _ in range(4):
        small.catch_up(LIVE)
        small.catch_up(REPLAY)
        found += small.send()
    return found
