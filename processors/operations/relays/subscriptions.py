"""What the relay of changes does: what the database has committed becomes the newest row of the `subscriptions` topic.

- Where the topic holds a revision that the database never reached, the database was restored from a backup. Nothing
  is written from it until `hookstream subscriptions resync` has lifted it.
- A record that stands behind a newer row of its subscription key was written by a relay that had lost its lock: that
  newer row is written again.
- What is pending is published, each row with its lock held until Kafka has acknowledged it; then comes the commit.
- Now and then: tombstones of hooks deleted 40 days ago; idempotency keys past their day, old secrets past theirs, and
  rows of the audit past their days are deleted, a batch in each transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import structlog

from hookstream.processors.tables.subscription_reader import TableBatch
from hookstream.schemas.hook import RESYNC_MARK_KEY, Hook
from hookstream.subscriptions.audit import delete_audit
from hookstream.subscriptions.changes import ChangePublisher
from hookstream.subscriptions.database import NowMs, Sessions, transact
from hookstream.subscriptions.idempotency import purge_idempotency_keys
from hookstream.subscriptions.publication import (
    UNREADABLE,
    SeenRow,
    SubscriptionKey,
    correct,
    judge,
    parse_subscription_record_key,
    publish_pending,
    publish_tombstones,
)
from hookstream.subscriptions.secret_rotation import drop_old_secrets

from .relay import TopicReader, Turn

_DAY_MS = 24 * 3600 * 1000
# A reader that did not run for longer than this has to see the deletion in the row, not in its absence.
_TOMBSTONE_AFTER_MS = 40 * _DAY_MS
# Rows published in one transaction: they are locked together, and acknowledged in one or two round trips.
_BATCH_ROWS = 100
# Rows of the audit deleted in one transaction; nothing waits for them but this.
_AUDIT_ROWS = 1_000
_HOUSEKEEPING_EVERY_S = 60.0

log = structlog.get_logger("hookstream.change_relay")


class SubscriptionsStep:
    """A `RelayStep`. One thread."""

    what = "changes"
    topic = "subscriptions"

    def __init__(
        self,
        sessions: Sessions,
        publisher: ChangePublisher,
        open_reader: Callable[[Callable[[TableBatch], None]], TopicReader],
        *,
        now_ms: NowMs,
        audit_days: float = 0.0,
        batch_rows: int = _BATCH_ROWS,
        housekeeping_every_s: float = _HOUSEKEEPING_EVERY_S,
    ) -> None:
        """Prepare; `open_reader` makes a reader that is not open yet, with the callback that takes what it reads.

        The audit is kept for `audit_days`, for ever with 0.
        """
        self._sessions = sessions
        self._publisher = publisher
        self._open_reader = open_reader
        self._now_ms = now_ms
        self._audit_ms = round(audit_days * _DAY_MS)
        self._batch_rows = batch_rows
        self._housekeeping_every_s = housekeeping_every_s
        self._housekeeping_at = 0.0
        self._read: list[SeenRow] = []
        self._outdated: list[SeenRow] = []
        self._ahead: dict[SubscriptionKey, SeenRow] = {}

    def make_reader(self) -> TopicReader:
        """Make a reader whose records are kept until they were compared."""
        return self._open_reader(self._take)

    def compare(self) -> None:
        """Compare what was read with the database, then forget it.

        A row ahead is compared again each time, until a resync has lifted the database above it.
        """
        if not self._read and not self._ahead:
            return
        judgement = judge(self._sessions, [*self._ahead.values(), *self._read])
        self._ahead = {row.key: row for row in sorted(judgement.ahead, key=lambda row: row.revision or 0)}
        self._outdated += judgement.outdated
        self._read.clear()

    def write(self) -> Turn:
        """Correct what stands wrongly in the topic and publish what is pending, unless the database is an older one.

        Raises:
            NotPublishedError: Kafka did not acknowledge.
            DatabaseError: no answer from the database.
        """
        if self._ahead:
            client, event = min(self._ahead)
            return Turn(
                blocked=f"the database is older than the subscriptions topic (client {client}, {event}):"
                " run hookstream subscriptions resync"
            )
        corrected = self._correct()
        published = publish_pending(self._sessions, self._publisher, limit=self._batch_rows)
        return Turn(published=published, corrected=corrected, tombstoned=self._housekeeping())

    def forget(self) -> None:
        """Forget what was read."""
        self._read.clear()
        self._outdated.clear()
        self._ahead.clear()

    def _take(self, batch: TableBatch) -> None:
        """Keep what was read until it was compared."""
        for _, offset, record_key, row in batch.records:
            key = parse_subscription_record_key(record_key)
            if key is None:
                if record_key != RESYNC_MARK_KEY:
                    log.warning("the key of a record of the subscriptions topic is no subscription key", offset=offset)
                continue
            self._read.append(SeenRow(key=key, offset=offset, revision=_revision(row)))

    def _correct(self) -> int:
        """Write rows again where an older one stands behind them."""
        corrected = correct(self._sessions, self._publisher, self._outdated)
        self._outdated.clear()
        if corrected:
            log.warning("wrote rows again behind older ones", rows=corrected)
        return corrected

    def _housekeeping(self) -> int:
        """Delete what is past its time, if it is time; give the number of tombstones that were written."""
        if monotonic() < self._housekeeping_at:
            return 0
        now_ms = self._now_ms()
        transact(self._sessions, lambda session: purge_idempotency_keys(session, now_ms=now_ms))
        dropped = drop_old_secrets(self._sessions, now_ms=now_ms, limit=self._batch_rows)
        tombstoned = publish_tombstones(
            self._sessions,
            self._publisher,
            deleted_before_ms=now_ms - _TOMBSTONE_AFTER_MS,
            limit=self._batch_rows,
        )
        forgotten = 0
        if self._audit_ms:
            forgotten = delete_audit(self._sessions, before_ms=now_ms - self._audit_ms, limit=_AUDIT_ROWS)
        if max(tombstoned, dropped) < self._batch_rows and forgotten < _AUDIT_ROWS:
            self._housekeeping_at = monotonic() + self._housekeeping_every_s
        return tombstoned


def _revision(row: object) -> int | None:
    match row:
        case None:
            return None
        case Hook():
            return row.revision
        case _:
            return UNREADABLE
