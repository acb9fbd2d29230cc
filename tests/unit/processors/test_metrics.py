"""What `/metrics` says."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hookstream.processors.metrics import HELP, LAST_ANSWERS, Metrics


def families(metrics: Metrics) -> dict[str, dict[tuple[str, ...], float]]:
    parsed = text_string_to_metric_families(metrics.render().decode())
    return {
        sample.name: {tuple(s.labels.values()): s.value for s in family.samples if s.name == sample.name}
        for family in parsed
        for sample in family.samples
    }


def test_every_announced_name_is_answered_and_none_else_of_ours() -> None:
    metrics = Metrics()
    metrics.worker.window_used_ratio[3] = 0.5
    metrics.last_answers_s = lambda: dict.fromkeys(LAST_ANSWERS, 0.0)
    shown = {name for name in families(metrics) if name.startswith("hookstream_")}
    histograms = {"hookstream_delivery_seconds", "hookstream_attempt_seconds"}
    suffixed = {f"{name}_{suffix}" for name in histograms for suffix in ("bucket", "count", "sum")}
    assert shown == (set(HELP) - histograms) | suffixed


def test_counts_arrive_under_their_labels_and_start_at_zero() -> None:
    metrics = Metrics()
    metrics.router.routed["unwanted"] += 2
    metrics.dead_letters["undecodable"] += 1
    metrics.worker.attempts["timeout"] += 3
    shown = families(metrics)
    results = dict.fromkeys([("routed",), ("dead-lettered",), ("tombstone",), ("unmapped",)], 0)
    assert shown["hookstream_routed_total"] == {**results, ("unwanted",): 2}
    assert shown["hookstream_dead_letters_total"][("undecodable",)] == 1
    assert shown["hookstream_attempts_total"][("timeout",)] == 3
    assert shown["hookstream_deliveries_total"][("delivered",)] == 0


def test_two_roles_of_one_process_do_not_overwrite_each_other() -> None:
    metrics = Metrics()
    assert families(metrics)["hookstream_expired_total"] == families(metrics)["hookstream_table_offset"] == {(): 0}
    metrics.expired_of.update({"router": 3, "deliver": 4})
    metrics.table_offset_of.update({"router": 20, "deliver": 17})
    shown = families(metrics)
    assert (shown["hookstream_expired_total"], shown["hookstream_table_offset"]) == ({(): 7}, {(): 17})


def test_a_label_that_is_not_announced_is_an_error() -> None:
    with pytest.raises(KeyError):
        Metrics().worker.deliveries["whatever"] += 1


def test_a_histogram_counts_into_cumulative_buckets() -> None:
    metrics = Metrics()
    for seconds in (0.001, 0.0025, 0.2, 99999.0, 1e9):
        metrics.worker.delivery_seconds.observe(seconds)
    shown = families(metrics)
    buckets = {float(bound): count for (bound,), count in shown["hookstream_delivery_seconds_bucket"].items()}
    assert (buckets[0.0025], buckets[0.1], buckets[0.25], buckets[86400], buckets[float("inf")]) == (2, 2, 3, 3, 5)
    assert shown["hookstream_delivery_seconds_count"][()] == 5
    assert shown["hookstream_delivery_seconds_sum"][()] == pytest.approx(0.2035 + 99999.0 + 1e9)


def test_a_revoked_partition_leaves_no_series_behind() -> None:
    metrics = Metrics()
    metrics.worker.window_used_ratio.update({1: 0.25, 2: 1.0})
    del metrics.worker.window_used_ratio[1]
    assert families(metrics)["hookstream_window_used_ratio"] == {("2",): 1.0}
