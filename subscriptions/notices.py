"""Notices about hooks on their way to Kafka: written in the transaction of their cause, deleted when acknowledged.

So a hook is never disabled or enabled without its notice, and kill -9 between the acknowledgement and the deletion
writes it again, from the same row, hence under the same id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import HookState
from hookstream.schemas.notices import Notice, NoticeName, is_notice

from .database import Sessions, reading, transact
from .models import NoticeRow, SubscriptionRow


class NoticePublisher(Protocol):
    """Writes notices to `events.hookstream`; a call returns when Kafka has acknowledged all of them."""

    def publish(self, notices: Sequence[Notice]) -> None:
        """Write notices, in the order given.

        Raises:
            NotPublishedError: one or more were not acknowledged in time; some may be in the topic.
        """
        ...


def note_hook(
    session: Session, row: SubscriptionRow, name: NoticeName, *, at_ms: int, reason: str | None = None
) -> None:
    """Let it be told what has become of a hook, unless its endpoint is one that notices go to."""
    if _gets_notices(session, row):
        return
    session.add(
        NoticeRow(
            name=name.value,
            client=row.client,
            target=row.target,
            # A database that was restored from a backup counts revisions again; the time tells those apart.
            cause=f"{row.hook_id}|{row.revision}|{at_ms}",
            at_ms=at_ms,
            hook_id=row.hook_id,
            hook_event=row.event,
            reason=reason,
        )
    )


def publish_notices(sessions: Sessions, publisher: NoticePublisher, *, limit: int) -> int:
    """Publish the oldest notices and delete them; give their number.

    Whoever holds the oldest row is waited for: another process that took the next ones would tell them in another
    order.

    Raises:
        NotPublishedError: Kafka did not acknowledge; all of them stay.
        DatabaseUnavailableError: the same.
    """
    oldest = select(NoticeRow).order_by(NoticeRow.id).limit(limit)
    with reading(sessions) as session:
        if session.scalar(select(NoticeRow.id).limit(1)) is None:
            return 0

    def work(session: Session) -> int:
        rows = session.scalars(oldest.with_for_update()).all()
        if rows:
            publisher.publish([_notice(row) for row in rows])
        for row in rows:
            session.delete(row)
        return len(rows)

    return transact(sessions, work)


def _gets_notices(session: Session, row: SubscriptionRow) -> bool:
    """Whether a hook for notices points to the endpoint of a hook."""
    if is_notice(row.event):
        return True
    of_notices = (
        select(SubscriptionRow.hook_id)
        .where(SubscriptionRow.client == row.client, SubscriptionRow.target == row.target)
        .where(SubscriptionRow.state != HookState.DELETED)
        .where(SubscriptionRow.event.in_([name.value for name in NoticeName]))
    )
    return session.scalar(of_notices.limit(1)) is not None


def _notice(row: NoticeRow) -> Notice:
    return Notice(
        name=NoticeName(row.name),
        client=ClientId(row.client),
        target=row.target,
        cause=row.cause,
        at_ms=row.at_ms,
        hook_id=row.hook_id,
        hook_event=row.hook_event,
        reason=row.reason,
    )
