"""From wishes to the `control` topic: what has to be written there, and what is learnt from what stands there.

A row is published while it is locked, until Kafka has acknowledged. What a writer that lost its lock still writes
afterwards is seen by every relay, which follows the topic, and the row is written again behind it. A topic that is
ahead means that the database is an older one, restored from a backup: its wish is taken over. A topic that lacks what
was published is a new one: it is written again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from sqlalchemy import Select, select, tuple_
from sqlalchemy.orm import Session

from hookstream.schemas.control import EndpointWish

from .database import Sessions, reading, transact
from .endpoint_wishes import merged, overwrite, row_of, wish_of
from .models import AuditRow, EndpointWishRow


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedWish:
    """A record of the topic."""

    wish: EndpointWish
    partition: int
    offset: int


class WishPublisher(Protocol):
    """Writes rows to the `control` topic; a call returns when Kafka has acknowledged all of them."""

    def publish(self, wishes: Sequence[EndpointWish]) -> Sequence[PublishedWish]:
        """Write rows and say where they stand, in the order given.

        Raises:
            NotPublishedError: one or more were not acknowledged in time; some may be in the topic.
        """
        ...


def publish_pending_wishes(sessions: Sessions, publisher: WishPublisher, *, limit: int) -> int:
    """Publish what was written since, oldest first; give the number of rows. Those that another relay holds are its.

    Raises:
        NotPublishedError: Kafka did not acknowledge; all of them stay pending.
        DatabaseUnavailableError: the same.
    """
    pending = select(EndpointWishRow).where(EndpointWishRow.revision > EndpointWishRow.published_revision)
    with reading(sessions) as session:
        if session.scalar(pending.limit(1)) is None:
            return 0
    locked = pending.order_by(EndpointWishRow.updated_at_ms).limit(limit).with_for_update(skip_locked=True)

    def work(session: Session) -> int:
        rows = session.scalars(locked).all()
        if rows:
            for row, published in zip(rows, publisher.publish([wish_of(row) for row in rows]), strict=True):
                row.published_revision = row.revision
                row.published_partition, row.published_offset = published.partition, published.offset
        return len(rows)

    return transact(sessions, work)


def learn(sessions: Sessions, seen: Sequence[PublishedWish], *, now_ms: int) -> int:
    """Compare records that were read from the topic with the database and put right what differs; give how much did."""
    keys = {_key(record.wish) for record in seen}
    with reading(sessions) as session:
        rows = _by_key(session.scalars(_of(keys)))
        if not any(_tells(record, rows.get(_key(record.wish))) for record in seen):
            return 0

    def work(session: Session) -> int:
        rows = _by_key(session.scalars(_of(keys).with_for_update()))
        learnt = 0
        for record in seen:
            row = rows.get(_key(record.wish))
            if _tells(record, row):
                rows[_key(record.wish)] = _taken(session, record, row, now_ms)
                learnt += 1
        return learnt

    return transact(sessions, work)


def rewrite_missing(sessions: Sessions, seen: Iterable[PublishedWish]) -> int:
    """Make pending again what was published and is not among `seen`, all that the topic holds; give how many."""
    newest: dict[tuple[int, str], int] = {}
    for record in seen:
        key = _key(record.wish)
        newest[key] = max(newest.get(key, 0), record.wish.revision)

    def work(session: Session) -> int:
        lost = [
            row
            for row in session.scalars(select(EndpointWishRow).with_for_update())
            if newest.get((row.client, row.target_digest), 0) < row.published_revision
        ]
        for row in lost:
            row.published_revision = 0
        return len(lost)

    return transact(sessions, work)


def _tells(record: PublishedWish, row: EndpointWishRow | None) -> bool:
    """Whether a record says anything that the database does not know, or stands wrongly behind a newer one."""
    if row is None or record.wish.revision > row.revision:
        return True
    behind = (
        record.partition == row.published_partition
        and row.published_offset is not None
        and record.offset > row.published_offset
    )
    return behind and record.wish.revision < row.published_revision


def _taken(session: Session, record: PublishedWish, row: EndpointWishRow | None, now_ms: int) -> EndpointWishRow:
    wish = record.wish
    if row is not None and wish.revision <= row.revision:
        row.published_revision = wish.revision  # pending again: it is written behind what stands there
        return row
    adopted = wish
    if row is None:
        row = row_of(wish)
        session.add(row)
    elif row.revision > row.published_revision:  # an operator has wished something since the backup was restored
        adopted = replace(merged(wish_of(row), wish), revision=wish.revision + 1)
        overwrite(row, adopted)
    else:
        overwrite(row, wish)
    row.published_revision = wish.revision
    row.published_partition, row.published_offset = record.partition, record.offset
    row.updated_at_ms = now_ms
    detail = {"endpoint": wish.endpoint, "revision": adopted.revision, "topic_revision": wish.revision}
    session.add(AuditRow(at_ms=now_ms, actor="relay", action="endpoint.adopt", client=wish.client, detail=detail))
    session.flush()
    return row


def _key(wish: EndpointWish) -> tuple[int, str]:
    return wish.client, wish.target_digest.hex()


def _of(keys: Iterable[tuple[int, str]]) -> Select[EndpointWishRow]:
    key = tuple_(EndpointWishRow.client, EndpointWishRow.target_digest)
    return select(EndpointWishRow).where(key.in_(list(keys)))


def _by_key(rows: Iterable[EndpointWishRow]) -> dict[tuple[int, str], EndpointWishRow]:
    return {(row.client, row.target_digest): row for row in rows}
