"""Figures are judged by their bars and say so to people and to machines."""

from __future__ import annotations

import json

import pytest

from benchmarks.figures import Figure, Report, allowed_p99_ms, median_of, number


@pytest.mark.parametrize(
    ("figure", "met"),
    [
        (Figure(name="p99", value=10, at_most=10), True),
        (Figure(name="p99", value=10.1, at_most=10), False),
        (Figure(name="rate", value=8000, at_least=8000), True),
        (Figure(name="rate", value=7999, at_least=8000), False),
        (Figure(name="rate", value=5, at_least=1, at_most=4), False),
        (Figure(name="rate", value=5), None),
    ],
)
def test_a_bar_is_met_up_to_itself(figure: Figure, *, met: bool | None) -> None:
    assert figure.met is met


def test_a_figure_without_a_bar_spoils_nothing_and_one_missed_bar_does() -> None:
    told, fine = Figure(name="a", value=1), Figure(name="b", value=1, at_most=1)
    missed = Figure(name="c", value=2, at_most=1)
    assert Report(benchmark="x", figures=[told, fine]).met
    assert not Report(benchmark="x", figures=[told, fine, missed]).met


def test_the_line_for_people_shows_value_bar_and_verdict() -> None:
    figures = [
        Figure(name="rate", value=12345.6, unit="/s", at_least=8000),
        Figure(name="p99", value=31.25, unit="ms", at_most=30),
        Figure(name="lost", value=0),
    ]
    line = Report(benchmark="rates", figures=figures, remarks=["no peer"]).line()
    assert line == "rates: MISS: rate 12,346 /s (≥ 8,000: ok); p99 31.2 ms (≤ 30: MISS); lost 0; no peer"


def test_the_line_for_machines_is_one_line_of_json_without_what_does_not_apply() -> None:
    report = Report(benchmark="x", figures=[Figure(name="lost", value=0, at_most=0)], setting={"rate": 500.0})
    line = report.json_line()
    assert "\n" not in line
    assert json.loads(line) == {
        "benchmark": "x",
        "met": True,
        "figures": {"lost": {"value": 0, "at_most": 0, "met": True}},
        "setting": {"rate": 500.0},
        "remarks": [],
    }


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (0.0421, "0.0421"), (1.75, "1.8"), (999.94, "999.9"), (20000.4, "20,000")]
)
def test_numbers_have_as_many_digits_as_say_something(value: float, shown: str) -> None:
    assert number(value) == shown


def test_the_median_is_of_one_number_of_each_round() -> None:
    assert median_of([("a", 3.0), ("b", 1.0), ("c", 2.0)], lambda each: each[1]) == 2.0


@pytest.mark.parametrize(("healthy_ms", "allowed_ms"), [(2.0, 7.0), (10.0, 15.0), (100.0, 150.0)])
def test_bystanders_may_take_half_as_long_again_or_five_milliseconds_more(healthy_ms: float, allowed_ms: float) -> None:
    assert allowed_p99_ms(healthy_ms) == allowed_ms


def test_without_slack_only_the_factor_counts() -> None:
    assert allowed_p99_ms(2.0, slack_ms=0.0) == 3.0
