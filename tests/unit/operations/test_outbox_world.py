"""Simulated worlds of relays of an outbox: locks, crashes, suspensions, and reports that never come, by seed."""

from __future__ import annotations

import pytest

from tests.support.outbox_world import check_outbox

# Between them these find every planted bug of `tests/mutants/bugs/outbox_world.toml`.
SEEDS = (0, 2, 8, 13)


@pytest.mark.parametrize("seed", SEEDS)
def test_in_a_world_of_outbox_relays_all_that_was_committed_is_sent_in_order(seed: int) -> None:
    assert check_outbox(seed) is None
