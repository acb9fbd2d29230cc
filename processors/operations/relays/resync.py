"""`hookstream subscriptions resync`: the database and the topic agree again, and an end mark says so to readers.

The order is what makes it safe: the topic is read first, so that the database can be lifted above everything there;
then every row is published, with its lock held; last the mark, which says that nothing is missing before it. A run that
ends early leaves no mark, and is simply repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import structlog

from hookstream.processors.tables.subscription_reader import TableBatch
from hookstream.schemas.hook import Hook, ResyncMark
from hookstream.subscriptions.changes import ChangePublisher
from hookstream.subscriptions.database import NowMs, Sessions
from hookstream.subscriptions.publication import SubscriptionKey, publish_all
from hookstream.subscriptions.resync import LiftReport, lift_above, preview_lift

from .relay import TopicReader

_BATCH_ROWS = 200

log = structlog.get_logger("hookstream.resync")


class IdentifiedReader(TopicReader, Protocol):
    """A reader that knows which topic it reads."""

    @property
    def topic_id(self) -> str | None:
        """The topic's id, once open; None on the embedded mock, which has none."""
        ...


OpenReader: TypeAlias = Callable[[Callable[[TableBatch], None]], IdentifiedReader]
"""Makes a reader that is not open yet, with the callback that takes what it reads."""


class MarkPublisher(ChangePublisher, Protocol):
    """A publisher that can write the end mark."""

    def publish_mark(self, mark: ResyncMark) -> int:
        """Write the mark and give its offset."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ResyncReport:
    """What a resync did: what it changed in the database, the rows it published, where the end mark stands."""

    lift: LiftReport
    published: int
    mark_offset: int


def resync(  # what it works on, by position; how, by name
    sessions: Sessions,
    publisher: MarkPublisher,
    open_reader: OpenReader,
    *,
    actor: str,
    now_ms: NowMs,
    progress: Callable[[int], None] = lambda _done: None,
) -> ResyncReport:
    """Read the topic, lift the database above it, publish every subscription row, write the end mark.

    Holds one row per subscription key in memory, about a kilobyte each. Relays and the API may go on meanwhile.
    `progress` is called with the number of rows that were published.

    Raises:
        KafkaUnavailableError: no answer from Kafka.
        NotPublishedError: Kafka did not acknowledge.
        DatabaseUnavailableError: no answer from the database.
        In every case: run it again.
    """
    seen, topic_id = _read(open_reader)
    report = lift_above(sessions, seen, actor=actor, now_ms=now_ms())
    for client, event in report.closed:
        log.error(
            "a hook of the topic lost its id to another one: it has to be registered again",
            client=client,
            hook_event=event,
        )
    for client, event in report.refused:
        log.error("a row of the topic cannot be kept by a database: it is left out", client=client, hook_event=event)
    published = publish_all(sessions, publisher, batch=_BATCH_ROWS, progress=progress)
    offset = publisher.publish_mark(ResyncMark(topic_id=topic_id, written_at_ms=now_ms()))
    return ResyncReport(lift=report, published=published, mark_offset=offset)


def preview(sessions: Sessions, open_reader: OpenReader, *, actor: str, now_ms: NowMs) -> LiftReport:
    """Say what a resync would change in the database; nothing is changed, and nothing published.

    Raises:
        KafkaUnavailableError, DatabaseUnavailableError: run it again.
    """
    seen, _ = _read(open_reader)
    return preview_lift(sessions, seen, actor=actor, now_ms=now_ms())


def _read(open_reader: OpenReader) -> tuple[dict[SubscriptionKey, Hook], str]:
    """The highest row of every subscription key of the topic, and the topic's id."""
    seen: dict[SubscriptionKey, Hook] = {}

    def take(batch: TableBatch) -> None:
        for record in batch.records:
            row = record.row
            if isinstance(row, Hook):
                key = (row.client, row.event)
                known = seen.get(key)
                if known is None or row.revision >= known.revision:
                    seen[key] = row

    reader = open_reader(take)
    reader.open()
    try:
        while not reader.loaded:
            reader.step(1.0)
        return seen, reader.topic_id or ""
    finally:
        reader.close()
