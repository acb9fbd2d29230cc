"""What fits under a limit of open files."""

from __future__ import annotations

import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from hookstream.processors.cli.roles.deliver import fitted
from hookstream.processors.delivery.engine.policy import EnginePolicy
from hookstream.processors.delivery.http.client import HttpClientConfig
from hookstream.processors.delivery.http.pool import PoolLimits
from hookstream.processors.open_files import RESERVED, connections_that_fit, raise_limit


@pytest.mark.parametrize(
    ("limit", "in_flight", "idle"),
    [
        (resource.RLIM_INFINITY, 4096, 1024),
        (65_536, 4096, 1024),
        (4096 + 1024 + RESERVED, 4096, 1024),
        (4096 + 1000 + RESERVED, 4077, 1019),
        (4096, 3072, 768),
        (1024, 615, 153),
        (256, 103, 25),
        (16, 7, 1),
        (1, 1, 1),
    ],
)
def test_idle_connections_give_way_before_requests_do(limit: int, in_flight: int, idle: int) -> None:
    assert connections_that_fit(limit, in_flight=4096, idle=1024) == (in_flight, idle)


@given(st.integers(4, 10**6), st.integers(1, 10**5), st.integers(1, 10**5))
def test_both_fit_and_neither_grows(limit: int, in_flight: int, idle: int) -> None:
    fits, keeps = connections_that_fit(limit, in_flight=in_flight, idle=idle)
    assert 1 <= fits <= in_flight
    assert 1 <= keeps <= idle
    assert fits + keeps <= limit


def test_a_worker_under_a_low_limit_has_less_in_flight_and_says_so() -> None:
    http = HttpClientConfig(pool=PoolLimits(max_idle=1024, max_idle_per_origin=1024))
    with capture_logs() as lines:
        policy, lowered = fitted(EnginePolicy(), http, open_files=1024)
    assert policy.process_in_flight == 615
    assert (lowered.pool.max_idle, lowered.pool.max_idle_per_origin) == (153, 153)
    assert [(line["log_level"], line["wanted"], line["max_in_flight"]) for line in lines] == [("warning", 4096, 615)]
    assert lines[0]["setting"] == "HOOKSTREAM_MAX_IN_FLIGHT"


def test_a_limit_that_holds_everything_changes_and_says_nothing() -> None:
    http = HttpClientConfig(pool=PoolLimits(max_idle=1024))
    with capture_logs() as lines:
        assert fitted(EnginePolicy(), http, open_files=65_536) == (EnginePolicy(), http)
    assert not lines


def test_the_soft_limit_is_raised_to_the_hard_one(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [(1024, 524_288)]

    def setrlimit(_what: int, wanted: tuple[int, int]) -> None:
        limits.append(wanted)

    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    assert raise_limit() == 524_288
    assert limits == [(1024, 524_288), (524_288, 524_288)]
    assert raise_limit() == 524_288
    assert len(limits) == 2


def test_a_system_that_refuses_is_lived_with(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    with capture_logs() as lines:
        assert raise_limit() == 1024
    assert [line["log_level"] for line in lines] == ["warning"]
