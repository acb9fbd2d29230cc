"""From settings to the `control` topic: what has to be written there, and what is taken over from there.

A row is published while it is locked, until Kafka has acknowledged. What a writer that lost its lock still writes
afterwards is seen by every relay, which follows the topic, and the row is written again behind it. A topic that is
ahead means that the database is an older one, restored from a backup: its settings are taken over. A topic that lacks
what was published is a new one: it is written again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from sqlalchemy import Select, select, tuple_
from sqlalchemy.orm import Session

from hookstream.schemas.control import EndpointSettings

from .database import Sessions, reading, transact, transact_due
from .endpoint_settings import merged, overwrite, row_of, settings_of
from .models import AuditRow, EndpointSettingsRow


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSettings:
    """A record of the topic."""

    wanted: EndpointSettings
    partition: int
    offset: int


class SettingsPublisher(Protocol):
    """Writes rows to the `control` topic; a call returns when Kafka has acknowledged all of them."""

    def publish(self, settings: Sequence[EndpointSettings]) -> Sequence[PublishedSettings]:
        """Write rows and say where they stand, in the order given.

        Raises:
            NotPublishedError: one or more were not acknowledged in time; some may be in the topic.
        """
        ...


def publish_pending_settings(sessions: Sessions, publisher: SettingsPublisher, *, limit: int) -> int:
    """Publish what was written since, oldest first; give the number of rows. Those that another relay holds are its.

    Raises:
        NotPublishedError: Kafka did not acknowledge; all of them stay pending.
        DatabaseUnavailableError: the same.
    """
    pending = select(EndpointSettingsRow).where(EndpointSettingsRow.revision > EndpointSettingsRow.published_revision)
    oldest = pending.order_by(EndpointSettingsRow.updated_at_ms).limit(limit)

    def publish(rows: Sequence[EndpointSettingsRow]) -> int:
        if rows:
            for row, published in zip(rows, publisher.publish([settings_of(row) for row in rows]), strict=True):
                row.published_revision = row.revision
                row.published_partition, row.published_offset = published.partition, published.offset
        return len(rows)

    return transact_due(sessions, oldest, publish)


def take_over(sessions: Sessions, seen: Sequence[PublishedSettings], *, now_ms: int) -> int:
    """Compare records that were read from the topic with the database and put right what differs; give how much did.

    The newest goes first: an older one, written late, means nothing where a newer one stands behind it. So of a topic
    that was not followed so far, give all records in one call.
    """
    seen = sorted(seen, key=lambda record: (record.wanted.revision, record.offset), reverse=True)
    keys = {_key(record.wanted) for record in seen}
    with reading(sessions) as session:
        rows = _by_key(session.scalars(_of(keys)))
        if not any(_differs(record, rows.get(_key(record.wanted))) for record in seen):
            return 0

    def work(session: Session) -> int:
        rows = _by_key(session.scalars(_of(keys).with_for_update()))
        taken_over = 0
        for record in seen:
            row = rows.get(_key(record.wanted))
            if _differs(record, row):
                rows[_key(record.wanted)] = _taken(session, record, row, now_ms)
                taken_over += 1
        return taken_over

    return transact(sessions, work)


def rewrite_missing(sessions: Sessions, seen: Iterable[PublishedSettings]) -> int:
    """Make pending again what was published and is not among `seen`, all that the topic holds; give how many."""
    newest: dict[tuple[str, str], int] = {}
    for record in seen:
        key = _key(record.wanted)
        newest[key] = max(newest.get(key, 0), record.wanted.revision)

    def work(session: Session) -> int:
        lost = [
            row
            for row in session.scalars(select(EndpointSettingsRow).with_for_update())
            if newest.get((row.client, row.target_digest), 0) < row.published_revision
        ]
        for row in lost:
            row.published_revision = 0
        return len(lost)

    return transact(sessions, work)


def _differs(record: PublishedSettings, row: EndpointSettingsRow | None) -> bool:
    """Whether a record says anything that the database does not know, or stands wrongly behind a newer one."""
    if row is None or record.wanted.revision > row.revision or _is_unknown_to(row, record.wanted):
        return True
    behind = (
        record.partition == row.published_partition
        and row.published_offset is not None
        and record.offset > row.published_offset
    )
    return behind and record.wanted.revision < row.published_revision


def _is_unknown_to(row: EndpointSettingsRow, wanted: EndpointSettings) -> bool:
    """Whether pending settings were made without these: they were published before a backup was restored.

    What an operator changed since then has the same revision, or a higher one.
    """
    if not row.published_revision < wanted.revision <= row.revision:
        return False
    pending = settings_of(row)
    return pending != (wanted if wanted.revision == row.revision else merged(pending, wanted))


def _taken(
    session: Session, record: PublishedSettings, row: EndpointSettingsRow | None, now_ms: int
) -> EndpointSettingsRow:
    wanted = record.wanted
    if row is not None and wanted.revision < row.published_revision:
        row.published_revision = wanted.revision  # pending again: it is written behind what stands there
        return row
    merged_settings = wanted
    if row is None:
        row = row_of(wanted)
        session.add(row)
    elif row.revision > row.published_revision:  # an operator has set something since the backup was restored
        above = max(row.revision, wanted.revision) + 1
        merged_settings = replace(merged(settings_of(row), wanted), revision=above)
        overwrite(row, merged_settings)
    else:
        overwrite(row, wanted)
    row.published_revision = wanted.revision
    row.published_partition, row.published_offset = record.partition, record.offset
    row.updated_at_ms = now_ms
    detail = {"endpoint": wanted.endpoint, "revision": merged_settings.revision, "topic_revision": wanted.revision}
    session.add(AuditRow(at_ms=now_ms, actor="relay", action="endpoint.take-over", client=wanted.client, detail=detail))
    session.flush()
    return row


def _key(wanted: EndpointSettings) -> tuple[str, str]:
    return wanted.client, wanted.target_digest.hex()


def _of(keys: Iterable[tuple[str, str]]) -> Select[EndpointSettingsRow]:
    key = tuple_(EndpointSettingsRow.client, EndpointSettingsRow.target_digest)
    return select(EndpointSettingsRow).where(key.in_(list(keys)))


def _by_key(rows: Iterable[EndpointSettingsRow]) -> dict[tuple[str, str], EndpointSettingsRow]:
    return {(row.client, row.target_digest): row for row in rows}
