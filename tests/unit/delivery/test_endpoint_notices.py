"""Which notices are made about an endpoint, when, and from what the next owner of the partition makes them again."""

from __future__ import annotations

import pytest

from hookstream.processors.delivery.engine.outcome import DELIVERED, REFUSED
from hookstream.schemas.event import EventName
from hookstream.schemas.hook import Hook, HookId, HookState
from hookstream.schemas.notices import NoticeName, event_of_notice
from tests.support.small_engine import SmallEngine

MINUTE_S, DAY_S = 60.0, 86_400.0
QUARANTINED, RECOVERED = NoticeName.ENDPOINT_QUARANTINED, NoticeName.ENDPOINT_RECOVERED
DEAD, EXPIRING = NoticeName.DEAD_LETTERED, NoticeName.BACKLOG_EXPIRING


def quarantined() -> tuple[SmallEngine, Hook, int]:
    """A partition whose only endpoint was just quarantined, and since when (Unix ms)."""
    small = SmallEngine()
    row = small.row()
    small.quarantine(row)
    return small, row, small.wall_ms


def answer(small: SmallEngine, row: Hook) -> None:
    """Let the endpoint answer a probe."""
    small.answer(small.probe(row), DELIVERED)


def kill(small: SmallEngine) -> SmallEngine:
    """Start the next owner where the last one would commit now; what Kafka did not answer is not known to it."""
    after = SmallEngine(small)
    after.read_log()
    after.wait(0.0)
    return after


def refuse(small: SmallEngine, row: Hook, resource: int) -> None:
    """Let a receiver ask for a dead letter, and Kafka acknowledge it."""
    small.read(row, resource)
    small.answer(small.send_one(), REFUSED)
    small.acknowledge()


def test_a_quarantine_is_told_when_it_has_lasted_ten_minutes_and_once() -> None:
    small, row, since_ms = quarantined()
    small.wait(10 * MINUTE_S - 0.001)
    assert small.told == []
    small.wait(0.001)
    notice = small.take_notice()
    assert (notice.name, notice.client, notice.target) == (QUARANTINED, row.client, row.target)
    assert (notice.since_ms, notice.at_ms) == (since_ms, since_ms + 600_000)
    for _ in range(5):
        small.wait(7 * MINUTE_S)
    assert small.told == []


def test_a_quarantine_that_ends_before_is_not_told_nor_is_its_end() -> None:
    small, row, _ = quarantined()
    small.wait(9 * MINUTE_S)
    answer(small, row)
    small.wait(30 * MINUTE_S)
    assert small.told == []


def test_the_end_of_a_quarantine_that_was_told_is_told_at_once() -> None:
    small, row, since_ms = quarantined()
    small.wait(10 * MINUTE_S)
    small.take_notice()
    answer(small, row)
    notice = small.take_notice()
    assert (notice.name, notice.since_ms, notice.at_ms) == (RECOVERED, since_ms, small.wall_ms)
    small.wait(10 * MINUTE_S)
    assert small.told == []
    assert small.endpoint(row).told.empty


def test_a_notice_waits_for_the_one_before_it() -> None:
    """So they are in the order of their causes, whatever Kafka does."""
    small, row, _ = quarantined()
    small.wait(10 * MINUTE_S)
    answer(small, row)
    assert [notice.name for notice in small.told] == [QUARANTINED]
    small.take_notice()
    assert small.take_notice().name is RECOVERED


def test_a_refused_notice_is_made_again_within_a_minute() -> None:
    small, _, _ = quarantined()
    small.wait(10 * MINUTE_S)
    first = small.take_notice(acknowledged=False)
    small.wait(MINUTE_S)
    again = small.take_notice()
    assert event_of_notice(again).id == event_of_notice(first).id


@pytest.mark.parametrize("killed", [False, True])
def test_a_quarantine_whose_notice_was_refused_and_that_has_ended_since_is_told_with_its_end(killed: bool) -> None:
    """Kafka may have the notice, or the last owner may have told it, and been killed before a state said so."""
    small, row, since_ms = quarantined()
    small.wait(10 * MINUTE_S)
    first = small.take_notice(acknowledged=False)
    answer(small, row)
    if killed:
        small = kill(small)
    again = small.take_notice()
    assert event_of_notice(again).id == event_of_notice(first).id
    end = small.take_notice()
    assert (end.name, end.since_ms) == (RECOVERED, since_ms)
    small.wait(MINUTE_S)
    assert small.endpoint(row).told.empty


