"""The plan on paper: docs/scale.md shows what the arithmetic gives, and a limit is where it is said to be."""

from __future__ import annotations

import pytest

from benchmarks.scale import (
    INPUTS,
    LIMITS,
    TODAY,
    Limit,
    Load,
    inputs_table,
    limits_table,
    partitions,
    plan_table,
    reached,
    rewritten,
    routers,
    workers,
)
from tests.support.repository import ROOT


@pytest.mark.parametrize(
    "table", [inputs_table(), plan_table(TODAY), limits_table(TODAY)], ids=["inputs", "plan", "limits"]
)
def test_the_document_shows_what_the_arithmetic_gives(table: list[str]) -> None:
    assert "\n".join(table) in (ROOT / "docs/scale.md").read_text()


def test_tables_are_written_anew_where_they_stand() -> None:
    text = "before\n\n| a |\n|---|\n| 1 |\n| 2 |\n\nbetween\n\n| b |\n|---|\n| 3 |"
    new = rewritten(text, [["| b |", "|---|", "| 4 |", "| 5 |"], ["| a |", "|---|", "| 6 |"]])
    assert new == "before\n\n| a |\n|---|\n| 6 |\n\nbetween\n\n| b |\n|---|\n| 4 |\n| 5 |"
    with pytest.raises(ValueError, match="no table"):
        rewritten(text, [["| c |", "|---|"]])


def test_every_figure_has_a_symbol_of_its_own_and_says_where_it_is_from() -> None:
    assert len({each.symbol for each in INPUTS}) == len(INPUTS)
    assert all(each.source for each in INPUTS)


@pytest.mark.parametrize("limit", LIMITS, ids=[limit.text for limit in LIMITS])
def test_a_limit_holds_just_before_it_is_reached_and_not_soon_after(limit: Limit) -> None:
    factor = reached(limit, TODAY)
    assert limit.value(TODAY.times(factor)) <= limit.at_most < limit.value(TODAY.times(factor * 1.01))


def test_receivers_that_take_long_need_more_workers_and_no_more_routers() -> None:
    slow = Load(mean_per_s=1_000, peak_per_s=20_000, hooks=1, answer_s=5.0)
    quick = Load(mean_per_s=1_000, peak_per_s=20_000, hooks=1, answer_s=0.01)
    assert workers(slow) > workers(quick)
    assert routers(slow) == routers(quick)


def test_a_worker_has_two_partitions_at_least() -> None:
    for factor in (1, 100, 1_000, 10_000):
        load = TODAY.times(factor)
        assert partitions(load) >= 2 * workers(load) or partitions(load) == partitions(TODAY)
