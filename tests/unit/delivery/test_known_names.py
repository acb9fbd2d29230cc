"""What is remembered about names, for how long, and that an old answer serves while a new one is asked for."""

from __future__ import annotations

import asyncio

import pytest

from hookstream.processors.delivery.http.errors import ResolveError
from hookstream.processors.delivery.http.known_names import NameLimits, RememberingResolver

LIMITS = NameLimits(fresh_s=30.0, stale_s=600.0, failure_s=5.0, max_names=100)
OLD, NEW = ("192.0.2.1",), ("192.0.2.2",)


class Clock:
    """Stands still."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Inner:
    """Answers, fails or waits as told, and counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failing = False
        self.addresses = OLD
        self.gate = asyncio.Event()
        self.gate.set()

    async def resolve(self, host: str) -> tuple[str, ...]:
        self.asked.append(host)
        await self.gate.wait()
        if self.failing:
            raise ResolveError(host)
        return self.addresses


def test_an_answer_is_remembered_for_its_time() -> None:
    async def main() -> None:
        inner, clock = Inner(), Clock()
        names = RememberingResolver(inner, LIMITS, clock)
        assert await names.resolve("a") == OLD
        clock.now += LIMITS.fresh_s - 0.1
        assert await names.resolve("a") == OLD
        assert inner.asked == ["a"]

    asyncio.run(main())


def test_an_old_answer_serves_at_once_while_the_name_is_asked_for_again() -> None:
    async def main() -> None:
        inner, clock = Inner(), Clock()
        names = RememberingResolver(inner, LIMITS, clock)
        await names.resolve("a")
        inner.gate.clear()
        inner.addresses = NEW
        clock.now += LIMITS.fresh_s
        for _ in range(3):
            assert await names.resolve("a") == OLD
        await until(lambda: len(inner.asked) == 2)
        assert await names.resolve("a") == OLD
        inner.gate.set()
        await until(lambda: names._known["a"].addresses == NEW)
        assert await names.resolve("a") == NEW
        assert inner.asked == ["a", "a"]

    asyncio.run(main())


def test_an_old_answer_serves_while_the_name_servers_fail_and_is_not_asked_for_all_the_time() -> None:
    async def main() -> None:
        inner, clock = Inner(), Clock()
        names = RememberingResolver(inner, LIMITS, clock)
        await names.resolve("a")
        inner.failing = True
        clock.now += LIMITS.fresh_s
        for expected in (2, 3):
            assert await names.resolve("a") == OLD
            await until(lambda: not names._look_ups._asked)
            assert await names.resolve("a") == OLD
            assert len(inner.asked) == expected
            clock.now += LIMITS.failure_s

    asyncio.run(main())


def test_an_answer_that_is_too_old_is_waited_for_again() -> None:
    async def main() -> None:
        inner, clock = Inner(), Clock()
        names = RememberingResolver(inner, LIMITS, clock)
        await names.resolve("a")
        clock.now += LIMITS.stale_s
        inner.addresses = NEW
        assert await names.resolve("a") == NEW
        clock.now += LIMITS.stale_s
        inner.failing = True
        with pytest.raises(ResolveError):
            await names.resolve("a")

    asyncio.run(main())


def test_a_failure_is_remembered_for_a_shorter_time() -> None:
    async def main() -> None:
        inner, clock = Inner(), Clock()
        names = RememberingResolver(inner, LIMITS, clock)
        inner.failing = True
        for _ in range(2):
            with pytest.raises(ResolveError):
                await names.resolve("a")
        assert inner.asked == ["a"]
        inner.failing = False
        clock.now += LIMITS.failure_s
        assert await names.resolve("a") == OLD

    asyncio.run(main())


def test_what_is_remembered_is_bounded() -> None:
    async def main() -> None:
        inner = Inner()
        names = RememberingResolver(inner, LIMITS)
        for number in range(LIMITS.max_names + 1):
            await names.resolve(f"host{number}")
        inner.asked.clear()
        await names.resolve(f"host{LIMITS.max_names}")
        assert inner.asked == []
        await names.resolve("host0")
        assert inner.asked == ["host0"]

    asyncio.run(main())


async def until(condition: object) -> None:
    """Give the loop turns until it holds; a hundred are plenty."""
    assert callable(condition)
    for _ in range(100):
        if condition():
            return
        await asyncio.sleep(0)
    pytest.fail("it never happens")