def test_a_quarantine_that_the_last_owner_may_have_told_is_told_with_its_end_however_soon_that_comes() -> None:
    """The hook was disabled meanwhile, so the next owner has told nothing before the endpoint answers again."""
    small, row, since_ms = quarantined()
    small.wait(10 * MINUTE_S)
    disabled = small.change(row, state=HookState.DISABLED)
    after = kill(small)
    assert after.told == []
    enabled = after.change(disabled, state=HookState.ENABLED)
    answer(after, enabled)
    assert [after.take_notice().since_ms for _ in range(2)] == [since_ms, since_ms]
    assert after.told == []


@pytest.mark.parametrize("killed", ["before it is due", "when it is due", "when it was acknowledged"])
def test_the_next_owner_tells_a_quarantine_under_the_same_id(killed: str) -> None:
    small, row, since_ms = quarantined()
    small.wait(5 * MINUTE_S)
    if killed == "before it is due":
        small = kill(small)
    small.wait(5 * MINUTE_S)
    first = small.told[-1]
    if killed == "when it is due":
        small = kill(small)
    notice = small.take_notice()
    assert (notice.name, notice.since_ms) == (QUARANTINED, since_ms)
    assert event_of_notice(notice).id == event_of_notice(first).id
    if killed == "when it was acknowledged":
        small = kill(small)
    small.wait(5 * MINUTE_S)
    assert small.told == []
    answer(small, row)
    assert small.take_notice().name is RECOVERED


def test_the_next_owner_tells_the_end_of_a_quarantine_though_nothing_is_pending_any_more() -> None:
    small, row, since_ms = quarantined()
    small.wait(10 * MINUTE_S)
    small.take_notice()
    answer(small, row)
    first = small.told[0]
    small.catch_up()
    for post in small.send():
        small.answer(post)
    small.catch_up()
    after = kill(small)
    notice = after.take_notice()
    assert (notice.name, notice.since_ms, notice.at_ms) == (RECOVERED, since_ms, first.at_ms)
    assert event_of_notice(notice) == event_of_notice(first)


def test_the_end_of_a_quarantine_is_told_though_its_hook_left_and_two_owners_were_killed_since() -> None:
    small, row, since_ms = quarantined()
    small.wait(10 * MINUTE_S)
    small.take_notice()
    small.change(row, target="https://two.example/")
    after = SmallEngine(SmallEngine(small))
    other = after.row(2)
    after.read(other, 1)
    after.wait(MINUTE_S)
    after.send()  # which asks for a reading
    after.catch_up()
    (probe,) = (post for post in after.send() if post.probe)
    after.answer(probe)
    notice = after.take_notice()
    assert (notice.name, notice.target, notice.since_ms) == (RECOVERED, other.target, since_ms)


def test_the_next_owner_finds_an_endpoint_by_the_hook_that_replaced_the_one_it_knew() -> None:
    small, row, since_ms = quarantined()
    small.wait(10 * MINUTE_S)
    small.take_notice()
    answer(small, row)
    small.change(row, id=HookId(2))
    notice = kill(small).take_notice()
    assert (notice.name, notice.since_ms) == (RECOVERED, since_ms)


def test_the_first_dead_letter_is_told_at_once_and_the_next_within_a_minute_with_their_number() -> None:
    small = SmallEngine()
    row = small.row()
    refuse(small, row, 1)
    notice = small.take_notice()
    assert (notice.name, notice.count, notice.reasons) == (DEAD, 1, {"refused": 1})
    assert (notice.delivery_id, notice.at_ms) == ("msg_0_0", small.wall_ms)
    for resource in range(2, 5):
        small.wait(10.0)
        refuse(small, row, resource)
    assert small.told == []
    small.wait(30.0)
    notice = small.take_notice()
    assert (notice.count, notice.delivery_id) == (3, "msg_0_1")
    small.wait(5 * MINUTE_S)
    assert small.told == []
    assert small.endpoint(row).told.empty, "what is over is forgotten"


def test_a_dead_letter_is_told_when_kafka_has_it_and_not_before() -> None:
    small = SmallEngine()
    row = small.row()
    small.read(row, 1)
    small.answer(small.send_one(), REFUSED)
    assert small.told == []
    small.acknowledge()
    assert small.take_notice().count == 1


