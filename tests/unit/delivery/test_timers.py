"""What is due is done in the order of its time, and then in the order in which it was asked for."""

from __future__ import annotations

from hookstream.processors.delivery.engine.timers import Timers


def test_what_is_due_is_done_by_its_time_and_what_is_not_waits() -> None:
    timers, done = Timers(), list[str]()
    timers.at(3.0, lambda: done.append("third"))
    timers.at(1.0, lambda: done.append("first"))
    timers.at(2.0, lambda: done.append("second"))
    timers.run(2.0)
    assert done == ["first", "second"]
    assert timers.next_due == 3.0


def test_actions_of_the_same_moment_are_done_in_the_order_they_were_asked_for() -> None:
    timers, done = Timers(), list[int]()
    for number in range(20):
        timers.at(1.0, lambda number=number: done.append(number))  # type: ignore[misc]
    timers.run(1.0)
    assert done == list(range(20))


def test_an_action_is_done_once() -> None:
    timers, done = Timers(), list[str]()
    timers.at(1.0, lambda: done.append("once"))
    timers.run(1.0)
    timers.run(1.0)
    assert done == ["once"]
    assert timers.next_due is None


def test_an_action_that_asks_for_one_that_is_due_gets_it_in_the_same_run() -> None:
    timers, done = Timers(), list[str]()
    timers.at(1.0, lambda: timers.at(0.5, lambda: done.append("asked for late")))
    timers.run(1.0)
    assert done == ["asked for late"]
