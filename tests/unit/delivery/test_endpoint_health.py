"""When an endpoint counts as down, when it is probed, and how much it gets at once."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest

from hookstream.processors.delivery.engine.endpoint_health import EndpointHealth
from hookstream.processors.delivery.engine.policy import FULL_SCHEDULE_S, HOUR_S, MINUTE_S, EnginePolicy
from hookstream.processors.delivery.engine.retry_schedule import probe_pause_s

POLICY = EnginePolicy()
RECEIVERS = Path(__file__).parents[3] / "docs" / "receivers.md"


def health(*resources: str, policy: EnginePolicy = POLICY) -> EndpointHealth:
    """An endpoint that these resources were met of."""
    made = EndpointHealth(policy, lambda: 0.5)
    for resource in resources:
        made.met(resource)
    return made


def fails(endpoint: EndpointHealth, resource: str, now: float) -> bool:
    return endpoint.fail(resource, now=now, wall_ms=1)


def test_failures_of_two_resources_open_the_breaker_after_a_second_and_not_before() -> None:
    endpoint = health("a", "b")
    assert not fails(endpoint, "a", 10.0)
    assert not fails(endpoint, "b", 10.99)
    assert fails(endpoint, "a", 11.0)


def test_twenty_failures_in_a_row_open_it_at_once() -> None:
    endpoint = health("a", "b")
    opened = [fails(endpoint, "ab"[n % 2], 10.0 + n / 1000) for n in range(20)]
    assert opened == [False] * 19 + [True]


def test_a_success_between_them_begins_the_row_anew() -> None:
    endpoint = health("a", "b")
    for n in range(100):
        assert not fails(endpoint, "ab"[n % 2], n / 2)
        if n % 2:
            endpoint.succeed("a", 0.01, 1)


def test_one_resource_of_several_never_opens_it_however_often_it_fails() -> None:
    endpoint = health("a", "b")
    assert not any(fails(endpoint, "a", float(n)) for n in range(1_000))


def test_the_only_resource_opens_it_after_a_second_and_two_attempts() -> None:
    endpoint = health("a", "a")
    assert not fails(endpoint, "a", 10.0)
    assert fails(endpoint, "a", 11.0)


def test_failures_in_a_row_lower_what_is_in_flight_and_a_success_gives_it_back() -> None:
    endpoint = health("a", "b")
    endpoint.limit = 40.0
    limits = []
    for _ in range(7):
        fails(endpoint, "a", 0.0)
        limits.append(endpoint.limit)
    assert limits == [20, 10, 5, 2.5, 1.25, 1, 1]
    endpoint.succeed("b", 0.01, 1)
    assert endpoint.limit == 40
    endpoint.succeed("b", POLICY.concurrency_fast_s * 2, 1)
    assert endpoint.limit == 20, "a slow answer is another matter"


def test_an_endpoint_comes_back_with_few_requests_at_once() -> None:
    endpoint = health("a", "b")
    endpoint.limit = 64.0
    fails(endpoint, "a", 0.0)
    endpoint.quarantine(0.0)
    endpoint.succeed("b", 0.01, 1)
    assert endpoint.limit == POLICY.concurrency_start


def test_probes_begin_at_once_are_steady_for_two_minutes_and_then_rare() -> None:
    pauses = [probe_pause_s(failed, POLICY) for failed in range(40)]
    assert pauses[:6] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2])
    assert pauses[6:29] == [5.0] * 23
    assert pauses[29:36] == [10, 20, 40, 80, 160, 300, 300]
    steady = [at for at, pause in zip(accumulate(pauses), pauses, strict=True) if pause == POLICY.probe_steady_s]
    assert 115 <= steady[-1] <= 125


def test_a_pace_of_probes_that_falls_is_refused() -> None:
    assert probe_pause_s(3, replace(POLICY, probe_first_s=5.0)) == 5.0
    for first_s, longest_s in ((0.0, 300.0), (6.0, 300.0), (0.1, 4.0)):
        with pytest.raises(ValueError, match="probe_first_s"):
            replace(POLICY, probe_first_s=first_s, probe_max_s=longest_s)


def test_receivers_are_told_the_schedule_that_is_kept() -> None:
    told = " ".join(RECEIVERS.read_text().split())
    words = [_words(seconds) for seconds in FULL_SCHEDULE_S]
    assert f"tried again after {', '.join(words[:-1])} and {words[-1]}," in told
    days = sum(FULL_SCHEDULE_S) / (24 * HOUR_S)
    assert re.search(r"three days and some hours after the first attempt", told)
    assert 3 < days < 3.5


def _words(seconds: float) -> str:
    for unit, name in ((HOUR_S, "h"), (MINUTE_S, "min"), (1.0, "s")):
        if seconds >= unit:
            return f"{seconds / unit:g} {name}"
    raise AssertionError(seconds)
