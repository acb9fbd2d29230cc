"""One replay as one replayer works on it: the count first, then the run.

Safety depends on this order; the numbers are repeated where it happens.

1. The window is fixed and kept in the row before anything is read: what was counted is what is sent, whoever goes on.
2. Before anything is judged, the table is read as far as the topic went when the work began, and as far as any router
   had read it.
3. What may go is produced, and acknowledged, while the lease is ours.
4. Then the progress is committed to the replay's own group, with the number sent: a partition is done up to its lowest
   delivery that was not acknowledged.
5. Then the row is written, which renews the lease and says what is wanted next.

kill -9 between 3 and 4 repeats what was produced since the last commit, with the same delivery ids. A process that was
suspended and lost the lease may commit once more: an offset that was true when it was made, so it can only repeat.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import structlog
from sqlalchemy.orm import Session

from hookstream.processors.errors import ForeignTableError, ProcessorError
from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.lifecycle import StopSignal
from hookstream.processors.tables.subscription_reader import SubscriptionReader
from hookstream.processors.tables.subscription_table import SubscriptionTable
from hookstream.schemas.hook import HookId
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.database import NowMs, Sessions, transact
from hookstream.subscriptions.replays import (
    Lease,
    ReplayCount,
    ReplayProgress,
    ReplaySource,
    ReplayState,
    ReplayWork,
    StoredReplay,
    Window,
)

from .judge import CATCH_UP_WITHIN_S, AttemptJudge
from .pacing import Pacer
from .reader import WindowReader
from .selection import Selected, Selection
from .window import WindowLookup
from .writer import ReplayWriter

# A pause takes effect, and a kill -9 repeats what was sent, within this. Of a run that sends a few a second the same
# number is repeated after a longer time; many of them shall not keep their thread busy with writing that nothing came.
_SAVE_EVERY_S = 1.0
_SAVE_SLOW_EVERY_S = 3.0
_SLOW_PER_S = 20.0
# A run that has nothing to do for longer gives its connection back, and the threads that go with it.
_REST_AFTER_S = 5.0
_BATCH = 500
# Of a count, the hooks with the most deliveries.
_HOOKS_KEPT = 1_000
# With more of the lease gone it is renewed before anything is sent: its end may be met in the middle of a write.
_LEASE_USED = 0.5
_LOOK_AGAIN_S = 0.5

_T = TypeVar("_T")
log = structlog.get_logger("hookstream.replayer")


class RefusedError(ProcessorError):
    """The replay cannot be made as it was asked for; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDeps:
    """What every run of a replayer shares. `clock` is monotonic seconds."""

    kafka: KafkaConfig
    topics: TopicNames
    sessions: Sessions
    lookup: WindowLookup
    table: SubscriptionTable
    reader: SubscriptionReader
    writer: ReplayWriter
    selection: Callable[[StoredReplay], Selection]
    stop: StopSignal
    lease: Lease
    now_ms: NowMs
    clock: Callable[[], float]


