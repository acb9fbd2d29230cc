"""When a replay's deliveries may go, and how far a run is."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from hookstream.processors.operations.replays.pacing import MAX_WAITING, Done, Pacer
from hookstream.processors.operations.replays.reader import note_of, read_note
from tests.support.values import DELIVERY

HERE, THERE = ("events.lead", 0), ("events.lead", 1)
NEAR, FAR = ("1", "https://near.example/"), ("2", "https://far.example/")


def pacer(*, rate: float = 1000.0, endpoint_rate: float = 1000.0) -> Pacer:
    start = {HERE: Done(10, 3), THERE: Done(0, 0)}
    return Pacer(rate_per_s=rate, endpoint_rate_per_s=endpoint_rate, start=start, now=0.0)


def add(paced: Pacer, offset: int, endpoint: tuple[str, str] = NEAR, place: tuple[str, int] = HERE) -> None:
    paced.add(place, offset, replace(DELIVERY, source_offset=offset), endpoint)
    paced.read(place, offset + 1)


def taken(paced: Pacer, now: float, limit: int = 500) -> list[int]:
    due = paced.take(now, limit)
    paced.acknowledged(due)
    return [each.offset for each in due]


def test_a_partition_is_done_up_to_its_lowest_delivery_that_was_not_acknowledged() -> None:
    paced = pacer()
    assert paced.progress()[HERE] == Done(10, 3)
    for offset in (10, 12, 15):
        add(paced, offset)
    paced.read(HERE, 20)
    first, second, third = paced.take(0.1, 500)
    assert paced.progress()[HERE] == Done(10, 3), "taken is not acknowledged"
    paced.acknowledged([second, third])
    assert paced.progress()[HERE] == Done(10, 3, frozenset({12, 15}))
    assert paced.sent == 5
    paced.acknowledged([first])
    assert paced.progress() == {HERE: Done(20, 6), THERE: Done(0, 0)}
    assert paced.sent == 6


def test_deliveries_of_one_endpoint_leave_in_their_order_and_endpoints_take_turns() -> None:
    paced = pacer()
    for offset in range(10, 16):
        add(paced, offset)
    add(paced, 0, FAR, THERE)
    due = paced.take(0.1, 4)
    assert [(each.place, each.offset) for each in due] == [(HERE, 10), (THERE, 0), (HERE, 11), (HERE, 12)]


@pytest.mark.parametrize("rate", [3.0, 50.0, 2000.0])
def test_the_total_rate_holds_over_any_second(rate: float) -> None:
    paced = pacer(rate=rate, endpoint_rate=1e6)
    for offset in range(10, 12_000):
        add(paced, offset)
    sent = [len(taken(paced, turn / 100)) for turn in range(1, 501)]
    assert sum(sent) == pytest.approx(5 * rate, abs=0.25 * rate + 1)
    most = max(sum(sent[begin : begin + 100]) for begin in range(400))
    assert most <= 1.25 * rate + 1


def test_an_endpoint_at_its_rate_waits_alone() -> None:
    paced = pacer(endpoint_rate=10.0)
    for offset in range(10, 1010):
        add(paced, offset)
    for offset in range(5):
        add(paced, offset, (str(offset), "https://other.example/"), THERE)
    due = Counter(each.place for each in paced.take(0.0, 500))
    assert due[THERE] == 5
    assert due[HERE] <= 2
    assert 0 < paced.wait_s(0.0) <= 0.1
    add(paced, 5, FAR, THERE)
    assert [each.place for each in paced.take(0.01, 500)] == [THERE], "one that comes later does not wait for it"
    sent = sum(len(taken(paced, turn / 50)) for turn in range(1, 101))
    assert sent == pytest.approx(20, abs=3)


def test_no_more_is_read_than_may_wait() -> None:
    paced = pacer()
    for offset in range(10, 10 + MAX_WAITING):
        assert not paced.full
        add(paced, offset)
    assert paced.full
    paced.take(0.1, 1)
    assert not paced.full


def test_with_nothing_to_send_there_is_nothing_to_wait_for() -> None:
    assert pacer().wait_s(5.0) == float("inf")


def test_a_successor_sends_nothing_that_is_noted_as_sent() -> None:
    before = pacer()
    for offset in (10, 12, 15, 18):
        add(before, offset)
    first, second, third, _ = before.take(0.1, 500)
    before.acknowledged([second, third])
    done = before.progress()[HERE]
    assert read_note(done.next_offset, note_of(done) + "\0") == done
    after = Pacer(rate_per_s=1000.0, endpoint_rate_per_s=1000.0, start={HERE: done}, now=0.0)
    assert after.sent == before.sent == 5
    for offset in (10, 12, 15, 18):
        add(after, offset)
    assert taken(after, 0.1) == [first.offset, 18]
    assert after.progress()[HERE] == Done(19, 7)
    assert after.sent == 7


@pytest.mark.parametrize("last", [12, 13, 20])
def test_what_a_predecessor_sent_and_is_met_no_more_is_passed(last: int) -> None:
    """Its hook was deleted since, or retention took it; a note of what lies below could not be read again."""
    after = Pacer(
        rate_per_s=1000.0, endpoint_rate_per_s=1000.0, start={HERE: Done(10, 3, frozenset({12, 15}))}, now=0.0
    )
    add(after, 10)
    after.read(HERE, last)
    assert taken(after, 0.1) == [10]
    done = after.progress()[HERE]
    assert (done.next_offset, after.sent) == (last, 6)
    assert read_note(done.next_offset, note_of(done)) == done
    assert done.above == frozenset(offset for offset in (12, 15) if offset >= last)


def test_a_note_fits_a_commit_whatever_was_sent_above() -> None:
    done = Done(7, 3, frozenset(range(1_000_000, 11_000_000, 1_000)))
    note = note_of(done)
    assert len(note) < 4_000
    read = read_note(7, note)
    assert read is not None
    assert (read.next_offset, read.sent) == (7, 3)
    assert 500 < len(read.above) < len(done.above)
    assert read.above < done.above
    for foreign in (None, "", "{}", '{"v":2,"sent":1,"above":[]}', "[]"):
        assert read_note(7, foreign) is None
