"""The event loop's side of a worker: turns of the engines, requests, answers. The loop's thread.

Nothing is done per record or per answer but what has to be: answers are collected and taken in the next turn, records
are read in turns, and one turn serves every partition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hookstream.processors.delivery.engine.model import LIVE, REPLAY

if TYPE_CHECKING:
    from hookstream.processors.delivery.attempts.producer import AttemptLog
    from hookstream.processors.delivery.engine.dispatcher import Dispatcher
    from hookstream.processors.delivery.partitions.owned_partitions import OwnedPartitions
    from hookstream.processors.metrics import Metrics

    from .catch_up_planner import CatchUpPlanner
    from .committing import Committing
    from .housekeeping import Housekeeping
    from .loop_clock import LoopClock
    from .partition_handover import PartitionHandover
    from .requests_in_flight import Requesting
    from .turns import Turns

# Records read in one turn, of all partitions and of each: between turns the sockets are served.
_READ_PER_TURN = 256
_READ_PER_PARTITION = 64
# A live reading whose in-flight window is full is tried again after this long, whatever happens meanwhile.
_LOOK_AGAIN_S = 0.05
# A loop that keeps up takes few answers a turn; with this many the loop is what every delivery waits for.
_BUSY_ANSWERS = 8.0
_LOAD_SMOOTHING = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopDeps:
    """What the loop works with."""

    partitions: OwnedPartitions
    turns: Turns
    clock: LoopClock
    dispatcher: Dispatcher
    requests: Requesting
    attempts: AttemptLog
    committing: Committing
    planner: CatchUpPlanner
    handover: PartitionHandover
    housekeeping: Housekeeping
    metrics: Metrics
    failed: Callable[[Exception], None]


class DeliveryLoop:
    """Every partition of a worker, in turns."""

    def __init__(self, deps: LoopDeps) -> None:
        """Have turns from now on."""
        self._deps = deps
        self._partitions = deps.partitions
        self._first = 0
        self._load = 0.0  # answers a turn, smoothed
        self._stopped = False
        deps.turns.begin(self._turn)

    @property
    def fenced(self) -> bool:
        """Whether nothing may be sent: perhaps another worker has the partitions."""
        return self._deps.committing.fenced

    def abandon_all(self) -> None:
        """Cancel everything: the worker ends at once. No engine is called: one of them may be broken."""
        deps = self._deps
        self._stopped = True
        for partition in self._partitions.order:
            partition.gone = True  # nothing more is committed of it
        deps.committing.close()
        deps.requests.cancel_all()
        deps.handover.close()
        deps.housekeeping.close()
        deps.planner.close()
        deps.turns.close()

    def row_changed(self, client: str, event: str) -> None:
        """Follow a change of the table."""
        for partition in self._partitions.order:
            partition.engine.row_changed(client, event)
        self._deps.turns.wake()

    def settings_changed(self, client: str, target_digest: bytes) -> None:
        """Follow a change of an endpoint's settings."""
        for partition in self._partitions.order:
            partition.engine.settings_changed(client, target_digest)
        self._deps.turns.wake()

    # --- turns --------------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        if self._stopped:
            return
        try:
            self._serve()
        except Exception as exc:  # noqa: BLE001 - a bug of ours must not stop deliveries without a word
            self._deps.failed(exc)

    def _serve(self) -> None:
        deps, partitions = self._deps, self._partitions
        now, wall_ms, steady_ms = deps.clock.read()
        if deps.turns.suspended(now):
            deps.committing.require_commit()
        deps.turns.beat = now
        order = partitions.order
        for partition in order:
            partition.advance(now, steady_ms)
        self._load += (deps.requests.take_answers(partitions.by_engine, wall_ms) - self._load) * _LOAD_SMOOTHING
        waiting = self._read()
        any_cursors = dirty = False
        for partition in order:
            engine = partition.engine
            engine.end_turn()
            if engine.changes != partition.seen_changes:
                partition.seen_changes = engine.changes
                partition.commits.uncommitted += 1
            dirty = dirty or partition.commits.uncommitted > 0
            any_cursors = any_cursors or engine.has_cursors
        fenced = deps.committing.fenced
        if not fenced:
            deps.requests.dispatch(partitions.by_engine, partitions.leaving, now, wall_ms // 1000)
        deps.metrics.worker.inflight = deps.dispatcher.in_flight
        deps.attempts.flush()
        if dirty:
            deps.committing.soon()
        if any_cursors:
            deps.planner.soon()
        # Nothing wakes the loop when sending may go on, so it looks again.
        self._set_timer(now, waiting=waiting or fenced or deps.requests.braked)

    def _read(self) -> bool:
        """Read what the in-flight windows have room for; says whether records wait that could not be read."""
        order, leaving = self._partitions.order, self._partitions.leaving
        if not order:
            return False
        budget = _READ_PER_TURN
        first = self._first = (self._first + 1) % len(order)
        waiting, busy = False, self._load > _BUSY_ANSWERS
        for partition in (*order[first:], *order[:first]):
            for stream in (LIVE, REPLAY):
                if partition.inboxes[stream].messages and not partition.blocked[stream] and partition not in leaving:
                    done = partition.read(stream, min(budget, _READ_PER_PARTITION), busy=busy)
                    budget -= done
                    if partition.inboxes[stream].messages and not partition.blocked[stream]:
                        waiting = True
                        if done:
                            self._deps.turns.wake()
        return waiting

    def _set_timer(self, now: float, *, waiting: bool) -> None:
        """Have a turn when the next thing is due."""
        due = now + _LOOK_AGAIN_S if waiting else float("inf")
        for partition in self._partitions.order:
            next_due = partition.engine.next_due()
            if next_due is not None and next_due < due:
                due = next_due
        self._deps.turns.set_timer(now, due)
