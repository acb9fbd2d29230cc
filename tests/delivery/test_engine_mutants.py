"""Every promise of the engine has a bug that breaks it, and the judge finds that bug: the checks can fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.engine_crowd import check_crowd
from tests.support.engine_machine import QUICK, EngineMachine
from tests.support.engine_mutants import MUTANTS, forget, plant
from tests.support.engine_world import ViolationError, check

if TYPE_CHECKING:
    from pathlib import Path

# The first seeds that showed a bug when it was planted; tried before the others, so that the test takes seconds.
_SHOWN_BY = {
    "probe_turn_forgets_a_lane": 97,
    "retention_strands_a_cursor": 328,
    "settled_is_forgotten_before_it_is_reread": 154,
    "settled_is_owed_after_a_start": 70,
    "gone_counts_for_present_row": 21,
    "handover_hook_alone": 17,
    "merge_ignores_scan": 17,
    "probe_head_only": 122,
    "quarantine_moves_down": 270,
    "replay_ignores_unread": 37,
}
_SEEDS = 300
_CROWDS = 4


@pytest.mark.parametrize("name", MUTANTS)
def test_the_judge_finds_a_planted_bug(name: str, tmp_path: Path) -> None:
    """A bug planted in the engine turns at least one simulated world red."""
    kit = plant(MUTANTS[name], name, tmp_path)
    try:
        if MUTANTS[name].crowded:
            assert any(check_crowd(seed, kit)[1] is not None for seed in range(_CROWDS)), MUTANTS[name].meaning
            return
        hint = _SHOWN_BY.get(name, 0)
        for seed in [hint, *(s for s in range(_SEEDS) if s != hint)]:
            if check(seed, kit)[1] is not None:
                return
    finally:
        forget(name)
    pytest.fail(f"{name} ({MUTANTS[name].meaning}) was not found in {_SEEDS} worlds")


@pytest.mark.parametrize("name", ["early_handover", "no_retarget_barrier", "commit_without_its_cursors"])
def test_the_state_machine_finds_one_too(name: str, tmp_path: Path) -> None:
    """The rules of the state machine reach what breaks, in a few steps each."""

    class Planted(EngineMachine):
        kit = plant(MUTANTS[name], name, tmp_path)

    few = settings(QUICK, max_examples=300, phases=[Phase.generate])
    try:
        with pytest.raises(ViolationError):
            run_state_machine_as_test(Planted, settings=few)
    finally:
        forget(name)
