"""Requests above a token's limit are answered late, as many as have their place."""

from __future__ import annotations

import asyncio

import pytest

from hookstream.subscriptions.api import rate_limit
from hookstream.subscriptions.api.rate_limit import Refusals
from hookstream.subscriptions.api.token_rates import Allowance, Rate

ALLOWANCE = Allowance(allowed=False, rate=Rate(100, 5), left=0, seconds=2)


class Pause:
    """A pause that ends when the test says so."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.seconds: list[float] = []

    @property
    def begun(self) -> int:
        return len(self.seconds)

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await self.over.wait()


@pytest.fixture
def pause(monkeypatch: pytest.MonkeyPatch) -> Pause:
    made = Pause()
    monkeypatch.setattr(rate_limit, "sleep", made)
    monkeypatch.setattr(rate_limit, "current_time", lambda: 1000.0)
    return made


def test_a_flood_has_so_many_places_and_others_have_theirs(pause: Pause) -> None:
    async def flood() -> None:
        refusals = Refusals(0.25)
        waiting = [asyncio.create_task(refusals.refuse("token:1", ALLOWANCE)) for _ in range(32)]
        await asyncio.sleep(0)
        assert pause.begun == 32
        one_more = await refusals.refuse("token:1", ALLOWANCE)
        assert one_more.headers == {"Retry-After": "2", "Connection": "close"}
        other = asyncio.create_task(refusals.refuse("token:2", ALLOWANCE))
        await asyncio.sleep(0)
        assert pause.begun == 33, "another caller has places of its own"
        pause.over.set()
        for answer in await asyncio.gather(*waiting, other):
            assert (answer.status, answer.headers) == (429, {"Retry-After": "2"})
        assert (await refusals.refuse("token:1", ALLOWANCE)).headers == {"Retry-After": "2"}

    asyncio.run(flood())


def test_answers_of_one_caller_come_one_after_the_other(pause: Pause) -> None:
    async def flood() -> None:
        refusals = Refusals(0.25)
        callers = ["token:1"] * 32 + ["token:2"] * 2
        waiting = [asyncio.create_task(refusals.refuse(caller, ALLOWANCE)) for caller in callers]
        await asyncio.sleep(0)
        assert pause.seconds[:32] == pytest.approx([0.25 + number * 0.25 / 32 for number in range(32)])
        assert pause.seconds[32:] == pytest.approx([0.25, 0.25 + 0.25 / 32]), "other callers do not wait behind them"
        pause.over.set()
        await asyncio.gather(*waiting)
        await refusals.refuse("token:1", ALLOWANCE)
        assert pause.seconds[34:] == [0.25], "nothing is kept of answers that were given"

    asyncio.run(flood())


def test_all_callers_together_have_so_many_places(pause: Pause) -> None:
    async def flood() -> None:
        refusals = Refusals(0.25)
        callers = [f"token:{number % 16}" for number in range(300)]
        waiting = [asyncio.create_task(refusals.refuse(caller, ALLOWANCE)) for caller in callers]
        await asyncio.sleep(0)
        assert pause.begun == 256
        pause.over.set()
        answers = await asyncio.gather(*waiting)
        assert sum("Connection" in answer.headers for answer in answers) == 300 - 256

    asyncio.run(flood())


def test_who_goes_away_leaves_its_place(pause: Pause) -> None:
    async def come_and_go() -> None:
        refusals = Refusals(0.25)
        for _ in range(100):
            task = asyncio.create_task(refusals.refuse("token:1", ALLOWANCE))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert pause.begun == 100

    asyncio.run(come_and_go())
