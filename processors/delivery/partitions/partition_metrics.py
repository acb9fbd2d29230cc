"""What is measured of the partitions that a worker owns."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hookstream.processors.metrics import WorkerNumbers

    from .owned_partition import OwnedPartition


def measure(owned: Iterable[OwnedPartition], metrics: WorkerNumbers) -> None:
    """Set what is measured of partitions; call it about once a second."""
    cursors = 0
    oldest: list[int] = []
    for partition in owned:
        engine = partition.engine
        used = 0
        for view in engine.views:
            used = max(used, view.window_span)
            cursors += len(view.cursors())
            since = view.oldest_pending_ms
            if since is not None:
                oldest.append(since)
        metrics.window_used_ratio[partition.index] = used / engine.policy.window_records
        measure_settled(partition, metrics)
    metrics.cursors = cursors
    metrics.owed_oldest_seconds = max(0.0, time.time() - min(oldest) / 1000) if oldest else 0.0


def measure_settled(partition: OwnedPartition, metrics: WorkerNumbers) -> None:
    """Count what a partition has settled unsent since the last call; also the last time before it is given away."""
    for standing, count in partition.engine.take_settled_unsent().items():
        metrics.deliveries[standing.value] += count
