"""Simulated worlds of routers: crashes, take-overs, refused records and commits, by seed."""

from __future__ import annotations

import pytest

from tests.support.router_world import check_routers

# Between them these find every planted bug of `tests/mutants/bugs/router_world.toml`.
SEEDS = (0, 1, 4, 5, 8, 9, 13, 14, 16, 74, 195)
# A request was refused that was sent before its partition had left and come back: its records counted as sent alone.
ONCE_RED = (48_647_585_531_883,)


@pytest.mark.parametrize("seed", [*SEEDS, *ONCE_RED])
def test_a_world_of_routers_loses_nothing_and_keeps_the_order(seed: int) -> None:
    assert check_routers(seed) is None


def test_a_seed_gives_the_same_world_again() -> None:
    assert check_routers(5) == check_routers(5)
