"""`hookstream subscriptions resync`: the database and the topic agree again, and readers are told so by an end mark.

The order is what makes it safe: the topic is read first, so that the database can be lifted above everything there;
then every slot is published, under its lock; last the mark, which says that nothing is missing before it. A run that
ends early leaves no mark, and is simply repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from hookstream.processors.routing.table_reader import TableBatch
from hookstream.schemas.hook import Hook, ResyncMark
from hookstream.subscriptions.changes import ChangePublisher
from hookstream.subscriptions.database import NowMs, Sessions
from hookstream.subscriptions.publication import SlotId, publish_all
from hookstream.subscriptions.resync import LiftReport, lift_above

from .change_relay import TopicReader

_BATCH_ROWS = 200

log = structlog.get_logger("hookstream.resync")


class IdentifiedReader(TopicReader, Protocol):
    """A reader that knows which topic it reads."""

    @property
    def topic_id(self) -> str | None:
        """The topic's id, once open; None on the embedded mock, which has none."""
        ...


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


def resync(
    sessions: Sessions,
    publisher: MarkPublisher,
    open_reader: Callable[[Callable[[TableBatch], None]], IdentifiedReader],
    *,
    actor: str,
    now_ms: NowMs,
) -> ResyncReport:
    """Read the topic, lift the database above it, publish every slot, write the end mark.

    Holds one row per slot of the topic in memory, about a kilobyte each. Relays and the API may go on meanwhile.

    Raises:
        KafkaUnavailableError: no answer from Kafka.
        NotPublishedError: Kafka did not acknowledge.
        DatabaseUnavailableError: no answer from the database.
        In every case: run it again.
    """
    seen: dict[SlotId, Hook] = {}

    def take(batch: TableBatch) -> None:
        for _, _, row in batch.records:
            if isinstance(row, Hook):
                slot = (row.client, row.event)
                known = seen.get(slot)
                if known is None or row.revision >= known.revision:
                    seen[slot] = row

    reader = open_reader(take)
    reader.open()
    try:
        while not reader.loaded:
            reader.step(1.0)
        topic_id = reader.topic_id or ""
    finally:
        reader.close()
    report = lift_above(sessions, seen, actor=actor, now_ms=now_ms())
    for client, event in report.closed:
        log.error(
            "a hook of the topic lost its id to another one: it has to be registered again",
            client=client,
            hook_event=event,
        )
    published = publish_all(sessions, publisher, batch=_BATCH_ROWS)
    offset = publisher.publish_mark(ResyncMark(topic_id=topic_id, written_at_ms=now_ms()))
    return ResyncReport(lift=report, published=published, mark_offset=offset)
