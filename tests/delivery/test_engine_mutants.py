"""Every promise of the engine has a bug that breaks it, and the judge finds that bug: the checks can fail."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.engine_machine import QUICK, EngineMachine
from tests.support.engine_many_clients import check_many_clients
from tests.support.engine_model import ViolationError
from tests.support.engine_mutants import MUTANTS, forget, plant
from tests.support.engine_pace import SCENES, judge
from tests.support.engine_simulation import check

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The first seeds that showed a bug when it was planted; tried before the others, so that the test takes seconds.
_SHOWN_BY = {
    "commit_back_to_an_older_state": 2,
    "dead_letter_of_what_is_in_flight": 1506,
    "exhausted_schedule_outlasts_a_success": 42,
    "five_days_forgotten": 9,
    "fruitless_round_drops_a_new_cursor": 32_726_348_423_763,
    "full_window_waits_for_flight": 8,
    "gone_counts_for_present_row": 38,
    "handover_hook_alone": 13,
    "held_hook_forgets_what_its_last_owner_settled": 781,
    "held_hook_leaves_a_lane_asleep": 5030,
    "late_row_leaves_a_lane_asleep": 5004,
    "merge_ignores_scan": 28,
    "no_retarget_barrier": 18,
    "old_target_refuses_for_the_new": 88,
    "quarantine_moves_down": 7,
    "refusal_forgets_the_lane": 3,
    "refused_is_tried_again": 3,
    "rejoined_resource_forgets_what_its_last_owner_settled": 227,
    "replay_hides_a_live_head": 400_304,
    "resent_is_skipped_again": 7,
    "restart_strands_a_cursor": 30_760_036_803_577,
    "restored_notices_are_lost": 1610,
    "restored_cursor_takes_what_was_settled_with_it": 30_760_036_825_400,
    "resume_forgets_the_lanes": 10,
    "retention_leaves_a_lane_asleep": 30_760_036_817_558,
    "retarget_leaves_a_lane_asleep": 208_398_785_855_016,
    "settled_is_forgotten_before_it_is_read_again": 35,
    "settled_offsets_not_stored": 8,
    "silence_strands_a_cursor": 32_726_348_423_691,
    "success_keeps_five_day_clock": 9,
}
_SEEDS = 300
_WORLDS = 4
_MOST_CPU_S = 10.0  # of a world; the longest takes one
# Bugs of how much and how soon: what shows them at the pace of a deployment, see `engine_pace`.
_SHOWN_AT_PACE = {
    "full_window_takes_lane_after_lane": "a backlog of four receivers that take 300 ms",
    "slow_answers_leave_one_request_at_a_time": "a receiver that takes more than a second",
    "schedule_begins_late": "one request in ten fails",
    "failures_lower_the_limit_for_good": "one in ten of a receiver that takes 200 ms fails",
    "probe_turn_forgets_a_lane": "the first of a resource expires while another is poison, and the next is good",
    "probe_turn_forgets_a_lane_with_a_dead_letter": (
        "the head of a resource is on its way to the dead letters when it is found, and another resource is poison"
    ),
    "single_skip_forgets_the_probes": (
        "an operator skips the head of a resource that the probes know, and it is not the first that is pending"
    ),
    "settled_is_owed_after_a_start": (
        "an endpoint falls ill before live reading has re-read what a restored commit calls settled"
    ),
    "failures_leave_the_limit": "down and slow from the beginning",
    "probes_slow_down_at_once": "down for a minute",
    "flaky_lane_leaves_its_hooks_cursor": "down for twenty seconds, one in ten fails otherwise",
    "late_lane_stays_in_its_hooks_buffer": "down for twenty seconds, one in ten fails otherwise",
    "poison_lane_fills_its_hooks_buffer": ("one resource, every other record, is poison when the others are caught up"),
}


class EndlessTurnError(Exception):
    """A world has used more CPU time than any that ends."""


@contextmanager
def _an_endless_turn_found() -> Iterator[None]:
    """Raise from a world that never ends its turn: some bugs make an engine look at the same record for ever."""

    def give_up(*_: object) -> None:
        raise EndlessTurnError

    before = signal.signal(signal.SIGPROF, give_up)
    signal.setitimer(signal.ITIMER_PROF, _MOST_CPU_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@pytest.mark.parametrize("name", MUTANTS)
def test_the_judge_finds_a_planted_bug(name: str, tmp_path: Path) -> None:
    """A bug planted in the engine turns at least one simulated world red."""
    kit = plant(MUTANTS[name], name, tmp_path)
    try:
        if MUTANTS[name].crowded:
            assert any(check_many_clients(seed, kit)[1] is not None for seed in range(_WORLDS)), MUTANTS[name].meaning
            return
        scene = _SHOWN_AT_PACE.get(name)
        if scene is not None:
            assert judge(SCENES[scene], 1, kit) is not None
            return
        hint = _SHOWN_BY.get(name, 0)
        for seed in [hint, *(s for s in range(_SEEDS) if s != hint)]:
            try:
                with _an_endless_turn_found():
                    violation = check(seed, kit)[1]
            except EndlessTurnError:
                return
            if violation is not None:
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
