"""The event loop's side of a worker: turns of the engines, requests, answers.

Nothing is done per record or per answer but what has to be: answers are collected and taken in the next turn, records
are read in turns, and one turn serves every partition. The poll thread calls `assigned`, `arrived`, `release`, `lost`
and `failed`; everything else belongs to the loop's thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from confluent_kafka import TopicPartition

from hookstream.processors.delivery.engine.model import LIVE, REPLAY

from .owned_partition import OwnedPartition, PartitionParts, measure, measure_settled
from .requests_in_flight import Requesting, RequestParts
from .steady_clock import SteadyClock

if TYPE_CHECKING:
    from hookstream.processors.delivery.attempts.producer import AttemptLog
    from hookstream.processors.delivery.attempts.spans import AttemptSpans
    from hookstream.processors.delivery.checkpoints.partition_lookup import PartitionStarting
    from hookstream.processors.delivery.engine.dispatcher import Dispatcher
    from hookstream.processors.delivery.engine.model import Dispatches
    from hookstream.processors.delivery.http.client import HttpClient
    from hookstream.processors.metrics import Metrics

    from .catch_up_reading import CatchUpReading
    from .committing import Committing
    from .inbox import AssignedPartition
    from .internal_errors import InternalErrors
    from .request_builder import RequestBuilder
    from .state_sweep import StateSweep

# Records read in one turn, of all partitions and of each: between turns the sockets are served.
_READ_PER_TURN = 256
_READ_PER_PARTITION = 64
# A main lane without room is looked at again after this long, whatever happens meanwhile.
_LOOK_AGAIN_S = 0.05
# What cursors want read is asked for this often, while there are any.
_PLAN_EVERY_S = 0.02
# A loop that keeps up takes few answers a turn; with this many it is what everybody waits for.
_BUSY_ANSWERS = 8.0
_LOAD_SMOOTHING = 0.1
_HOUSEKEEPING_EVERY_S = 1.0
# A loop that had no turn for this long may have been suspended, and its partitions may be somebody else's by now.
_AWAY_S = 3.0

log = structlog.get_logger("hookstream.deliver")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopParts:
    """What the loop works with."""

    shared: PartitionParts
    dispatcher: Dispatcher
    http: HttpClient
    requests: RequestBuilder
    attempts: AttemptLog
    spans: AttemptSpans | None
    committing: Committing
    sweep: StateSweep
    metrics: Metrics
    internal_errors: InternalErrors
    table_ready: Callable[[PartitionStarting], bool]
    failed: Callable[[Exception], None]
    drain_timeout_s: float


class DeliveryLoop:
    """Every partition of a worker, in turns."""

    def __init__(self, parts: LoopParts, loop: asyncio.AbstractEventLoop) -> None:
        """Own nothing yet."""
        self.partitions: dict[int, OwnedPartition] = {}
        self.beat = time.monotonic()
        """When the loop last showed that it lives."""
        self.readers: CatchUpReading
        self._parts = parts
        self._loop = loop
        self._metrics = parts.metrics
        self._requests = Requesting(
            RequestParts(
                dispatcher=parts.dispatcher,
                http=parts.http,
                builder=parts.requests,
                attempts=parts.attempts,
                lines=parts.shared.lines,
                spans=parts.spans,
                metrics=parts.metrics,
                internal_errors=parts.internal_errors,
            ),
            answered=self.wake,
        )
        self._clock = SteadyClock(monotonic_s=self.beat, wall_ms=_wall_ms())
        self._by_engine: dict[Dispatches, OwnedPartition] = {}
        self._order: list[OwnedPartition] = []
        self._leaving: set[OwnedPartition] = set()
        self._starting: list[AssignedPartition] = []
        self._first = 0
        self._load = 0.0  # answers a turn, smoothed
        self._turn_due = False
        self._turned = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._planning: asyncio.TimerHandle | None = None
        self._stopped = False
        self.house = loop.call_later(_HOUSEKEEPING_EVERY_S, self._keep_house)
        parts.committing.own(self._order)

    # --- called by the poll thread ------------------------------------------------------------------------------------

    def assigned(self, partitions: Sequence[AssignedPartition]) -> None:
        """Take partitions over as soon as the table has been read far enough."""
        self._loop.call_soon_threadsafe(self._take_over, partitions)

    def arrived(self) -> None:
        """Look into the inboxes."""
        self._loop.call_soon_threadsafe(self.wake)

    def release(self, partitions: Collection[int]) -> list[TopicPartition]:
        """Finish partitions and return their last commits; blocks the calling thread under the drain's deadline."""
        return asyncio.run_coroutine_threadsafe(self.give_away(partitions), self._loop).result()

    def lost(self, partitions: Collection[int]) -> None:
        """Drop partitions; returns when nothing more is sent for them."""
        asyncio.run_coroutine_threadsafe(self._drop_all(partitions), self._loop).result()

    def failed(self, error: Exception) -> None:
        """End the worker."""
        self._loop.call_soon_threadsafe(self._parts.failed, error)

    # --- partitions ---------------------------------------------------------------------------------------------------

    def _take_over(self, partitions: Sequence[AssignedPartition]) -> None:
        self._starting += partitions
        self.start_waiting()

    @property
    def braked(self) -> bool:
        """Whether every request fails by an exception of our own code, so that few are sent."""
        return self._requests.braked

    @property
    def waiting_for_table(self) -> bool:
        """Whether a partition cannot begin because the table is not read far enough."""
        return bool(self._starting)

    def start_waiting(self) -> None:
        """Begin the partitions that waited for the table, if it has been read far enough."""
        waiting, self._starting = self._starting, []
        now = time.monotonic()
        steady_ms = self._clock.read(monotonic_s=now, wall_ms=_wall_ms())
        for assigned in waiting:
            starting = assigned.starting
            if not self._parts.table_ready(starting):
                self._starting.append(assigned)
                continue
            part = OwnedPartition(self._parts.shared, assigned, now=now, steady_ms=steady_ms)
            self.partitions[part.index] = part
            self._by_engine[part.engine] = part
            self._order.append(part)
            log.info("partition taken over", partition=part.index, next_offset=starting.streams[LIVE].start.offset)
        if self._order:
            self._parts.committing.soon()
            self.wake()

    async def give_away(self, partitions: Collection[int]) -> list[TopicPartition]:
        """Send nothing more for partitions, wait for what is in flight, and return what is left to commit."""
        ends = time.monotonic() + self._parts.drain_timeout_s
        self._starting = [a for a in self._starting if a.starting.partition not in partitions]
        leaving = [part for index, part in self.partitions.items() if index in partitions]
        self._leaving.update(leaving)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._parts.drain_timeout_s):
                while self._flying(leaving) and not self._stopped:
                    self._turned.clear()
                    await self._turned.wait()
        self._turn()
        offsets: list[TopicPartition] = []
        for part in leaving:
            if part.gone:  # given away twice as the process ends, or the worker has failed: who knows what it would say
                continue
            self._abandon(part)
            now = time.monotonic()
            part.advance(now, self._clock.read(monotonic_s=now, wall_ms=_wall_ms()))
            part.engine.end_turn()
            offsets += await self._parts.committing.last_commits(part, max(ends, time.monotonic() + 1.0))
            self._drop(part)
        return offsets

    async def _drop_all(self, partitions: Collection[int]) -> None:
        self._starting = [a for a in self._starting if a.starting.partition not in partitions]
        for index in partitions:
            part = self.partitions.get(index)
            if part is not None:
                self._abandon(part)
                self._drop(part)

    def _drop(self, part: OwnedPartition) -> None:
        part.gone = True
        self.partitions.pop(part.index, None)
        self._by_engine.pop(part.engine, None)
        self._order.remove(part)
        self._leaving.discard(part)
        self.readers.forget(part)
        measure_settled(part, self._metrics)
        self._metrics.window_used_ratio.pop(part.index, None)

    def _flying(self, parts: Sequence[OwnedPartition]) -> bool:
        return any(part.engine.posts_in_flight for part in parts)

    def _abandon(self, part: OwnedPartition) -> None:
        """Cancel what is still in flight."""
        for post in part.engine.posts_in_flight:
            self._requests.cancel(post)
            part.engine.abandon(post)

    def abandon_all(self) -> None:
        """Cancel everything: the worker ends without saying goodbye. No engine is asked: one of them may be broken."""
        self._stopped = True
        for part in self._order:
            part.gone = True  # nothing more is committed of it
        self._parts.committing.close()
        self._requests.cancel_all()
        self._turned.set()  # nobody waits for an answer any more
        self.house.cancel()
        self._parts.sweep.close()
        for timer in (self._timer, self._planning):
            if timer is not None:
                timer.cancel()

    # --- turns --------------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Have a turn soon."""
        if not self._turn_due:
            self._turn_due = True
            self._loop.call_soon(self._turn)

    def row_changed(self, client: int, event: str) -> None:
        """Follow a change of the table."""
        for part in self._order:
            part.engine.row_changed(client, event)
        self.wake()

    def settings_changed(self, client: int, target_digest: bytes) -> None:
        """Follow a change of the operators' settings for an endpoint."""
        for part in self._order:
            part.engine.settings_changed(client, target_digest)
        self.wake()

    def _turn(self) -> None:
        self._turn_due = False
        if self._stopped:
            return
        try:
            self._serve(time.monotonic())
        except Exception as exc:  # noqa: BLE001 - a bug of ours must not stop deliveries quietly
            self._parts.failed(exc)

    def _serve(self, now: float) -> None:
        if now - self.beat > _AWAY_S:
            self._parts.committing.prove()
        self.beat = now
        wall_ms = _wall_ms()
        steady_ms = self._clock.read(monotonic_s=now, wall_ms=wall_ms)
        order = self._order
        for part in order:
            part.advance(now, steady_ms)
        self._load += (self._requests.take_answers(self._by_engine, wall_ms) - self._load) * _LOAD_SMOOTHING
        waiting = self._read()
        catching_up = dirty = False
        for part in order:
            engine = part.engine
            engine.end_turn()
            if engine.changes != part.seen_changes:
                part.seen_changes = engine.changes
                part.progress += 1
            dirty = dirty or part.progress > 0
            catching_up = catching_up or engine.has_cursors
        fenced = self._parts.committing.fenced
        if not fenced:
            self._requests.dispatch(self._by_engine, self._leaving, now, wall_ms // 1000)
        self._metrics.inflight = self._parts.dispatcher.in_flight
        self._parts.attempts.flush()
        if dirty:
            self._parts.committing.soon()
        if catching_up and self._planning is None:
            self._planning = self._loop.call_later(_PLAN_EVERY_S, self._plan)
        # Nothing wakes the loop when sending may go on, so it looks again.
        self._set_timer(now, waiting=waiting or fenced or self._requests.braked)
        self._turned.set()

    def _read(self) -> bool:
        """Read what the main lanes have room for; says whether records wait that could not be read."""
        order = self._order
        if not order:
            return False
        budget = _READ_PER_TURN
        first = self._first = (self._first + 1) % len(order)
        waiting, busy = False, self._load > _BUSY_ANSWERS
        for part in (*order[first:], *order[:first]):
            for stream in (LIVE, REPLAY):
                if part.inboxes[stream].messages and not part.blocked[stream] and part not in self._leaving:
                    done = part.read(stream, min(budget, _READ_PER_PARTITION), busy=busy)
                    budget -= done
                    if part.inboxes[stream].messages and not part.blocked[stream]:
                        waiting = True
                        if done:
                            self.wake()
        return waiting

    def _set_timer(self, now: float, *, waiting: bool) -> None:
        """Have a turn when the next thing is due."""
        due = now + _LOOK_AGAIN_S if waiting else float("inf")
        for part in self._order:
            next_due = part.engine.next_due()
            if next_due is not None and next_due < due:
                due = next_due
        if self._timer is not None:
            if self._timer_at <= due:
                return
            self._timer.cancel()
            self._timer = None
        if due != float("inf"):
            self._timer_at = due
            self._timer = self._loop.call_later(max(0.0, due - now), self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        self._turn()

    def _plan(self) -> None:
        self._planning = None
        catching_up = False
        for part in self._order:
            if part.engine.has_cursors and part not in self._leaving:
                catching_up = True
                self.readers.plan(part)
        if catching_up and not self._stopped:
            self._planning = self._loop.call_later(_PLAN_EVERY_S, self._plan)
            self.wake()

    # --- once a second ------------------------------------------------------------------------------------------------

    def _keep_house(self) -> None:
        if self._stopped:
            return
        self.house = self._loop.call_later(_HOUSEKEEPING_EVERY_S, self._keep_house)
        now = time.monotonic()
        if now - self.beat > _AWAY_S:
            self.wake()  # the turn looks at how long it was away
        else:
            self.beat = now
        self._parts.attempts.poll()
        self._metrics.attempt_records_dropped = self._parts.attempts.dropped
        self._parts.committing.keep()
        self._parts.committing.bury_tombstones()
        self._parts.sweep.look(self._order)
        measure(self._order, self._metrics)
        self._metrics.commit_metadata_bytes = self._parts.committing.metadata_characters


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
