"""A moment that every step of a question shares."""

from __future__ import annotations

import pytest

from hookstream.processors.deadline import Deadline
from hookstream.processors.errors import KafkaUnavailableError


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_step_has_what_is_left_and_no_more() -> None:
    clock = Clock()
    deadline = Deadline.after(12.0, clock)
    assert deadline.left_s(10.0, "asking") == 10.0
    clock.now_s = 111.0
    assert deadline.left_s(10.0, "asking") == 1.0
    clock.now_s = 112.0
    with pytest.raises(KafkaUnavailableError, match="asking: not done in time"):
        deadline.left_s(10.0, "asking")


def test_it_is_over_when_it_has_come() -> None:
    clock = Clock()
    deadline = Deadline.after(1.0, clock)
    told = []
    for now_s in (100.9, 101.0, 101.1):
        clock.now_s = now_s
        told.append(deadline.over)
    assert told == [False, True, True]


def test_a_part_ends_with_the_whole() -> None:
    clock = Clock()
    deadline = Deadline.after(5.0, clock)
    assert deadline.sooner(2.0).ends_s == 102.0
    assert deadline.sooner(9.0).ends_s == 105.0


def test_a_step_may_end_later_than_the_whole_and_nothing_left_is_not_negative() -> None:
    clock = Clock()
    deadline = Deadline.after(5.0, clock)
    assert (deadline.remaining_s, deadline.later(1.0).ends_s) == (5.0, 105.0)
    clock.now_s = 110.0
    assert (deadline.remaining_s, deadline.later(1.0).ends_s) == (0.0, 111.0)
    assert isinstance(deadline.later(1.0), Deadline)
