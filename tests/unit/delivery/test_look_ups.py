"""Look-ups under way: one a name, bounded for each client and in all, and names that hang hold up themselves alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from hookstream.processors.delivery.http.errors import ResolveError
from hookstream.processors.delivery.http.look_ups import LookUpLimits, LookUps, Permit

NEVER = 1e6
LIMITS = LookUpLimits(
    hung_s=NEVER,
    permits=6,
    untrusted_permits=2,
    max_hung=8,
    per_client=3,
    per_untrusted_client=1,
    max_waiting=20,
    max_waiting_per_client=10,
)
GOOD, BAD = "1", "2"
ADDRESSES = ("192.0.2.1",)


class Inner:
    """Names that begin with `hang` wait until they are let go; those with `fail` have no address."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.gates: dict[str, asyncio.Future[None]] = {}

    async def resolve(self, host: str) -> tuple[str, ...]:
        self.asked.append(host)
        if host.startswith("hang"):
            gate = self.gates[host] = asyncio.get_running_loop().create_future()
            await gate
        if host.startswith("fail"):
            raise ResolveError(host)
        if host.startswith("bug"):
            raise KeyError(host)
        return ADDRESSES

    def let_go(self, host: str) -> None:
        self.gates.pop(host).set_result(None)


class World:
    """Look-ups on a resolver that hangs as told."""

    def __init__(self, limits: LookUpLimits = LIMITS) -> None:
        self.inner = Inner()
        self.ended: list[tuple[str, tuple[str, ...]]] = []
        self.look_ups = LookUps(self.inner, limits, ended=lambda host, found: self.ended.append((host, found)))

    def ask(self, host: str, client: str | None = BAD) -> asyncio.Task[tuple[str, ...]]:
        return asyncio.ensure_future(self.look_ups.look_up(host, client))

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    def hang(self, host: str) -> None:
        """Let the second pass after which a look-up hangs."""
        asked = self.look_ups._asked[host]
        assert asked.timer is not None
        asked.timer.cancel()
        self.look_ups._hangs(asked)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test, and fail it for what only the loop saw."""
    unseen: list[dict[str, Any]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
        await main()

    asyncio.run(watched())
    assert not unseen, unseen


def test_one_look_up_serves_all_who_ask_even_if_the_first_gives_up() -> None:
    async def main() -> None:
        world = World()
        first, second, third = world.ask("hang", GOOD), world.ask("hang", GOOD), world.ask("hang", BAD)
        await world.settle()
        first.cancel()
        await world.settle()
        world.inner.let_go("hang")
        assert await second == await third == ADDRESSES
        assert first.cancelled()
        assert world.inner.asked == ["hang"]
        assert world.ended == [("hang", ADDRESSES)]

    run(main)


def test_a_client_has_so_many_look_ups_under_way_and_no_more() -> None:
    async def main() -> None:
        world = World()
        for n in range(8):
            world.ask(f"hang{n}", BAD)
        await world.settle()
        assert world.inner.asked == ["hang0", "hang1", "hang2"]
        assert await world.ask("fine", GOOD) == ADDRESSES
        world.inner.let_go("hang1")
        await world.settle()
        assert world.inner.asked[-1] == "hang3"
        world.look_ups.close()

    run(main)


def test_clients_have_their_turns_however_much_one_wants() -> None:
    async def main() -> None:
        world = World(replace(LIMITS, permits=1, per_client=1))
        world.ask("hang", BAD)
        waiting = [world.ask(f"bad{n}", BAD) for n in range(5)] + [world.ask(f"good{n}", GOOD) for n in range(2)]
        await world.settle()
        world.inner.let_go("hang")
        await asyncio.gather(*waiting)
        assert world.inner.asked == ["hang", "bad0", "good0", "bad1", "good1", "bad2", "bad3", "bad4"]

    run(main)


def test_what_hangs_gives_its_permit_up_and_its_client_s_other_names_wait_among_the_untrusted() -> None:
    async def main() -> None:
        world = World(replace(LIMITS, permits=3))
        for n in range(6):
            world.ask(f"hang{n}", BAD)
        fine = world.ask("fine", GOOD)
        await world.settle()
        assert not fine.done()  # every permit is taken, by names that nothing is known against
        world.hang("hang0")
        assert await fine == ADDRESSES
        assert world.inner.asked == ["hang0", "hang1", "hang2", "fine"]  # hang3 is untrusted, and its client has enough
        assert world.look_ups._taken[Permit.HUNG] == 1
        world.look_ups.close()

    run(main)


def test_no_more_than_so_many_hang_beside_those_that_have_places() -> None:
    async def main() -> None:
        world = World(replace(LIMITS, permits=2, per_client=2, max_hung=1))
        world.ask("hang0", BAD)
        world.ask("hang1", BAD)
        fine = world.ask("fine", GOOD)
        later = world.ask("hang2", GOOD)
        await world.settle()
        world.hang("hang0")
        assert await fine == ADDRESSES
        await world.settle()
        world.hang("hang1")  # no room among the hung: it keeps its permit
        finer = world.ask("finer", "3")
        await world.settle()
        assert not finer.done()
        world.inner.let_go("hang1")
        assert await finer == ADDRESSES
        world.look_ups.close()
        later.cancel()

    run(main)


def test_a_name_that_failed_last_time_waits_among_the_untrusted_until_it_succeeds() -> None:
    async def main() -> None:
        world = World(replace(LIMITS, untrusted_permits=1))
        assert await world.ask("fail", BAD) == ()
        assert world.ended == [("fail", ())]
        world.look_ups._untrusted["hang"] = world.look_ups._untrusted["fine"] = None
        world.ask("hang", BAD)
        untrusted = world.ask("fine", GOOD)
        assert await world.ask("other", GOOD) == ADDRESSES
        assert not untrusted.done()
        world.inner.let_go("hang")
        assert await untrusted == ADDRESSES
        assert "fine" not in world.look_ups._untrusted
        assert "fail" in world.look_ups._untrusted

    run(main)


def test_a_name_that_another_client_waits_for_in_vain_is_looked_up_for_who_has_a_turn() -> None:
    async def main() -> None:
        world = World()
        for n in range(3):
            world.ask(f"hang{n}", BAD)
        shared = world.ask("shared", BAD)
        await world.settle()
        assert not shared.done()
        assert await world.ask("shared", GOOD) == await shared == ADDRESSES
        assert world.inner.asked.count("shared") == 1
        for n in range(3):
            world.inner.let_go(f"hang{n}")
        await world.settle()
        assert world.inner.asked.count("shared") == 1
        assert not world.look_ups._asked
        assert not world.look_ups.waiting

    run(main)


def test_a_name_without_a_waiting_request_is_not_looked_up() -> None:
    async def main() -> None:
        world = World(replace(LIMITS, per_client=1))
        world.ask("hang", BAD)
        given_up = world.ask("given-up", BAD)
        await world.settle()
        world.look_ups.refresh("wanted", BAD)
        await world.settle()
        given_up.cancel()
        await world.settle()
        world.inner.let_go("hang")
        await world.settle()
        assert world.inner.asked == ["hang", "wanted"]
        assert not world.look_ups._asked

    run(main)


def test_the_line_is_bounded_for_each_client() -> None:
    async def main() -> None:
        world = World(replace(LIMITS, per_client=1, max_waiting_per_client=2))
        tasks = [world.ask(f"hang{n}", BAD) for n in range(4)]
        await world.settle()
        assert [task.done() for task in tasks] == [False, False, False, True]
        with pytest.raises(ResolveError, match="too many"):
            await tasks[3]
        assert await world.ask("fine", GOOD) == ADDRESSES
        world.look_ups.close()

    run(main)


def test_who_waits_for_most_pays_for_a_full_line() -> None:
    async def main() -> None:
        world = World(replace(LIMITS, permits=1, per_client=1, max_waiting=4))
        greedy = [world.ask(f"hang{n}", BAD) for n in range(5)]
        await world.settle()
        modest = world.ask("fine", GOOD)
        await world.settle()
        assert [task.done() for task in greedy] == [False, False, False, False, True]
        world.look_ups.refresh("another", GOOD)  # no request waits for it: being refused is no error
        with pytest.raises(ResolveError, match="too many"):
            await greedy[4]
        world.inner.let_go("hang0")
        await world.settle()
        world.inner.let_go("hang1")
        assert await modest == ADDRESSES
        world.look_ups.close()

    run(main)


def test_a_bug_of_ours_is_told_to_who_waits_for_that_name_and_holds_no_place() -> None:
    async def main() -> None:
        world = World()
        world.look_ups.refresh("bug", BAD)
        with pytest.raises(KeyError):
            await world.ask("bug", BAD)
        assert await world.ask("fine", BAD) == ADDRESSES
        assert world.ended == [("fine", ADDRESSES)]
        assert not world.look_ups._running
        assert not +world.look_ups._taken

    run(main)


def test_a_second_is_what_it_takes_to_hang() -> None:
    async def main() -> None:
        world = World(replace(LIMITS, hung_s=0.0))
        world.ask("hang", BAD)
        await world.settle()
        assert world.look_ups._taken[Permit.HUNG] == 1
        assert "hang" in world.look_ups._untrusted
        world.inner.let_go("hang")
        await world.settle()
        assert "hang" not in world.look_ups._untrusted
        assert not world.look_ups._hanging
        assert not +world.look_ups._taken

    run(main)
