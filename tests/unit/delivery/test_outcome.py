"""What an answer means, whatever stands in it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookstream.processors.delivery.engine.outcome import (
    DELIVERED,
    REFUSED,
    Verdict,
    judge,
    outcome_of,
    parse_retry_after,
)
from hookstream.schemas.attempt import AttemptResult

NOW_S = 1_790_000_000.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        (" 120 ", 120.0),
        ("0", 0.0),
        ("9" * 40, 999_999_999.0),
        ("-1", None),
        ("1.5", None),
        ("1e9", None),
        ("١٢", None),
        ("", None),
        ("soon", None),
        ("Mon, 21 Sep 2026 14:15:20 GMT", 120.0),
        ("Monday, 21-Sep-26 14:15:20 GMT", 120.0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0.0),
        ("Fri, 31 Dec 99999999999 23:59:59 GMT", None),
        ("Fri, 99999999999999999999 Dec 2026 23:59:59 GMT", None),
        ("Fri, 31 Dec 2026 99999999999:59:59 GMT", None),
        ("Mon, 01 Jan 0001 00:00:00 +0000", 0.0),
        ("1, 2", None),
        ("9" * 5000, None),
        ("\x00", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_never_an_exception(header: str | None, seconds: float | None) -> None:
    assert parse_retry_after(header, wall_s=NOW_S) == seconds


DAY = st.sampled_from(["Mon", "Fri", "Friday", "", "x"])
NUMBER = st.integers(-(10**20), 10**20).map(str) | st.integers(0, 99).map(str)
DATES = st.builds(
    lambda day, number, month, year, h, m, s, zone: f"{day}, {number} {month} {year} {h}:{m}:{s} {zone}",
    DAY,
    NUMBER,
    st.sampled_from(["Jan", "Dec", "jan", "13", ""]),
    NUMBER,
    NUMBER,
    NUMBER,
    NUMBER,
    st.sampled_from(["GMT", "UTC", "+0000", "-9999", "+99999", "EST", "A", ""]),
)


@given(st.text(max_size=80) | DATES, st.integers(100, 999))
def test_any_text_is_a_bounded_time_or_none(header: str, status: int) -> None:
    result, outcome = judge(status, None, header, wall_s=NOW_S)
    assert isinstance(result, AttemptResult)
    assert outcome.retry_after_s is None or (math.isfinite(outcome.retry_after_s) and outcome.retry_after_s >= 0)


def test_an_error_of_our_own_is_a_failure_like_any_other() -> None:
    result, outcome = judge(None, AttemptResult.INTERNAL_ERROR, None, wall_s=NOW_S)
    assert (result, outcome.verdict) == (AttemptResult.INTERNAL_ERROR, Verdict.FAILED)


@pytest.mark.parametrize("status", [*range(200, 210), 226, 299])
def test_a_2xx_is_delivered_whatever_else_it_says(status: int) -> None:
    assert judge(status, None, None, wall_s=NOW_S, refused=True) == (AttemptResult.DELIVERED, DELIVERED)


@pytest.mark.parametrize("status", [300, 301, 400, 401, 404, 409, 422, 499, 500, 502, 503, 599, 999])
def test_with_abort_any_other_status_is_a_refusal_and_no_failure(status: int) -> None:
    result, outcome = judge(status, None, None, wall_s=NOW_S, refused=True)
    assert result is judge(status, None, None, wall_s=NOW_S)[0], "the attempt shows what the status was"
    assert outcome == REFUSED


@pytest.mark.parametrize(("status", "retry_after"), [(410, None), (429, None), (429, "7"), (503, "7")])
def test_410_and_a_retry_after_mean_with_abort_what_they_mean_without_it(status: int, retry_after: str | None) -> None:
    result, outcome = judge(status, None, retry_after, wall_s=NOW_S, refused=True)
    assert (result, replace(outcome, refused=False)) == judge(status, None, retry_after, wall_s=NOW_S)
    assert outcome.refused


@pytest.mark.parametrize("error", [None, AttemptResult.TIMEOUT, AttemptResult.BROKEN_ANSWER])
def test_a_request_without_a_whole_answer_refuses_nothing(error: AttemptResult | None) -> None:
    assert not judge(None, error, None, wall_s=NOW_S, refused=True)[1].refused


@pytest.mark.parametrize("result", AttemptResult)
def test_every_result_has_an_outcome(result: AttemptResult) -> None:
    delivered = outcome_of(result, None, wall_s=NOW_S).verdict is Verdict.DELIVERED
    assert delivered == (result is AttemptResult.DELIVERED)
