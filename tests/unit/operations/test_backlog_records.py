"""What of a log is owed by a commit: counted, kept between commits, and estimated."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookstream.processors.delivery.engine.partition_state import PartitionState, StoredCursor
from hookstream.processors.delivery.engine.tracker import OffsetTracker
from hookstream.processors.operations.queries import backlog_records as owed_records
from hookstream.processors.operations.queries.backlog_records import CommitView, LogRecords, sample_of
from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import HookId
from tests.support.values import DELIVERY

if TYPE_CHECKING:
    from hookstream.schemas.delivery import Delivery

ONE, TWO = HookId(1), HookId(2)


def delivery(hook: int, concept: int = 1, arrived_ms: int = 0) -> Delivery:
    live = replace(DELIVERY, replay=None, live_end=0, replayed_at_ms=0)
    return replace(
        live, hook_id=HookId(hook), client=ClientId(str(hook)), concept_id=str(concept), arrived_ms=arrived_ms
    )


def cursor(hook: int, start: int, *, concept: int | str | None = None, settled: tuple[int, ...] = ()) -> StoredCursor:
    resource = None if concept is None else f"property:{concept}"
    return StoredCursor(hook, str(hook), "property.updated", resource, start, settled, 0)


def view(offset: int, *cursors: StoredCursor, settled: set[int] = frozenset()) -> CommitView:  # type: ignore[assignment]
    tracker = OffsetTracker(offset)
    for at in range(offset, max(settled, default=offset - 1) + 1):
        tracker.read(at, settled=at in settled)
    base, bits = tracker.settled_above()
    assert base == offset
    return CommitView(offset, bits, PartitionState(cursors))


def scan(log: LogRecords, records: list[Delivery], seen: CommitView, *, end: int | None = None) -> list[int]:
    """Read on as far as `end`; give the offsets that were decoded."""
    start = log.follow(seen, low=0)
    end = len(records) if end is None else end
    decoded = []
    for offset in range(start, end):
        if log.wants(records[offset].key, offset, seen):
            decoded.append(offset)
            log.take(offset, records[offset], seen)
    log.scanned_to = max(start, end)
    return decoded


def counts(log: LogRecords, seen: CommitView) -> dict[int, int]:
    found = {hook: records.pending(hook, seen)[0] for hook, records in log.hooks.items()}
    return {hook: count for hook, count in found.items() if count}


def truth(records: list[Delivery], seen: CommitView) -> dict[int, int]:
    found: dict[int, int] = {}
    for offset, record in enumerate(records):
        if seen.is_pending(record.hook_id, hash(record.concept_id), offset):
            found[record.hook_id] = found.get(record.hook_id, 0) + 1
    return found


def test_the_window_is_owed_but_for_its_settled_set() -> None:
    records = [delivery(1, arrived_ms=at) for at in range(10)]
    log, seen = LogRecords(), view(3, settled={4, 6})
    scan(log, records, seen)
    assert log.hooks[ONE].pending(ONE, seen) == (5, 3)


def test_a_backlog_behind_a_cursor_is_owed_though_the_committed_offset_is_at_the_end() -> None:
    records = [delivery(1 + at % 2, arrived_ms=at) for at in range(100)]
    log, seen = LogRecords(), view(100, cursor(1, 20, settled=(22, 24)))
    decoded = scan(log, records, seen)
    assert counts(log, seen) == {ONE: 38}
    assert log.hooks[ONE].pending(ONE, seen)[1] == 20
    assert all(at % 2 == 0 for at in decoded), "no other partition's records are decoded"


def test_a_resource_has_a_cursor_of_its_own_beside_its_hooks() -> None:
    records = [delivery(1, concept=at % 3) for at in range(30)]
    log, seen = LogRecords(), view(30, cursor(1, 15), cursor(1, 3, concept=0, settled=(6,)))
    scan(log, records, seen)
    assert counts(log, seen) == {ONE: 10 + 8}
    only_resource = view(30, cursor(1, 3, concept=0))
    assert counts(log, only_resource) == {ONE: 9}


def test_what_arrived_before_a_hooks_new_beginning_is_not_owed() -> None:
    records = [delivery(1, arrived_ms=at) for at in range(10)]
    log, seen = LogRecords(), view(0)
    scan(log, records, seen)
    assert log.hooks[ONE].pending(ONE, seen, not_before_ms=7) == (3, 7)


def test_a_second_look_reads_only_what_came_since() -> None:
    records = [delivery(1) for _ in range(100)]
    log = LogRecords()
    assert len(scan(log, records, view(90, cursor(1, 10)), end=90)) == 80
    later = view(100, cursor(1, 30))
    assert scan(log, records, later) == list(range(90, 100))
    assert counts(log, later) == {ONE: 70}
    assert log.size == 70, "what was settled is let go"


def test_a_cursor_that_opened_since_is_counted_from_what_the_window_held() -> None:
    records = [delivery(1 + at % 2) for at in range(100)]
    log = LogRecords()
    scan(log, records, view(50), end=80)
    later = view(100, cursor(2, 51))
    assert scan(log, records, later) == [at for at in range(80, 100) if at % 2]
    assert counts(log, later) == {TWO: 25}


def test_everything_is_read_again_where_offsets_were_reset() -> None:
    records = [delivery(1) for _ in range(100)]
    log = LogRecords()
    scan(log, records, view(90))
    reset = view(10)
    assert scan(log, records, reset) == list(range(10, 100))
    assert counts(log, reset) == {ONE: 90}


def test_a_hand_over_that_moves_the_offset_back_costs_no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owed_records, "SLACK_OFFSETS", 20)
    records = [delivery(1) for _ in range(100)]
    log = LogRecords()
    scan(log, records, view(40), end=80)
    scan(log, records, view(70), end=80)
    back = view(55)
    assert scan(log, records, back) == list(range(80, 100))
    assert counts(log, back) == {ONE: 45}


def test_what_was_passed_for_those_with_cursors_alone_is_read_again_after_a_small_reset() -> None:
    records = [delivery(1 + at % 2) for at in range(100)]
    log = LogRecords()
    scan(log, records, view(10, cursor(1, 5)), end=20)
    scan(log, records, view(50, cursor(1, 5)), end=60)
    reset = view(30)
    scan(log, records, reset)
    assert counts(log, reset) == truth(records, reset) == {ONE: 35, TWO: 35}


def test_a_cursor_without_records_that_falls_behind_the_slack_is_not_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(owed_records, "SLACK_OFFSETS", 20)
    records = [delivery(2) for _ in range(100)]
    log = LogRecords()
    scan(log, records, view(10), end=20)
    for at in (30, 60, 90):
        reached, seen = log.scanned_to, view(at, cursor(1, 15))
        assert [log.follow(seen, low=0), log.follow(seen, low=0)] == [reached, reached]
        scan(log, records, view(at, cursor(1, 15)), end=at)


def test_a_hook_with_a_cursor_and_no_record_yet_is_not_read_again_and_again() -> None:
    records = [delivery(2) for _ in range(100)]
    log, seen = LogRecords(), view(100, cursor(1, 20))
    scan(log, records, seen)
    assert log.follow(seen, low=0) == 100


def test_a_sample_says_how_many_there_are_of_each() -> None:
    records = [delivery(1 + at % 4) for at in range(10_000)]
    seen = view(10_000, cursor(1, 0), cursor(2, 5_000))
    read = [(at, records[at]) for start in range(0, 10_000, 1_250) for at in range(start, start + 100)]
    sample = sample_of(read, seen, read=800, span=10_000)
    assert sample.estimate(ONE, seen) == pytest.approx(2_500, rel=0.05)
    assert sample.estimate(TWO, seen) == pytest.approx(1_250, rel=0.05)
    assert sample.estimate(HookId(3), seen) == 0


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_looks_between_commits_of_any_order_count_as_one_that_reads_everything(seed: int) -> None:
    """A simulation of a worker's commits: cursors open at unsettled records, move up, and are handed over."""
    random = Random(seed)  # noqa: S311  # a simulation
    slack, owed_records.SLACK_OFFSETS = owed_records.SLACK_OFFSETS, 20
    try:
        records = [delivery(random.randint(1, 4), random.randint(1, 3), at) for at in range(200)]
        unsettled: set[int] = set()
        cursors: dict[tuple[int, str | None], int] = {}
        position = base = 0
        log = LogRecords()
        while position < 200:
            for _ in range(random.randint(1, 30)):
                if position < 200:
                    record = records[position]
                    keys = ((record.hook_id, record.concept_id), (record.hook_id, None))
                    if not any(key in cursors for key in keys):
                        unsettled.add(position)
                    position += 1
            for at in sorted(unsettled):
                if random.random() < 0.6:
                    unsettled.discard(at)
            _move_cursors(random, records, unsettled, cursors, position)
            base = min(unsettled, default=position)
            settled = {at for at in range(base, position) if at not in unsettled}
            seen = view(base, *(cursor(hook, at, concept=c) for (hook, c), at in cursors.items()), settled=settled)
            if random.random() < 0.7:
                scan(log, records, seen, end=random.randint(position, 200))
                end = log.scanned_to or 0
                assert counts(log, seen) == truth(records[:end], seen)
    finally:
        owed_records.SLACK_OFFSETS = slack


def _move_cursors(
    random: Random, records: list[Delivery], unsettled: set[int], cursors: dict[tuple[int, str | None], int], end: int
) -> None:
    """Move or hand over some cursors; open one at a hook's or resource's oldest unsettled record."""
    for key, at in list(cursors.items()):
        if random.random() < 0.1 and end - at < 20:  # handed over: what it owes is in the window again
            del cursors[key]
            unsettled |= {
                n
                for n in range(at, end)
                if records[n].hook_id == key[0]
                and key[1] in (None, records[n].concept_id)
                and not any((key[0], c) in cursors for c in (records[n].concept_id, None))
            }
        else:
            cursors[key] = min(end, at + random.randint(0, 15))
    if unsettled and random.random() < 0.3:
        first = records[random.choice(sorted(unsettled))]
        concept = random.choice([None, first.concept_id])
        if not any(hook == first.hook_id for hook, _ in cursors):
            mine = {
                n for n in unsettled if records[n].hook_id == first.hook_id and concept in (None, records[n].concept_id)
            }
            cursors[first.hook_id, concept] = min(mine)
            unsettled -= mine
