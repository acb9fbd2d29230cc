"""Simulated worlds of relays of hooks: locks, crashes, suspensions, and answers that are lost, by seed."""

from __future__ import annotations

import pytest

from tests.support.relay_world import check_relays

# Between them these find every planted bug of `tests/mutants/bugs/relay_world.toml`.
SEEDS = (0, 2, 7)


@pytest.mark.parametrize("seed", SEEDS)
def test_in_a_world_of_relays_the_topic_becomes_what_the_database_says(seed: int) -> None:
    assert check_relays(seed) is None
