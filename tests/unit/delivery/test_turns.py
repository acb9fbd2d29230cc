"""At most one turn and one timer of the event loop wait at a time."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from hookstream.processors.delivery.worker.turns import SUSPENDED_AFTER_S, Turns

if TYPE_CHECKING:
    from collections.abc import Callable


class Loop:
    """Remembers what it is asked to call."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []
        self.later: list[tuple[float, Callable[[], None]]] = []

    def call_soon(self, call: Callable[[], None]) -> None:
        self.soon.append(call)

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Any:
        self.later.append((delay_s, call))
        return SimpleNamespace(cancel=lambda: self.later.remove((delay_s, call)))


def made() -> tuple[Turns, Loop, list[str]]:
    loop, had = Loop(), list[str]()
    turns = Turns(loop, monotonic_s=lambda: 100.0)  # type: ignore[arg-type]
    turns.begin(lambda: had.append("turn"))
    return turns, loop, had


def test_a_turn_that_is_asked_for_twice_is_had_once() -> None:
    turns, loop, had = made()
    turns.wake()
    turns.wake()
    (turn,) = loop.soon
    turn()
    assert had == ["turn"]
    turns.wake()
    assert len(loop.soon) == 2, "after a turn another may be asked for"


def test_a_wake_before_the_first_turn_is_harmless() -> None:
    loop = Loop()
    turns = Turns(loop, monotonic_s=lambda: 100.0)  # type: ignore[arg-type]
    turns.wake()
    loop.soon[0]()


def test_the_timer_is_set_anew_only_for_what_is_due_earlier() -> None:
    turns, loop, had = made()
    turns.set_timer(100.0, 105.0)
    turns.set_timer(100.0, 106.0)
    turns.set_timer(100.0, float("inf"))
    assert [delay for delay, _ in loop.later] == [5.0]
    turns.set_timer(100.0, 101.0)
    ((delay, fire),) = loop.later
    assert delay == 1.0
    fire()
    assert had == ["turn"]


def test_a_closed_loop_has_no_timer_and_nothing_waits_for_a_turn() -> None:
    turns, loop, _ = made()
    turns.set_timer(100.0, 105.0)

    async def wait() -> None:
        turns.had = asyncio.Event()
        waiting = asyncio.ensure_future(turns.had.wait())
        turns.close()
        await waiting

    asyncio.run(wait())
    assert not loop.later


def test_a_loop_without_a_turn_for_long_may_have_been_suspended() -> None:
    turns, _, _ = made()
    assert not turns.suspended(100.0 + SUSPENDED_AFTER_S)
    assert turns.suspended(100.1 + SUSPENDED_AFTER_S)
