"""The relay of changes: what is committed in the database reaches the `subscriptions` topic, and stays its newest row.

One turn does, in an order that matters:

1. Read what was appended to the topic, and judge it. Until the end that it had at the start is reached, nothing is
   written: only then is it known whether the database is as new as the topic.
2. Where the topic holds a revision that the database never reached, the database was restored from a backup. Nothing
   is written from it until `hookstream subscriptions resync` has lifted it.
3. A record that stands behind a newer row of its subscription key was written by a relay that had lost its lock: that
   newer row is written again.
4. Publish what is pending, each row with its row locked until Kafka has acknowledged it, then commit.
5. Now and then: tombstones of hooks deleted 40 days ago, idempotency keys past their day, and old secrets past theirs.

kill -9 anywhere loses nothing: what was not committed as published is pending, and is published again under the same
revision. Any number of relays may run; a row is published by the one that locks it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

import structlog

from hookstream.processors.errors import ExpiredRecordsError, KafkaUnavailableError
from hookstream.processors.tables.subscription_reader import TableBatch
from hookstream.producers.errors import RegistryError
from hookstream.schemas.hook import RESYNC_MARK_KEY, Hook
from hookstream.subscriptions.changes import ChangePublisher
from hookstream.subscriptions.database import NowMs, Sessions, transact
from hookstream.subscriptions.errors import DatabaseError, NotPublishedError
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

_DAY_MS = 24 * 3600 * 1000
# A reader that was away for longer than this has to be told of the deletion by the row, not by its absence.
_TOMBSTONE_AFTER_MS = 40 * _DAY_MS
# How long a stop waits while the past is read.
_LOADING_STEP_S = 0.2

log = structlog.get_logger("hookstream.change_relay")


class TopicReader(Protocol):
    """Reads the topic from its first record; what it reads goes to the callback that it was made with."""

    @property
    def loaded(self) -> bool:
        """Whether everything was read that was there when it was opened."""
        ...

    def open(self) -> None:
        """Find the topic's end."""
        ...

    def step(self, timeout_s: float) -> int:
        """Read what is there and give the number of records."""
        ...

    def close(self) -> None:
        """Stop reading."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayConfig:
    """How the relay works."""

    # Rows published in one transaction: they are locked together, and acknowledged in one or two round trips.
    batch_rows: int = 100
    # How late a change made by another process is seen; one of this process wakes the relay.
    poll_interval_s: float = 0.1
    retry_after_s: float = 1.0
    housekeeping_every_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one turn did. `loading`: the past is still being read. `behind`: the database is older than the topic."""

    loading: bool = False
    behind: bool = False
    published: int = 0
    corrected: int = 0
    buried: int = 0


