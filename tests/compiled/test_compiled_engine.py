"""The compiled engine is judged by the same worlds as the interpreted one, and they find a bug that is compiled too."""

from __future__ import annotations

from pathlib import Path

import pytest

from hookstream.processors.delivery.engine import engine
from tests.support.compiled_mutants import plant_compiled
from tests.support.engine_mutants import MUTANTS, forget
from tests.support.engine_simulation import check

# Bugs of four modules; compiling one takes as long as the interpreted worlds of all.
SAMPLE = ("pause_ignored", "lane_passes_dead_letter", "probe_spends_attempt", "retry_after_ignored")
_SEEDS = 60


def test_what_is_tested_here_is_compiled() -> None:
    """Started by hand without the compiled packages, this folder tests nothing."""
    assert Path(str(engine.__file__)).suffix == ".so", "run `make compiled`"


@pytest.mark.parametrize("name", SAMPLE)
def test_the_judge_finds_a_planted_bug_in_a_compiled_engine(name: str, tmp_path: Path) -> None:
    """The worlds can be red on this build."""
    kit = plant_compiled(MUTANTS[name], name, tmp_path)
    try:
        assert any(check(seed, kit)[1] is not None for seed in range(_SEEDS)), MUTANTS[name].meaning
    finally:
        forget(name)
