"""What is measured, and how much of it, is chosen on the command line."""

from __future__ import annotations

import importlib.util
from itertools import chain

import pytest

from benchmarks.__main__ import MODULES, ORDER, PARTS, names, split
from benchmarks.load import Plan, due
from benchmarks.mixed import healthy_of
from benchmarks.running import Size, arguments, changed_speed
from benchmarks.scenes import shared

SIZES = (Size("records", 100_000, 1_000, "records"), Size("healthy-seconds", 30.0, 5.0, "seconds"))


def test_sizes_are_full_ones_unless_asked_otherwise() -> None:
    options = arguments("doc", SIZES, [])
    assert (options.records, options.healthy_seconds) == (100_000, 30.0)


def test_a_quick_run_is_small_and_a_given_size_wins() -> None:
    options = arguments("doc", SIZES, ["--quick", "--records", "7"])
    assert (options.records, options.healthy_seconds) == (7, 5.0)


def test_a_size_keeps_its_kind() -> None:
    options = arguments("doc", SIZES, ["--quick"])
    assert (type(options.records), type(options.healthy_seconds)) == (int, float)


def test_every_benchmark_is_a_module() -> None:
    modules = [f"benchmarks.{MODULES.get(name, name)}" for name in chain(ORDER, PARTS)]
    assert [name for name in modules if importlib.util.find_spec(name) is None] == []


def test_all_in_order_unless_some_are_named_with_dashes_or_without() -> None:
    assert names([]) == list(ORDER)
    assert names(["http-client", "hang"]) == ["http_client", "hang"]


def test_an_unknown_benchmark_is_refused_by_name() -> None:
    with pytest.raises(SystemExit, match="no benchmark speed; there are table, "):
        names(["speed", "hang"])


def test_what_follows_two_dashes_is_for_the_benchmark() -> None:
    assert split(["worker", "--", "--rounds", "1"]) == (["worker"], ["--rounds", "1"])
    assert split(["worker"]) == (["worker"], [])


def plan(records: int, rate_per_s: float) -> Plan:
    return Plan(bootstrap_servers="", topic="t", kind="events", clients=(1, 2), records=records, rate_per_s=rate_per_s)


def test_a_load_keeps_its_rate_and_never_exceeds_its_records() -> None:
    paced = plan(records=1000, rate_per_s=200.0)
    assert [due(paced, 0, elapsed_s) for elapsed_s in (0.0, 0.5, 4.99, 60.0)] == [1, 101, 999, 1000]


def test_a_backlog_is_written_in_portions_that_end_with_it() -> None:
    backlog = plan(records=2500, rate_per_s=0.0)
    assert [due(backlog, sent, 0.0) for sent in (0, 1000, 2000)] == [1000, 2000, 2500]


def test_records_are_shared_by_turns() -> None:
    assert shared(25, range(1, 11), (1,)) == 3
    assert shared(25, range(1, 11), (10,)) == 2
    assert shared(25, range(1, 11), range(2, 11)) == 22


def test_poison_is_not_expected_to_arrive() -> None:
    # 200 turns of ten: resources 0 and 100 of each of the nine healthy targets are poison
    assert healthy_of(2000) == 1800 - 2 * 9


def test_a_machine_that_became_slower_or_faster_is_told() -> None:
    assert changed_speed(20.0, 23.9) == []
    assert changed_speed(20.0, 30.0) == ["the machine has changed: a loop took 20 ms of CPU before, 30 ms after"]
    assert changed_speed(30.0, 20.0) != []
