"""What a worker does once a second: it reports attempts that were dropped, repeats commits, sweeps, measures."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hookstream.processors.delivery.partitions.partition_metrics import measure

if TYPE_CHECKING:
    from hookstream.processors.delivery.attempts.producer import AttemptLog
    from hookstream.processors.delivery.partitions.owned_partitions import OwnedPartitions
    from hookstream.processors.metrics import Metrics

    from .committing import Committing
    from .loop_clock import LoopClock
    from .state_sweep import StateSweep
    from .state_writer import StateWriter
    from .turns import Turns

_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HousekeepingDeps:
    """What is looked after."""

    partitions: OwnedPartitions
    turns: Turns
    clock: LoopClock
    attempts: AttemptLog
    committing: Committing
    states: StateWriter
    sweep: StateSweep
    metrics: Metrics


class Housekeeping:
    """Runs until it is closed. The loop's thread."""

    def __init__(self, deps: HousekeepingDeps, loop: asyncio.AbstractEventLoop) -> None:
        """Begin in a second."""
        self._deps = deps
        self._loop = loop
        self._timer = loop.call_later(_EVERY_S, self._run)

    def close(self) -> None:
        """Stop."""
        self._timer.cancel()
        self._deps.sweep.close()

    def _run(self) -> None:
        self._timer = self._loop.call_later(_EVERY_S, self._run)
        deps = self._deps
        now = deps.clock.monotonic_s()
        if deps.turns.suspended(now):
            deps.turns.wake()  # the turn sees how long ago the last one was
        else:
            deps.turns.beat = now
        deps.attempts.poll()
        deps.metrics.worker.attempt_records_dropped = deps.attempts.dropped
        deps.committing.repeat_idle()
        deps.states.write_due_tombstones()
        deps.sweep.look(deps.partitions.order)
        measure(deps.partitions.order, deps.metrics.worker)
        deps.metrics.worker.commit_metadata_bytes = deps.committing.metadata_characters
