"""The limiter of tokens: a bucket that fills at a steady rate, on a clock of the test's."""

from __future__ import annotations

import pytest

from hookstream.subscriptions.api.token_rates import Rate, TokenRates


class Clock:
    """Seconds that stand still."""

    def __init__(self) -> None:
        self.s = 1_000_000.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_quota_may_be_used_at_once_and_no_more(clock: Clock) -> None:
    rates, rate = TokenRates(clock), Rate(100, 5)
    taken = [rates.take("1", rate) for _ in range(102)]
    assert [allowance.allowed for allowance in taken] == [True] * 100 + [False] * 2
    assert [allowance.left for allowance in taken] == [*range(99, -1, -1), 0, 0]
    assert taken[49].seconds == 3, "half the bucket, 2.5 s, rounded up"
    assert taken[99].seconds == 1, "until the next request"
    assert taken[101].seconds == 1


def test_the_bucket_fills_steadily(clock: Clock) -> None:
    rates, rate = TokenRates(clock), Rate(10, 5)
    assert sum(rates.take("1", rate).allowed for _ in range(20)) == 10
    clock.s += 0.49
    assert not rates.take("1", rate).allowed
    clock.s += 0.02
    assert rates.take("1", rate).allowed
    assert not rates.take("1", rate).allowed
    clock.s += 3600
    assert sum(rates.take("1", rate).allowed for _ in range(20)) == 10, "a rest gives one window's quota, not more"


def test_who_comes_again_when_told_is_served(clock: Clock) -> None:
    rates, rate = TokenRates(clock), Rate(1, 5)
    assert rates.take("1", rate).allowed
    refused = rates.take("1", rate)
    assert (refused.allowed, refused.seconds) == (False, 5)
    clock.s += refused.seconds
    assert rates.take("1", rate).allowed


def test_who_keeps_to_the_rate_is_never_refused(clock: Clock) -> None:
    rates, rate = TokenRates(clock), Rate(100, 5)
    for _ in range(10_000):
        clock.s += 0.05
        assert rates.take("1", rate).allowed


def test_a_flood_of_refused_requests_costs_nothing_more(clock: Clock) -> None:
    rates, rate = TokenRates(clock), Rate(10, 5)
    for _ in range(10_000):
        rates.take("1", rate)
    clock.s += 0.5
    assert rates.take("1", rate).allowed


def test_tokens_have_buckets_of_their_own(clock: Clock) -> None:
    rates, rate = TokenRates(clock), Rate(1, 5)
    assert rates.take("1", rate).allowed
    assert rates.take("2", rate).allowed
    assert not rates.take("1", rate).allowed


def test_the_buckets_are_bounded(clock: Clock) -> None:
    rates, rate = TokenRates(clock, most=3), Rate(1, 5)
    for token in "1234":
        assert rates.take(token, rate).allowed
    assert len(rates) == 3
    assert not rates.take("4", rate).allowed
    assert not rates.take("2", rate).allowed
    assert rates.take("1", rate).allowed, "the one that was idle for longest was forgotten"


@pytest.mark.parametrize(("per_s", "quota"), [(20.0, 40), (0.5, 1), (0.01, 1), (1000.0, 2000)])
def test_a_rate_by_the_second(per_s: float, quota: int) -> None:
    assert Rate.per_second(per_s) == Rate(quota, 2)


def test_zero_is_no_limit() -> None:
    assert Rate.per_second(0) is None
