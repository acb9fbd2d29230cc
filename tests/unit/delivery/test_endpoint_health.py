"""When an endpoint counts as down, when it waits, what is not sent to it, and how much it gets at once."""

from __future__ import annotations

import pytest

from hookstream.processors.delivery.engine.endpoint_health import EndpointHealth
from hookstream.processors.delivery.engine.policy import HOUR_S, MINUTE_S, EnginePolicy

POLICY = EnginePolicy()


def health(*resources: str, policy: EnginePolicy = POLICY) -> EndpointHealth:
    """An endpoint of which these resources were seen."""
    made = EndpointHealth(policy, lambda: 0.5)
    for resource in resources:
        made.note_resource(resource)
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


def test_quick_answers_to_a_full_endpoint_raise_what_it_gets_up_to_the_most() -> None:
    endpoint = health("a", "b")
    endpoint.succeed("a", 0.01, 0)
    assert endpoint.limit == POLICY.concurrency_start, "it did not use what it has"
    for _ in range(1_000):
        endpoint.succeed("a", 0.01, int(endpoint.limit))
    assert endpoint.limit == POLICY.concurrency_max


def test_a_failed_probe_opens_nothing_and_lowers_nothing() -> None:
    endpoint = health("a")
    endpoint.quarantine(0.0)
    assert not any(fails(endpoint, "a", float(n)) for n in range(100))
    assert endpoint.limit == POLICY.concurrency_start


def test_a_success_ends_the_quarantine_and_says_so_once() -> None:
    endpoint = health("a")
    endpoint.quarantine(0.0)
    assert endpoint.succeed("a", 0.01, 1)
    assert not endpoint.succeed("a", 0.01, 1)
    assert not endpoint.breaker_open


def test_each_failed_probe_makes_the_next_one_later() -> None:
    endpoint = health("a")
    endpoint.quarantine(100.0)
    assert endpoint.probe_times.due == pytest.approx(100.1)
    endpoint.probe_times.note_failure(200.0)
    assert endpoint.probe_times.due == pytest.approx(200.2)
    endpoint.probe_times.schedule(300.0)
    assert endpoint.probe_times.due == pytest.approx(300.2), "nothing was sent, so it is as soon as before"


def test_a_rejection_is_the_record_s_only_while_other_resources_succeed() -> None:
    endpoint = health("a", "b")
    assert not endpoint.record_at_fault("a"), "nothing ever succeeded"
    endpoint.succeed("b", 0.01, 1)
    fails(endpoint, "a", 0.0)
    assert endpoint.record_at_fault("a")
    assert not endpoint.record_at_fault("b"), "another one failed since the last success"
    fails(endpoint, "b", 0.0)
    assert not endpoint.record_at_fault("a")


def test_a_rejection_of_the_only_resource_is_the_endpoints_failure() -> None:
    endpoint = health("a")
    endpoint.succeed("a", 0.01, 1)
    assert not endpoint.record_at_fault("a")


def test_a_busy_endpoint_waits_as_long_as_it_asks_within_a_floor_that_doubles_and_an_hour() -> None:
    def wait(endpoint: EndpointHealth, asked_s: float | None) -> float:
        return endpoint.busy(asked_s, now=endpoint.retry_after_until, wall_ms=1)

    assert wait(health(), 17.0) == 17.0
    assert wait(health(), 24 * HOUR_S) == HOUR_S
    endpoint = health()
    assert [wait(endpoint, None) for _ in range(10)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 5 * MINUTE_S]
    endpoint.succeed("a", 0.01, 1)
    assert wait(endpoint, 0.0) == 1, "a success begins it anew"


def test_refusals_of_what_was_in_flight_together_count_as_one_and_the_longest_holds() -> None:
    endpoint = health()
    for asked_s in (3.0, 9.0, 1.0):
        endpoint.busy(asked_s, now=10.0, wall_ms=1)
    assert (endpoint.busy_streak, endpoint.retry_after_until) == (1, 19.0)


def test_the_five_day_clock_starts_with_the_first_failure_and_ends_with_a_success() -> None:
    endpoint = health("a")
    for wall_ms in (1_000, 2_000):
        endpoint.fail("a", now=0.0, wall_ms=wall_ms)
        endpoint.busy(None, now=0.0, wall_ms=wall_ms)
    assert endpoint.failing_since_ms == 1_000
    endpoint.succeed("a", 0.01, 1)
    assert endpoint.failing_since_ms == 0


def test_nothing_is_sent_to_an_endpoint_that_is_quarantined_or_paused_or_asked_for_silence() -> None:
    endpoint = health()
    assert not endpoint.waits(10.0)
    endpoint.retry_after_until = 10.5
    assert endpoint.waits(10.0)
    assert not endpoint.waits(10.5)
    endpoint.paused = True
    assert endpoint.waits(10.5)
    endpoint.paused, endpoint.breaker_open = False, True
    assert endpoint.waits(10.5)


def test_health_is_stored_only_where_there_is_something_to_tell_the_next_owner() -> None:
    endpoint = health("a")
    endpoint.paused = True  # known from elsewhere
    assert endpoint.unremarkable(10.0)
    for field, told in (
        ("breaker_open", True),
        ("retry_after_until", 11.0),
        ("failing_since_ms", 1),
        ("retried_at_ms", 1),
    ):
        endpoint = health("a")
        setattr(endpoint, field, told)
        assert not endpoint.unremarkable(10.0), field
