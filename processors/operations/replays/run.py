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

import structlog

from hookstream.subscriptions.replays import ReplayProgress, ReplayState, StoredReplay, Window

from .counting import Counting
from .judge import AttemptJudge
from .leased_row import LeasedRow
from .pacing import Pacer
from .preparation import Preparation
from .reader import WindowReader
from .run_deps import RunDeps

# A pause takes effect, and a kill -9 repeats what was sent, within this. Of a run that sends a few a second the same
# number is repeated after a longer time; many of them shall not keep their thread busy with writing that nothing came.
_SAVE_EVERY_S = 1.0
_SAVE_SLOW_EVERY_S = 3.0
_SLOW_PER_S = 20.0
# A run that has nothing to do for longer gives its connection back, and the threads that go with it.
_REST_AFTER_S = 5.0
_BATCH = 500
# With more of the lease gone it is renewed before anything is sent: its end may be met in the middle of a write.
_LEASE_USED = 0.5

log = structlog.get_logger("hookstream.replayer")


class ReplayRun:
    """A replay that was claimed. `step` until it says that it has ended, then `close`. One thread."""

    def __init__(self, deps: RunDeps, replay: StoredReplay, *, claimed_at: float) -> None:
        """Begin, or go on; nothing is connected yet. `claimed_at` is the clock's time from before the claim."""
        self.replay = replay
        self.ended = False
        self._deps = deps
        counting = replay.state is ReplayState.COUNTING
        self._counting = Counting(deps.table) if counting else None
        self._row = LeasedRow(deps, claimed_at=claimed_at)
        self._selection = deps.selection(replay)
        self._judge = AttemptJudge(deps.kafka, deps.topics, deps.sessions, replay.asked)
        self._preparation = Preparation(deps, replay, self._row, self._judge, claimed_at=claimed_at)
        self._reader: WindowReader | None = None
        self._pacer: Pacer | None = None
        self._before = ReplayProgress() if counting else replay.progress
        self._save_from = claimed_at
        slow = not counting and replay.asked.rate_per_s <= _SLOW_PER_S
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
            if not self._preparation.done():
                self._save_if_due()
                return 0
            self._open()
            self._save()  # what is wanted may have changed while it was prepared
            if self.ended:
                return 0
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
        self._row.write(lambda work: work.end(self.replay.id, progress, failed=failed))
        self._close_reader(for_good=True)

    def release(self) -> None:
        """Keep how far it is and let go: whoever has time goes on.

        Raises:
            LeaseLostError, KafkaUnavailableError, DatabaseError: as `step`.
        """
        self.ended = True
        self._commit()
        progress = self._progress()
        self._row.write(lambda work: work.release(self.replay.id, progress))

    def close(self) -> None:
        """Disconnect, and keep nothing. Calling it twice is harmless."""
        self._close_reader()

    def _open(self) -> None:
        deps, replay = self._deps, self.replay
        group = deps.topics.replay_group(f"{replay.job}-{replay.created_at_ms}")
        reader = WindowReader(deps.kafka, self._preparation.window or Window(stretches=()), group=group)
        self._reader = reader
        start = reader.open(go_on=self._counting is None)
        if self._counting is None:
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
        if self._counting is not None and self._judge.wants_all:
            self._counting.add(each for each in map(self._selection.count, records) if each is not None)
            return len(records) + len(moved)
        found = [each for each in map(self._selection.select, records) if each is not None]
        wanted = self._judge.wanted(found)
        if self._counting is not None:
            self._counting.add(each.counted for each in wanted)
        elif pacer is not None:
            for each in wanted:
                pacer.add(each.record.place, each.record.offset, each.delivery, each.endpoint)
            for place in moved:
                pacer.read(place, reader.position(place))
        return len(records) + len(moved)

    def _send(self) -> int:
        pacer, deps = self._pacer, self._deps
        if pacer is None:
            return 0
        if self._row.lease_used > _LEASE_USED:
            self._save()
            if self.ended or self._row.lease_used > _LEASE_USED:
                return 0  # it took so long that its lease may have ended: renew it again
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
        state = self._row.write(lambda work: work.save(self.replay.id, progress))  # (5)
        self._save_from = self._deps.clock()
        if state is not self.replay.state:
            log.info("a replay was stopped", replay=self.replay.id, state=state.value, sent=progress.sent)
            self._row.write(lambda work: work.release(self.replay.id, progress))
            self._close_reader(for_good=state is ReplayState.CANCELLED)
            self.ended = True

    def _finish(self) -> None:
        self._commit()
        progress = self._progress()
        if self._counting is not None:
            count = self._counting.result(self.replay.asked)
            self._row.write(lambda work: work.counted(self.replay.id, progress, count))
        else:
            self._row.write(lambda work: work.end(self.replay.id, progress))
            log.info("a replay is done", replay=self.replay.id, sent=progress.sent)
        self.ended = True
        self._close_reader(for_good=self._counting is None)

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

    def _reader_open(self) -> WindowReader:
        if self._reader is None:
            message = "the replay is not open"
            raise RuntimeError(message)
        return self._reader

    def _close_reader(self, *, for_good: bool = False) -> None:
        if self._reader is not None:
            self._reader.close(for_good=for_good)
            self._reader = None
