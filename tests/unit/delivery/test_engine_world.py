"""The engine keeps its promises in a world of crashes, zombies, hostile targets and changing hooks."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hookstream.processors.delivery.engine.policy import EnginePolicy
from tests.support.engine_machine import QUICK, EngineMachine
from tests.support.engine_many_clients import check_many_clients
from tests.support.engine_model import FAIL, LIVE
from tests.support.engine_simulation import Simulation, check
from tests.support.engine_world import World

# Worlds that were red once: a lane that the probes forgot (81, 146), dead letters in their way (1041), a cursor that
# retention stranded (1490), a partition given away before it was re-read (154, 170), a cursor opened meanwhile (55), a
# lane whose head was becoming a dead letter when the probes met it (218), a cursor of a hook that began below what the
# last owner had settled (781, 1042), a dead letter of what was in flight (1506), what was to be told of an endpoint
# whose hook had left it (1610, 2198), a quarantine that two owners told and that ended unacknowledged (…743_176,
# …692_308), a cursor that the probes dropped though it had just opened (…423_384, …423_763), one that retention emptied
# while its endpoint was silent (…423_691), a lane that waited behind a record of another hook that went elsewhere
# (5004, 5030, …855_016, …708_040), failures of an endpoint that had been forgotten meanwhile, which the judge still
# counted (…852_619), a cursor of a hook that held what the last owner had settled of one resource (5089), one that held
# what had come settled with another (…825_400), dead letters whose attempts the judge counted at the acknowledgement,
# when a 2xx to a later record had ended them (…817_880, …818_879).
ONCE_RED = (55, 81, 146, 154, 170, 218, 781, 1041, 1042, 1490, 1506, 1610, 2198, 5004, 5030, 5089, 19_277)
ONCE_RED_OF_A_SOAK = (
    243_795_505_743_176,
    204_225_783_692_308,
    32_726_348_423_384,
    32_726_348_423_691,
    32_726_348_423_763,
    208_398_785_852_619,
    208_398_785_852_858,
    208_398_785_855_016,
    95_533_788_708_040,
    30_760_036_817_880,
    30_760_036_818_879,
    30_760_036_825_400,
    30_760_036_803_577,
    30_760_036_826_056,
    30_760_036_807_120,
    30_760_036_831_496,
    30_760_036_817_558,
)


@pytest.mark.parametrize("seed", [*range(20), *ONCE_RED, *ONCE_RED_OF_A_SOAK])
def test_no_world_violates_an_invariant(seed: int) -> None:
    """A fixed block of seeds: crash-free, crashing, with duplicates, with limits, with impatient operators."""
    world, violation = check(seed)
    assert violation is None, f"{violation}\n" + "\n".join(world.trace[-60:])


@pytest.mark.parametrize("seed", [0, 1])
def test_many_clients_that_hang_hold_up_no_other_client(seed: int) -> None:
    """The second time clients move their hooks to other targets all the time, which hides nothing."""
    _, violation = check_many_clients(seed)
    assert violation is None


# Under CI the same ones each time: a rare world that is red is found at home, and then belongs into ONCE_RED.
@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=bool(os.environ.get("CI"))
)
@given(seed=st.integers(min_value=1_000, max_value=2**32))
def test_no_random_world_violates_an_invariant(seed: int) -> None:
    """Hypothesis chooses seeds, and prints the one that fails."""
    _, violation = check(seed)
    assert violation is None, f"seed {seed}: {violation}"


def test_the_worlds_go_through_what_they_claim() -> None:
    """A judge of a world in which nothing happens shows nothing."""
    words = Simulation(World(1)).world.words.copy()
    for seed in range(30, 36):
        words += check(seed)[0].words
    for word in (
        "crash",
        "take-over",
        "revoke",
        "replay",
        "router",
        "target",
        "row",
        "dead",
        "receipt",
        "notice",
        "refused",
    ):
        assert words[word] > 0 or any(known.startswith(word) for known in words), word


class LongOutage(World):
    """A world in which nothing expires, and probes become as rare as they are in a deployment."""

    probe_pauses = (5.0, 10.0, *[20.0] * 6, 40.0, 80.0, 160.0, 300.0)

    def _policy(self) -> EnginePolicy:
        return replace(super()._policy(), expire_after_s=1e6, probe_steady_probes=6, probe_max_s=300.0)


def test_an_hour_of_outage_costs_few_requests_and_ends_with_everything_in_order() -> None:
    """Both targets of a client are down for an hour: the world's judge sees to the order of what follows."""
    simulation = Simulation(LongOutage(0, records=300))
    world, received = simulation.world, simulation.judge.received[LIVE]
    simulation.heal()
    down = [("1", "x"), ("1", "y")]
    world.modes.update(dict.fromkeys(down, FAIL))
    for _ in range(3_600):
        simulation.step()
    asked = sum(1 for line in world.trace if " send " in line and "('1', '" in line)
    records = dict(enumerate(world.logs[LIVE]))
    owed = [o for o, record in records.items() if record and record.client == "1" and not received[o]]
    assert len(owed) > 100
    assert asked < 40, "some before each quarantine, the first probes, and then one in five minutes"
    simulation.drain(12_000)
    assert all(received[offset] == 1 for offset, record in records.items() if record)


TestEngine = EngineMachine.TestCase
TestEngine.settings = QUICK


def test_cursors_that_nothing_happened_to_are_looked_at_soon() -> None:
    """Not in every turn, but within ten milliseconds: the engine asks for the turn itself."""
    simulation = Simulation(World(4))
    engine = simulation.world.owner.engine
    while not engine.has_cursors:
        simulation.step()
        engine = simulation.world.owner.engine
    engine.end_turn()
    engine.end_turn()
    assert not engine._ledger.touched
    due = engine.next_due()
    assert due is not None
    assert due <= engine._ledger.now + engine.policy.rejoin_every_s
