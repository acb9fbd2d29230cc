"""Simulated worlds of relays of endpoint settings: locks, crashes, restored databases and new topics, by seed."""

from __future__ import annotations

import pytest

from tests.support.settings_relay_world import check_settings_relays

# Between them these find every planted bug of `tests/mutants/bugs/settings_relay_world.toml`.
SEEDS = (0, 1, 2, 4, 21)


@pytest.mark.parametrize("seed", SEEDS)
def test_in_a_world_of_relays_of_settings_topic_and_database_agree(seed: int) -> None:
    assert check_settings_relays(seed) is None