class ChangeRelay:
    """Publishes one database to one topic. `wake` and `trouble` may be called from any thread, the rest from one."""

    def __init__(
        self,
        sessions: Sessions,
        publisher: ChangePublisher,
        open_reader: Callable[[Callable[[TableBatch], None]], TopicReader],
        *,
        now_ms: NowMs,
        config: RelayConfig | None = None,
    ) -> None:
        """Prepare; `open_reader` makes a reader that is not open yet, with the callback that takes what it reads."""
        self._sessions = sessions
        self._publisher = publisher
        self._open_reader = open_reader
        self._now_ms = now_ms
        self._config = config or RelayConfig()
        self._reader: TopicReader | None = None
        self._read: list[SeenRow] = []
        self._suspects: list[SeenRow] = []
        self._ahead: dict[SubscriptionKey, SeenRow] = {}
        self._woken = threading.Event()
        self._housekeeping_at = 0.0
        self._trouble: str | None = "the relay has not started"

    def wake(self) -> None:
        """Say that something was committed just now."""
        self._woken.set()

    def trouble(self) -> str | None:
        """What keeps changes from reaching the topic, for `/readyz`; None where nothing does."""
        return self._trouble

    def run(self, stop: threading.Event) -> None:
        """Relay until `stop` is set; what is away is waited for, and said once."""
        try:
            while not stop.is_set():
                pause_s = self._turn()
                if pause_s:
                    self._woken.wait(pause_s)
                    self._woken.clear()
        finally:
            self.close()

    def close(self) -> None:
        """Stop reading the topic; `run` does it by itself. What was not published stays pending."""
        self._close_reader()

    def _turn(self) -> float:
        """One turn under the eyes of the operator; give how long to wait for the next."""
        try:
            turn = self.run_once()
        except (KafkaUnavailableError, NotPublishedError, DatabaseError, RegistryError) as exc:
            self._say(str(exc))
            return self._config.retry_after_s
        if turn.behind:
            client, event = min(self._ahead)
            self._say(
                f"the database is older than the subscriptions topic (client {client}, {event}):"
                " run hookstream subscriptions resync"
            )
            return self._config.retry_after_s
        if turn.loading:
            return 0.0
        self._say(None)
        return 0.0 if turn.published or turn.corrected else self._config.poll_interval_s

    def _say(self, trouble: str | None) -> None:
        if trouble != self._trouble:
            if trouble is None:
                log.info("changes reach the subscriptions topic")
            else:
                log.error("changes do not reach the subscriptions topic", reason=trouble)
        self._trouble = trouble

    def run_once(self) -> Turn:
        """Do one turn, as the module says. It may be called again after any error.

        Raises:
            KafkaUnavailableError: no answer from Kafka.
            NotPublishedError: Kafka did not acknowledge.
            DatabaseError: no answer from the database, or it was not migrated yet.
        """
        if not self._follow():
            return Turn(loading=True)
        if self._ahead:
            return Turn(behind=True)
        corrected = self._correct()
        published = publish_pending(self._sessions, self._publisher, limit=self._config.batch_rows)
        return Turn(published=published, corrected=corrected, buried=self._keep_house())

    def _follow(self) -> bool:
        """Read and judge what has come; give whether the past was read."""
        try:
            reader = self._reader or self._opened()
            reader.step(0.0 if reader.loaded else _LOADING_STEP_S)
            while self._read or self._ahead:
                self._judge()
                if not reader.step(0.0):
                    break
        except ExpiredRecordsError as exc:
            # Cut or re-created: what was seen of it says nothing any more.
            log.warning("reading the subscriptions topic again from its start", reason=str(exc))
            self._close_reader()
            raise KafkaUnavailableError(str(exc)) from exc
        return reader.loaded and not self._read

    def _judge(self) -> None:
        """Forget what was read once the database has said what it means.

        A row ahead is judged again each time, until a resync has lifted the database above it.
        """
        judgement = judge(self._sessions, [*self._ahead.values(), *self._read])
        self._ahead = {row.key: row for row in sorted(judgement.ahead, key=lambda row: row.revision or 0)}
        self._suspects += judgement.suspects
        self._read.clear()

    def _opened(self) -> TopicReader:
        reader = self._open_reader(self._take)
        reader.open()
        self._reader = reader
        return reader

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._read.clear()
        self._suspects.clear()
        self._ahead.clear()

    def _take(self, batch: TableBatch) -> None:
        """Remember what was read until it was judged."""
        for _, offset, record_key, row in batch.records:
            key = parse_subscription_record_key(record_key)
            if key is None:
                if record_key != RESYNC_MARK_KEY:
                    log.warning("the key of a record of the subscriptions topic is no subscription key", offset=offset)
                continue
            self._read.append(SeenRow(key=key, offset=offset, revision=_revision(row)))

    def _correct(self) -> int:
        """Put right what is wrong in the topic."""
        corrected = correct(self._sessions, self._publisher, self._suspects)
        self._suspects.clear()
        if corrected:
            log.warning("wrote rows again behind older ones", rows=corrected)
        return corrected

    def _keep_house(self) -> int:
        if monotonic() < self._housekeeping_at:
            return 0
        now_ms = self._now_ms()
        transact(self._sessions, lambda session: purge_idempotency_keys(session, now_ms=now_ms))
        dropped = drop_old_secrets(self._sessions, now_ms=now_ms, limit=self._config.batch_rows)
        buried = publish_tombstones(
            self._sessions,
            self._publisher,
            deleted_before_ms=now_ms - _TOMBSTONE_AFTER_MS,
            limit=self._config.batch_rows,
        )
        if max(buried, dropped) < self._config.batch_rows:
            self._housekeeping_at = monotonic() + self._config.housekeeping_every_s
        return buried


def _revision(row: object) -> int | None:
    match row:
        case None:
            return None
        case Hook():
            return row.revision
        case _:
            return UNREADABLE
