"""From the database to the `subscriptions` topic: what is written there, under whose lock, and what is remembered.

A row is published while it is locked, until Kafka has acknowledged, so that of two writers the later one writes
later. What a writer that lost its lock (suspended, cut off from the database) still writes afterwards is seen by every
relay, which follows the topic, and the subscription row is written again behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from sqlalchemy import ColumnElement, Select, select, tuple_
from sqlalchemy.orm import Session

from hookstream.schemas.bounded import is_storable
from hookstream.schemas.hook import HookState, subscription_of_record_key, subscription_record_key

from .changes import ChangePublisher, hook_of
from .database import Sessions, one_of_pairs, reading, transact, transact_due
from .models import SubscriptionRow

SubscriptionKey: TypeAlias = tuple[str, str]
"""(client, event)."""

UNREADABLE: Final = 0
"""Revision of a record that cannot be decoded: below that of every subscription key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRow:
    """A record of the topic, as far as it matters here. `revision` is None for a tombstone."""

    key: SubscriptionKey
    offset: int
    revision: int | None


class _KnownRow(NamedTuple):
    """What is compared of a subscription row. A tuple: a relay that starts compares every row there is."""

    client: str
    event: str
    revision: int
    published_offset: int | None
    tombstoned: bool


_COMPARED: Final = select(
    SubscriptionRow.client,
    SubscriptionRow.event,
    SubscriptionRow.revision,
    SubscriptionRow.published_offset,
    SubscriptionRow.tombstoned,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What records of the topic say about it and about the database.

    `outdated` ones stand behind a newer row of their subscription key, unless that one is just being written. `ahead`
    have a revision that the database never reached, which is then an older one, restored from a backup.
    """

    outdated: tuple[SeenRow, ...]
    ahead: tuple[SeenRow, ...]


def parse_subscription_record_key(key: bytes | None) -> SubscriptionKey | None:
    """The subscription key in a record's key; None where there is none that a database can be asked for."""
    found = subscription_of_record_key(key)
    return found if found is not None and is_storable(found[1]) else None


def publish_pending(sessions: Sessions, publisher: ChangePublisher, *, limit: int) -> int:
    """Publish what was written since, oldest first; give the number of rows. Rows that another relay locked are left.

    Raises:
        NotPublishedError: Kafka did not acknowledge; all of them stay pending.
        DatabaseUnavailableError: the same.
    """
    pending = select(SubscriptionRow).where(SubscriptionRow.revision > SubscriptionRow.published_revision)
    oldest = pending.order_by(SubscriptionRow.updated_at_ms).limit(limit)
    return transact_due(sessions, oldest, lambda rows: _publish(rows, publisher))


def publish_tombstones(sessions: Sessions, publisher: ChangePublisher, *, deleted_before_ms: int, limit: int) -> int:
    """Write the tombstones of hooks that were deleted before then; give their number.

    Raises:
        NotPublishedError: Kafka did not acknowledge; they stay to be written.
    """
    due = (
        select(SubscriptionRow)
        .where(SubscriptionRow.state == HookState.DELETED, ~SubscriptionRow.tombstoned)
        .where(
            SubscriptionRow.updated_at_ms < deleted_before_ms,
            SubscriptionRow.revision == SubscriptionRow.published_revision,
        )
        .order_by(SubscriptionRow.updated_at_ms)
        .limit(limit)
    )
    return transact_due(sessions, due, lambda rows: _publish_tombstones(rows, publisher))


def judge(sessions: Sessions, seen: Sequence[SeenRow]) -> Judgement:
    """Compare records that were read from the topic with the database, without a lock."""
    keys = {row.key for row in seen}
    with reading(sessions) as session:
        known = [_KnownRow(*row) for row in session.execute(_COMPARED.where(_are(session, keys)))]
    rows = {(row.client, row.event): row for row in known}
    outdated, ahead = [], []
    for record in seen:
        row = rows.get(record.key)
        if record.revision is not None and record.revision > (0 if row is None else row.revision):
            ahead.append(record)
        elif row is not None and _is_outdated(record, row):
            outdated.append(record)
    return Judgement(outdated=tuple(outdated), ahead=tuple(ahead))


def correct(sessions: Sessions, publisher: ChangePublisher, outdated: Sequence[SeenRow]) -> int:
    """Write the subscription rows again behind those records that are still outdated once the row is locked.

    Whoever held the lock has by then remembered what it wrote. A pending row is left: it will be written behind every
    record that was seen.

    Raises:
        NotPublishedError: Kafka did not acknowledge; call it again.
    """
    latest = {record.key: record for record in sorted(outdated, key=lambda record: record.offset)}

    def work(session: Session) -> int:
        of_them = select(SubscriptionRow).where(_are(session, latest.keys()))
        rows = session.scalars(
            of_them.order_by(SubscriptionRow.client, SubscriptionRow.event).with_for_update(of=SubscriptionRow)
        ).all()
        wrong = [
            row
            for row in rows
            if row.revision == row.published_revision and _is_outdated(latest[row.client, row.event], row)
        ]
        # Also a deleted row: readers that took the older one for the newest ignore a tombstone behind it.
        _publish(wrong, publisher)
        _publish_tombstones([row for row in wrong if row.tombstoned], publisher)
        return len(wrong)

    return transact(sessions, work) if latest else 0


def publish_all(
    sessions: Sessions, publisher: ChangePublisher, *, batch: int, progress: Callable[[int], None] = lambda _done: None
) -> int:
    """Publish every row but tombstoned ones, in batches, whatever was published before; give the number.

    `progress` is called with the number so far.

    Raises:
        NotPublishedError: Kafka did not acknowledge; call it again, from the start.
    """
    after: SubscriptionKey | None = ("", "")
    total = 0
    while after is not None:

        def work(session: Session, after: SubscriptionKey = after) -> tuple[int, SubscriptionKey | None]:
            rows = session.scalars(_next_rows(after, batch)).all()
            return _publish(rows, publisher), (rows[-1].client, rows[-1].event) if rows else None

        count, after = transact(sessions, work)
        total += count
        progress(total)
    return total


def _next_rows(after: SubscriptionKey, limit: int) -> Select[SubscriptionRow]:
    key = tuple_(SubscriptionRow.client, SubscriptionRow.event)
    found = select(SubscriptionRow).where(key > after, ~SubscriptionRow.tombstoned)
    return found.order_by(SubscriptionRow.client, SubscriptionRow.event).limit(limit).with_for_update()


def _is_outdated(record: SeenRow, row: SubscriptionRow | _KnownRow) -> bool:
    """Whether a record behind the one that was published is another than the present row."""
    if row.published_offset is not None and record.offset <= row.published_offset:
        return False
    if record.revision is None:
        return not row.tombstoned
    return row.tombstoned or record.revision < row.revision


def _publish(rows: Sequence[SubscriptionRow], publisher: ChangePublisher) -> int:
    if rows:
        offsets = publisher.publish([hook_of(row) for row in rows])
        for row, offset in zip(rows, offsets, strict=True):
            row.published_revision = row.revision
            row.published_offset = offset
    return len(rows)


def _publish_tombstones(rows: Sequence[SubscriptionRow], publisher: ChangePublisher) -> int:
    if rows:
        offsets = publisher.publish_tombstones([subscription_record_key(row.client, row.event) for row in rows])
        for row, offset in zip(rows, offsets, strict=True):
            row.tombstoned = True
            row.published_offset = offset
    return len(rows)


def _are(session: Session, keys: Collection[SubscriptionKey]) -> ColumnElement[bool]:
    return one_of_pairs(session, (SubscriptionRow.client, SubscriptionRow.event), keys)