def test_dead_letters_that_were_counted_are_told_by_the_next_owner() -> None:
    small = SmallEngine()
    row = small.row()
    refuse(small, row, 1)
    first = small.told[0]
    refuse(small, row, 2)
    after = kill(small)
    notice = after.told[0]
    assert event_of_notice(notice).id == event_of_notice(first).id, "its answer is not known: it is told again"
    assert notice.count == 2
    after.take_notice()
    refuse(after, row, 3)
    assert after.told == [], "not before a minute is over"
    after.wait(MINUTE_S)
    assert after.take_notice().count == 1


def test_a_dead_letter_whose_endpoint_was_forgotten_meanwhile_is_told() -> None:
    """Its hook was deleted, so nothing else of the endpoint was left when Kafka had the dead letter."""
    small = SmallEngine()
    row = small.row()
    small.read(row, 1)
    small.answer(small.send_one(), REFUSED)
    small.engine._ledger.tracked.endpoints.clear()
    small.acknowledge()
    assert small.take_notice().count == 1


def test_a_refused_count_keeps_what_was_counted_since() -> None:
    small = SmallEngine()
    row = small.row()
    refuse(small, row, 1)
    refuse(small, row, 2)
    small.take_notice(acknowledged=False)
    small.wait(MINUTE_S)
    assert small.take_notice().count == 2


def test_a_backlog_is_told_a_day_before_it_expires_and_once() -> None:
    small = SmallEngine(disable_after_s=100 * DAY_S)
    row = small.row()
    small.row(1, revision=2, state=HookState.DISABLED)
    small.read(row, 1, arrived_ms=small.wall_ms)
    oldest_ms = small.wall_ms
    for _ in range(5 * 24 * 60 - 1):
        small.wait(MINUTE_S)
    assert small.told == []
    small.wait(MINUTE_S - 0.001)
    assert small.told == []
    small.wait(0.001)
    notice = small.take_notice()
    assert (notice.name, notice.since_ms) == (EXPIRING, oldest_ms)
    assert notice.at_ms == small.wall_ms
    assert notice.expires_at_ms == oldest_ms + 6 * 86_400_000
    for _ in range(100):
        small.wait(MINUTE_S)
    assert small.told == []
    assert kill(small).told == []


def test_a_backlog_that_goes_on_to_expire_is_told_once_a_day() -> None:
    small = SmallEngine(disable_after_s=100 * DAY_S)
    row = small.row(1, state=HookState.DISABLED)
    first_ms = small.wall_ms
    for hours in range(5 * 24):
        small.read(row, hours, arrived_ms=first_ms + hours * 3_600_000)
    told: list[int] = []
    for _ in range(12 * 24 * 3):
        small.wait(1_200.0)
        small.read_backlog()
        small.acknowledge()
        while small.told:
            if small.told[0].name is EXPIRING:
                told.append(((small.told[0].since_ms or 0) - first_ms) // 3_600_000)
            small.take_notice()
    assert told == [0, 24, 48, 72, 96]
    assert small.endpoint(row).told.empty


def test_no_notice_is_made_about_an_endpoint_that_notices_go_to() -> None:
    small, row, _ = quarantined()
    small.row(2, event=EventName(EXPIRING.value), target=row.target)
    small.wait(30 * MINUTE_S)
    answer(small, row)
    small.wait(30 * MINUTE_S)
    refuse_all = small.send()
    for post in refuse_all:
        small.answer(post, REFUSED)
    small.acknowledge()
    assert small.told == []


def test_a_dead_notice_is_not_told() -> None:
    """Its hook has another target meanwhile, so its endpoint is an ordinary one now."""
    small = SmallEngine()
    row = small.row(1, event=EventName(DEAD.value))
    small.read(row, 1, namespace="hookstream")
    post = small.send_one()
    small.answer(post, REFUSED)
    small.acknowledge()
    assert small.told == []


def test_a_quarantine_of_a_disabled_hook_alone_is_not_told() -> None:
    small, row, _ = quarantined()
    small.change(row, state=HookState.DISABLED)
    small.wait(30 * MINUTE_S)
    assert small.told == []


def test_notices_never_hold_the_query_of_a_target() -> None:
    small = SmallEngine()
    row = small.row(target="https://one.example/a?token=secret")
    refuse(small, row, 1)
    event = event_of_notice(small.take_notice())
    assert "secret" not in str(event)
    assert isinstance(event.data, dict)
    assert event.data["target"] == "https://one.example/a"
