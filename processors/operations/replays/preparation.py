"""What a replay waits for before anything is read: its window, the table, the attempt log.

(1) and (2) are steps of `run.py`.
"""

from __future__ import annotations

from hookstream.processors.errors import ForeignTableError, ProcessorError
from hookstream.subscriptions.choices import ReplaySource
from hookstream.subscriptions.replays import StoredReplay

from .judge import CATCH_UP_WITHIN_S, AttemptJudge
from .leased_row import LeasedRow
from .run_deps import RunDeps

_LOOK_AGAIN_S = 0.5


class RefusedError(ProcessorError):
    """The replay cannot be made as it was asked for; the message says why."""


class Preparation:
    """Fixes the window of one replay and waits for what it is judged by."""

    def __init__(
        self, deps: RunDeps, replay: StoredReplay, row: LeasedRow, judge: AttemptJudge, *, claimed_at: float
    ) -> None:
        """Look for the first time at `claimed_at`, by the clock."""
        self.window = replay.window
        """The window; None until it is fixed."""
        self._deps = deps
        self._replay = replay
        self._row = row
        self._judge = judge
        self._table_target: int | None = None
        self._judged_from: float | None = None
        self._look_at = claimed_at

    def done(self) -> bool:
        """Whether reading may begin; looks at most every half a second.

        Raises:
            RefusedError, ForeignTableError: it cannot be done.
            LeaseLostError, KafkaUnavailableError, DatabaseError: as `ReplayRun.step`.
        """
        deps = self._deps
        now = deps.clock()
        if now < self._look_at:
            return False
        self._look_at = now + _LOOK_AGAIN_S
        if self.window is None:
            window = deps.lookup.fix(self._replay.asked, now_ms=deps.now_ms())
            self._row.write(lambda work: work.fix_window(self._replay.id, window))  # (1)
            self.window = window
        return self._table_is_read() and self._log_has_caught_up(now)

    def _table_is_read(self) -> bool:
        """(2): "no hook" has to mean that no hook has the event, not "not read yet"."""
        deps = self._deps
        if self._table_target is None:
            self._table_target = deps.reader.end()
            if self._replay.asked.source is ReplaySource.EVENTS:
                seen = deps.lookup.table_seen(self._replay.asked)
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
