"""The plan of a run is a function of its seed, and leaves no kind of fault out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.nemesis.plan import COMMANDS, ROLES, commands, deck, faults, told
from tests.nemesis.shifted_clock import ShiftedClock

if TYPE_CHECKING:
    from pathlib import Path


def test_a_seed_gives_the_same_plan_again() -> None:
    assert list(faults(7, 30)) == list(faults(7, 30))
    assert list(commands(7, 30)) == list(commands(7, 30))
    assert list(faults(7, 30)) != list(faults(8, 30))


def test_an_hour_has_every_fault_and_every_command() -> None:
    steps = list(faults(7, 60))
    assert {(step.kind, step.on) for step in steps} == set(deck())
    assert {step.on for step in steps} >= set(ROLES)
    assert {command.what for command in commands(7, 60)} == set(COMMANDS)
    assert [step.at for step in steps] == sorted(step.at for step in steps)
    assert told(steps[:1]) == [f"{steps[0].at:8.1f} s  {steps[0].kind} {steps[0].on} for {steps[0].lasts:g} s"]


def test_a_shifted_clock_follows_its_file(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    path.write_text("+3600")
    assert ShiftedClock(path).time() - time.time() == pytest.approx(3600, abs=60)
    path.write_text("-60")
    assert ShiftedClock(path).time() - time.time() == pytest.approx(-60, abs=30)


def test_quiet_times_are_long_enough_to_judge_an_operators_command() -> None:
    steps = list(faults(7, 60))
    ends = 0.0
    quiet = []
    for step in steps:
        if step.at > ends:
            quiet.append(step.at - ends)
        ends = max(ends, step.at + step.lasts)
    assert sum(1 for seconds in quiet if seconds > 15) > len(quiet) / 2
