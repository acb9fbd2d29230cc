"""How often engines are asked what their cursors want to read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from hookstream.processors.delivery.worker.catch_up_planner import CatchUpPlanner

if TYPE_CHECKING:
    from collections.abc import Callable


class Loop:
    """A loop whose time the test moves; it keeps the pause before the next call."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pause_s = 0.0
        self.due: Callable[[], None] | None = None

    def time(self) -> float:
        return self.now

    def call_later(self, pause_s: float, call: Callable[[], None]) -> Any:
        self.pause_s, self.due = pause_s, call
        return SimpleNamespace(cancel=lambda: None)


@pytest.mark.parametrize(("takes_s", "pause_s"), [(0.0001, 0.02), (0.005, 0.045), (0.5, 0.2), (0.0, 0.02)])
def test_the_longer_it_takes_to_ask_the_engines_the_longer_is_the_pause_before_they_are_asked_again(
    takes_s: float, pause_s: float
) -> None:
    loop: Any = Loop()

    def plan(_partition: object) -> bool:
        loop.now += takes_s
        return False

    reading: Any = SimpleNamespace(plan=plan)
    partition = SimpleNamespace(engine=SimpleNamespace(has_cursors=True))
    partitions: Any = SimpleNamespace(order=[partition], leaving=[])
    turns: Any = SimpleNamespace(wake=lambda: None)
    planner = CatchUpPlanner(reading, partitions, turns, loop)
    planner.soon()
    assert loop.pause_s == 0.02
    loop.due()
    assert loop.pause_s == pytest.approx(pause_s)
