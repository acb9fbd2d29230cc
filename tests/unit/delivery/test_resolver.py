"""What is remembered about names, for how long, and that one look-up serves everybody who asks."""

from __future__ import annotations

import asyncio

import pytest

from hookstream.processors.delivery.http.errors import ResolveError
from hookstream.processors.delivery.http.resolver import FAILURE_TTL_S, MAX_REMEMBERED, TTL_S, RememberingResolver


class Clock:
    """Stands still."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


class Inner:
    """Answers, fails or waits as told, and counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failing = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def resolve(self, host: str) -> tuple[str, ...]:
        """Answer once the gate is open."""
        self.asked.append(host)
        await self.gate.wait()
        if self.failing:
            raise ResolveError(host)
        return ("192.0.2.1",)


def test_an_answer_is_remembered_for_its_time_and_no_longer() -> None:
    async def main() -> None:
        inner, clock = Inner(), Clock()
        resolver = RememberingResolver(inner, clock)
        assert await resolver.resolve("a") == ("192.0.2.1",)
        clock.now += TTL_S - 0.1
        await resolver.resolve("a")
        assert inner.asked == ["a"]
        clock.now += 0.1
        await resolver.resolve("a")
        assert inner.asked == ["a", "a"]

    asyncio.run(main())


def test_a_failure_is_remembered_for_a_shorter_time() -> None:
    async def main() -> None:
        inner, clock = Inner(), Clock()
        resolver = RememberingResolver(inner, clock)
        inner.failing = True
        for _ in range(2):
            with pytest.raises(ResolveError):
                await resolver.resolve("a")
        assert inner.asked == ["a"]
        inner.failing = False
        clock.now += FAILURE_TTL_S
        assert await resolver.resolve("a") == ("192.0.2.1",)

    asyncio.run(main())


def test_one_look_up_serves_all_who_ask_even_if_the_first_gives_up() -> None:
    async def main() -> None:
        inner = Inner()
        resolver = RememberingResolver(inner)
        inner.gate.clear()
        first = asyncio.create_task(resolver.resolve("a"))
        second = asyncio.create_task(resolver.resolve("a"))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        inner.gate.set()
        assert await second == ("192.0.2.1",)
        assert first.cancelled()
        assert inner.asked == ["a"]

    asyncio.run(main())


def test_what_is_remembered_is_bounded() -> None:
    async def main() -> None:
        inner = Inner()
        resolver = RememberingResolver(inner)
        for number in range(MAX_REMEMBERED + 1):
            await resolver.resolve(f"host{number}")
        inner.asked.clear()
        await resolver.resolve(f"host{MAX_REMEMBERED}")
        assert inner.asked == []
        await resolver.resolve("host0")
        assert inner.asked == ["host0"]

    asyncio.run(main())
