"""What `/readyz` reads of a check that waits."""

from __future__ import annotations

from hookstream.processors.lifecycle import StopSignal
from hookstream.processors.readiness import RepeatedCheck


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_part_is_not_ready_before_it_was_asked() -> None:
    assert RepeatedCheck(lambda: None)() == "starting"


def test_the_last_answer_is_told_until_there_is_another() -> None:
    answers = iter([None, "no answer from it", None])
    check = RepeatedCheck(lambda: next(answers))
    told = []
    for _ in range(3):
        check.once()
        told.append(check())
    assert told == [None, "no answer from it", None]


def test_an_answer_that_is_late_is_none() -> None:
    clock = Clock()
    told: list[str | None] = []

    def hang() -> str | None:
        for now_s in (100.0, 110.0, 111.5):
            clock.now_s = now_s
            told.append(check())
        return None

    check = RepeatedCheck(hang, monotonic_s=clock)
    check.once()
    assert told == ["starting", "starting", "no answer for 12 s"]
    assert check() is None


def test_it_is_repeated_until_a_stop_is_asked_for() -> None:
    stop = StopSignal()
    asked: list[None] = []

    def check() -> None:
        asked.append(None)
        if len(asked) == 3:
            stop.ask()

    RepeatedCheck(check, every_s=0.0).run(stop)
    assert len(asked) == 3
