"""Simulated worlds of resyncs: restored databases, requests and relays meanwhile, crashes at any step, by seed."""

from __future__ import annotations

import pytest

from tests.support.resync_world import check_resyncs

# Between them these find every planted bug of `tests/mutants/bugs/resync_world.toml`.
SEEDS = (0, 8, 16, 27, 43)


@pytest.mark.parametrize("seed", SEEDS)
def test_in_a_world_of_resyncs_no_hook_is_lost(seed: int) -> None:
    assert check_resyncs(seed) is None
