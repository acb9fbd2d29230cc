"""What the benchmark at size fills a database with, and how plans are read."""

from __future__ import annotations

from collections import Counter

from benchmarks.size_data import _ATTEMPT_COLUMNS, _HOOK_COLUMNS, RARE_EVENT, Filling
from tests.support.query_plans import Plan

FILLING = Filling(hooks=20_000, attempts=10_000, now_ms=1_800_000_000_000)


def test_hooks_are_of_every_kind_and_only_the_oldest_were_deleted() -> None:
    rows = [line.rstrip("\n").split("\t") for line in FILLING.hook_rows(1, FILLING.hooks)]
    assert {len(row) for row in rows} == {len(_HOOK_COLUMNS)}
    assert Counter(row[4] for row in rows) == {"enabled": 17_964, "deleted": 2_000, "disabled": 36}
    assert [row[4] for row in rows].index("enabled") + 1 == FILLING.first_living == 2_001
    assert len({(row[0], row[1]) for row in rows}) == FILLING.hooks
    assert sum(row[1] == RARE_EVENT for row in rows) == 5


def test_one_hook_has_a_tenth_of_the_attempts_and_one_only_fails() -> None:
    rows = [line.rstrip("\n").split("\t") for line in FILLING.attempt_rows(1, FILLING.attempts)]
    assert {len(row) for row in rows} == {len(_ATTEMPT_COLUMNS)}
    hooks = Counter(int(row[2]) for row in rows)
    assert hooks[FILLING.first_living] >= FILLING.attempts // 10
    assert {row[15] for row in rows if int(row[2]) == FILLING.failing} == {"error-status"}
    assert min(hooks) == FILLING.first_living
    starts = [int(row[13]) for row in rows]
    assert starts == sorted(starts) == [FILLING.started_ms(int(row[0])) for row in rows]
    assert len({row[1] for row in rows}) == FILLING.attempts


def test_a_plan_says_which_tables_are_read_to_their_end() -> None:
    lines = (
        "Nested Loop (actual rows=1 loops=1)",
        "  ->  Parallel Seq Scan on attempts a (actual rows=1 loops=1)",
        "  ->  Bitmap Heap Scan on subscription_keys (actual rows=1 loops=1)",
        "        ->  Bitmap Index Scan on pk_subscription_keys (actual rows=1 loops=1)",
        "  ->  Index Only Scan Backward using pk_attempts on attempts (actual rows=1 loops=1)",
        "  ->  Function Scan on anon_1 (actual rows=1 loops=1)",
        "Execution Time: 1.250 ms",
    )
    plan = Plan("SELECT 1", lines)
    assert plan.scans == ["all of attempts", "pk_subscription_keys", "pk_attempts", "anon_1"]
    assert plan.execution_ms == 1.25