class ReplayRun:
    """A replay that was claimed. `step` until it says that it has ended, then `close`. One thread."""

    def __init__(self, deps: RunDeps, replay: StoredReplay, *, claimed_at: float) -> None:
        """Begin, or go on; nothing is connected yet. `claimed_at` is the clock's time from before the claim."""
        self.replay = replay
        self.ended = False
        self._deps = deps
        self._counting = replay.state is ReplayState.COUNTING
        self._window = replay.window
        self._selection = deps.selection(replay)
        self._judge = AttemptJudge(deps.kafka, deps.topics, deps.sessions, replay.asked)
        self._reader: WindowReader | None = None
        self._pacer: Pacer | None = None
        self._hooks: Counter[HookId] = Counter()
        self._endpoints: Counter[tuple[str, str]] = Counter()
        self._limits: dict[HookId, float] = {}
        self._table_target: int | None = None
        self._before = ReplayProgress() if self._counting else replay.progress
        self._lease_from = self._save_from = claimed_at
        self._judged_from: float | None = None
        self._look_at = claimed_at
        slow = not self._counting and replay.asked.rate_per_s <= _SLOW_PER_S
        self._save_every_s = _SAVE_SLOW_EVERY_S if slow else _SAVE_EVERY_S

    def step(self) -> int:
        """Do a little, without waiting for anything but Kafka's answers; give how much was done.

        Raises:
            RefusedError: it cannot be done: `end` it with the reason.
            LeaseLostError: another process works on it: drop it.
            KafkaUnavailableError, RegistryError, DatabaseError: drop it, and claim it again later.
            StoppedError: asked to stop.
        """
        if self._reader is None:
            if not self._ready_to_read():
                self._save_if_due()
                return 0
            self._open()
        done = self._read() + self._send()
        if self.ended:
            return done
        if self._reader_open().done and not (self._pacer and self._pacer.waiting):
            self._finish()
        else:
            self._save_if_due()
            if self._reader is not None and self._wait_s() > _REST_AFTER_S:
                self._reader.rest()
        return done

    def _wait_s(self) -> float:
        """How long nothing is read or sent, as far as it is known."""
        if self._pacer is None or not (self._pacer.full or self._reader_open().done):
            return 0.0
        return self._pacer.wait_s(self._deps.clock())

    def end(self, *, failed: str) -> None:
        """Keep why it cannot be done.

        Raises:
            LeaseLostError, DatabaseError: as `step`.
        """
        self.ended = True
        progress = self._progress()
        self._write(lambda work: work.end(self.replay.id, progress, failed=failed))
        self._close_reader(for_good=True)

    def release(self) -> None:
        """Keep how far it is and let go: whoever has time goes on.

        Raises:
            LeaseLostError, KafkaUnavailableError, DatabaseError: as `step`.
        """
        self.ended = True
        self._commit()
        progress = self._progress()
        self._write(lambda work: work.release(self.replay.id, progress))

    def close(self) -> None:
        """Disconnect, and keep nothing. Calling it twice is harmless."""
        self._close_reader()

    # --- before anything is read --------------------------------------------------------------------------------------

    def _ready_to_read(self) -> bool:
        deps = self._deps
        now = deps.clock()
        if now < self._look_at:
            return False
        self._look_at = now + _LOOK_AGAIN_S
        if self._window is None:
            window = deps.lookup.fix(self.replay.asked, now_ms=deps.now_ms())
            self._write(lambda work: work.fix_window(self.replay.id, window))  # (1)
            self._window = window
        return self._table_is_read() and self._log_has_caught_up(now)

    def _table_is_read(self) -> bool:
        """(2): "no hook" has to mean that no hook has the event, not "not read yet"."""
        deps = self._deps
        if self._table_target is None:
            self._table_target = deps.reader.end()
            if self.replay.asked.source is ReplaySource.EVENTS:
                seen = deps.lookup.table_seen(self.replay.asked)
                topic_id = deps.reader.topic_id
                if seen is not None and topic_id not in (None, seen.topic_id):
                    if deps.table.resynced_topic_id != topic_id:
                        message = "the subscriptions topic was re-created: `hookstream subscriptions resync` fills it"
                        raise ForeignTableError(message)
                elif seen is not None:
                    self._table_target = max(self._table_target, seen.offset)
        if deps.table.offset < self._table_target:
            return False
        if deps.table.unreadable:
            message = "rows of the subscriptions topic cannot be read: `hookstream subscriptions resync` mends them"
            raise ForeignTableError(message)
        return True

    def _log_has_caught_up(self, now: float) -> bool:
        trouble = self._judge.trouble()
        if trouble is None:
            return True
        why, may_wait = trouble
        self._judged_from = now if self._judged_from is None else self._judged_from
        if may_wait and now - self._judged_from < CATCH_UP_WITHIN_S:
            return False
        message = f"the attempt log does not know what was delivered: {why}"
        raise RefusedError(message)

    def _open(self) -> None:
        deps, replay = self._deps, self.replay
        group = deps.topics.replay_group(f"{replay.job}-{replay.created_at_ms}")
        reader = WindowReader(deps.kafka, self._window or Window(stretches=()), group=group)
        self._reader = reader
        start = reader.open(go_on=not self._counting)
        if not self._counting:
            self._pacer = Pacer(
                rate_per_s=replay.asked.rate_per_s,
                endpoint_rate_per_s=replay.asked.endpoint_rate_per_s,
                start=start,
                now=deps.clock(),
            )
            log.info("a replay goes on", replay=replay.id, sent=self._pacer.sent, scanned=reader.scanned)

    # --- reading and sending ------------------------------------------------------------------------------------------

    def _read(self) -> int:
        reader, pacer = self._reader_open(), self._pacer
        if reader.done or (pacer is not None and pacer.full):
            return 0
        records, moved = reader.read()
        found = [each for each in map(self._selection.select, records) if each is not None]
        wanted = self._judge.wanted(found)
        if pacer is None:
            self._count(wanted)
        else:
            for each in wanted:
                pacer.add(each.record.place, each.record.offset, each.delivery, each.endpoint)
            for place in moved:
                pacer.read(place, reader.position(place))
        return len(records) + len(moved)

    def _count(self, wanted: Sequence[Selected]) -> None:
        for each in wanted:
            delivery = each.delivery
            self._hooks[delivery.hook_id] += 1
            self._endpoints[each.endpoint] += 1
            row = self._deps.table.get(delivery.client, delivery.event)
            if row is not None and row.rate_limit_per_s is not None:
                self._limits[delivery.hook_id] = row.rate_limit_per_s

    def _send(self) -> int:
        pacer, deps = self._pacer, self._deps
        if pacer is None:
            return 0
        if deps.clock() - self._lease_from > _LEASE_USED * deps.lease.lasts_ms / 1000:
            self._save()
            if self.ended:
                return 0
        due = pacer.take(deps.clock(), _BATCH)
        if due:
            deps.writer.write([each.delivery for each in due], job=self.replay.job, stop=deps.stop)  # (3)
            pacer.acknowledged(due)
        return len(due)

    # --- progress -----------------------------------------------------------------------------------------------------

    def _save_if_due(self) -> None:
        if self._deps.clock() - self._save_from >= self._save_every_s:
            self._save()

    def _save(self) -> None:
        """Keep how far it is, hear what is wanted, and stop where that is no longer this."""
        self._commit()
        progress = self._progress()
        state = self._write(lambda work: work.save(self.replay.id, progress))  # (5)
        self._save_from = self._deps.clock()
        if state is not self.replay.state:
            log.info("a replay was stopped", replay=self.replay.id, state=state.value, sent=progress.sent)
            self._write(lambda work: work.release(self.replay.id, progress))
            self._close_reader(for_good=state is ReplayState.CANCELLED)
            self.ended = True

    def _finish(self) -> None:
        self._commit()
        progress = self._progress()
        if self._counting:
            count = self._counted()
            self._write(lambda work: work.counted(self.replay.id, progress, count))
        else:
            self._write(lambda work: work.end(self.replay.id, progress))
            log.info("a replay is done", replay=self.replay.id, sent=progress.sent)
        self.ended = True
        self._close_reader(for_good=not self._counting)

    def _commit(self) -> None:
        if self._pacer is not None:
            self._reader_open().commit(self._pacer.progress())  # (4)

    def _progress(self) -> ReplayProgress:
        before, reader = self._before, self._reader
        return ReplayProgress(
            scanned=before.scanned if reader is None else reader.scanned,
            sent=before.sent if self._pacer is None else self._pacer.sent,
            expired=before.expired + (0 if reader is None else reader.expired),
            unreadable=before.unreadable + self._selection.unreadable,
        )

    def _counted(self) -> ReplayCount:
        asked = self.replay.asked
        deliveries = self._hooks.total()
        busiest = max(self._endpoints.values(), default=0)
        limited = max((self._hooks[hook] / rate for hook, rate in self._limits.items()), default=0.0)
        estimate_s = max(deliveries / asked.rate_per_s, busiest / asked.endpoint_rate_per_s, limited)
        return ReplayCount(
            deliveries=deliveries,
            hooks=dict(self._hooks.most_common(_HOOKS_KEPT)),
            hook_count=len(self._hooks),
            estimate_s=estimate_s,
        )

    def _write(self, work: Callable[[ReplayWork], _T]) -> _T:
        """Do it in a transaction that checks the lease; its time counts from before."""
        deps = self._deps
        began = deps.clock()
        done = transact(deps.sessions, partial(_with_work, work, deps))
        self._lease_from = began
        return done

    def _reader_open(self) -> WindowReader:
        if self._reader is None:
            message = "the replay is not open"
            raise RuntimeError(message)
        return self._reader

    def _close_reader(self, *, for_good: bool = False) -> None:
        if self._reader is not None:
            self._reader.close(for_good=for_good)
            self._reader = None


def _with_work(work: Callable[[ReplayWork], _T], deps: RunDeps, session: Session) -> _T:
    return work(ReplayWork(session, deps.lease, deps.now_ms()))
