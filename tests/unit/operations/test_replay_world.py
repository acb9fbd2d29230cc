"""Simulated worlds of replayers: leases, crashes, suspensions, operators, late leaders and retention, by seed."""

from __future__ import annotations

import pytest

from tests.support.replay_world import check_replayers

# Between them these find every planted bug of `tests/mutants/bugs/replay_world.toml`.
SEEDS = (5, 6, 10, 15, 28, 30, 32, 49, 61, 100, 101, 111, 164)
# The last: what a replayer had given up came late, behind what its successor sent; retention had deleted its source.
ONCE_RED = (8_115_202_060_992, 266_736_401_978_307)


@pytest.mark.parametrize("seed", [*SEEDS, *ONCE_RED])
def test_a_world_of_replayers_sends_what_is_in_the_window_and_nothing_else(seed: int) -> None:
    assert check_replayers(seed) is None
