"""What may be committed: the lowest offset that is not settled, and a bitmap of what is settled above it."""

from __future__ import annotations

import pytest

from hookstream.processors.delivery.engine.tracker import OffsetTracker, SettledSet


def tracker(*settled: bool, start: int = 100) -> OffsetTracker:
    """Records read one after the other."""
    made = OffsetTracker(start)
    for offset, each in enumerate(settled, start):
        made.read(offset, settled=each)
    return made


def test_the_base_is_the_lowest_unsettled_offset() -> None:
    assert tracker(True, False, True, False).base == 101


def test_when_everything_is_settled_the_base_is_the_position() -> None:
    assert tracker(True, True).base == 102


def test_the_base_passes_what_was_settled_out_of_order_once_the_lowest_is_settled() -> None:
    made = tracker(False, False, False)
    made.settle(101)
    assert made.base == 100
    made.settle(100)
    assert made.base == 102


def test_offsets_that_do_not_exist_count_as_settled() -> None:
    """A transaction's markers, and what compaction took."""
    made = tracker(True)
    made.read(105, settled=False)
    assert (made.base, made.position) == (105, 106)
    made.settle(105)
    made.skip_to(110)
    assert made.base == 110


def test_an_offset_is_read_once() -> None:
    made = tracker(True, True)
    with pytest.raises(ValueError, match="offset 101 is below the position 102"):
        made.read(101, settled=True)


def test_a_record_that_comes_back_moves_the_base_down_to_it() -> None:
    made = tracker(True, True, True)
    assert made.base == 103
    made.unsettle(101)
    assert made.base == 101


def test_the_bitmap_says_what_is_settled_from_the_base_on_and_ends_with_the_last() -> None:
    assert tracker(True, False, True, True, False, False).settled_above() == (101, bytes([0b0110_0000]))


def test_nothing_settled_above_the_base_is_no_bitmap() -> None:
    assert tracker(True, False, False).settled_above() == (101, b"")


def test_what_a_restored_commit_calls_settled_counts_until_it_is_read_again() -> None:
    restored = SettledSet(100, bytes([0b0011_0000]))
    made = tracker(False, start=100)
    assert made.settled_above(restored) == (100, bytes([0b0011_0000]))
    for offset in (101, 102, 103):
        made.read(offset, settled=False)
    assert made.settled_above(restored) == (100, b"")


def test_a_long_settled_prefix_is_forgotten_and_the_rest_keeps_its_offsets() -> None:
    made = tracker(*[True] * 5_000, False, True)
    assert made.base == 5_100
    assert made.settled_above() == (5_100, bytes([0b0100_0000]))
    made.settle(5_100)
    assert made.base == 5_102


def test_a_settled_set_knows_its_offsets_and_says_nothing_of_those_outside() -> None:
    settled = SettledSet(100, bytes([0b0110_0000, 0b1000_0000]))
    assert [offset for offset in range(90, 130) if offset in settled] == [101, 102, 108]
    assert settled.end == 109


def test_an_empty_settled_set_ends_at_its_base() -> None:
    assert SettledSet(7).end == 7
    assert SettledSet(7, b"\x00").end == 7
