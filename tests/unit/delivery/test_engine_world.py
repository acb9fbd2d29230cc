"""The engine keeps its promises in a world of crashes, zombies, hostile targets and changing hooks."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.engine_world import World, check


@pytest.mark.parametrize("first", range(0, 24, 4))
def test_no_world_violates_an_invariant(first: int) -> None:
    """A fixed block of seeds: crash-free, crashing, with duplicates, with limits, with impatient operators."""
    for seed in range(first, first + 4):
        world, violation = check(seed)
        assert violation is None, f"seed {seed}: {violation}\n" + "\n".join(world.trace[-60:])


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(min_value=1_000, max_value=2**32))
def test_no_random_world_violates_an_invariant(seed: int) -> None:
    """Seeds nobody has chosen; Hypothesis prints the one that fails."""
    _, violation = check(seed)
    assert violation is None, f"seed {seed}: {violation}"


def test_the_worlds_go_through_what_they_claim() -> None:
    """A judge of a world in which nothing happens proves nothing."""
    words = World(1).words.copy()
    for seed in range(30, 42):
        words += check(seed)[0].words
    for word in ("crash", "take-over", "revoke", "replay", "router", "target", "row", "dead", "receipt", "notice"):
        assert words[word] > 0 or any(known.startswith(word) for known in words), word
