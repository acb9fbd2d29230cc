"""Workers' notices about hooks are applied to the database: a hook that a worker disabled for itself becomes disabled.

Each is applied with its row locked, if the row is still the one that the worker saw. Applying raises the revision, so
that the same notice, read again, is stale. A worker repeats its notice until the row shows it; so a record that cannot
be decoded is logged and passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import assert_never

import structlog
from confluent_kafka import Message
from sqlalchemy import select
from sqlalchemy.orm import Session

from hookstream.processors.operations.group_reader import GroupTopic
from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.hook import HookNotice, NoticeKind
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.database import NowMs, Sessions, reading, transact
from hookstream.subscriptions.models import DisabledReason, SubscriptionRow
from hookstream.subscriptions.repository import HookRepository

ACTOR = "worker"
_BATCH_RECORDS = 500

log = structlog.get_logger("hookstream.hook_notices")


class HookNotices:
    """A `GroupStep`: applies the notices of one deployment. One thread."""

    def __init__(
        self,
        sessions: Sessions,
        topics: TopicNames,
        *,
        decode: Callable[[bytes | None], HookNotice],
        now_ms: NowMs,
        changed: Callable[[], None],
    ) -> None:
        """Prepare; `changed` is called after a row was written."""
        self.source = GroupTopic(
            topic=topics.hook_notices,
            group=topics.notices_group,
            what="notices about hooks",
            name="hook notices",
            batch_records=_BATCH_RECORDS,
            # Without an offset, or with one that retention has passed, begin with what there is: stale ones do nothing.
            consumer={"auto.offset.reset": "earliest"},
        )
        self._sessions = sessions
        self._decode = decode
        self._now_ms = now_ms
        self._changed = changed

    def prepare(self) -> None:
        """See whether the database can be read.

        Raises:
            DatabaseError: it cannot, or it was not migrated yet.
        """
        with reading(self._sessions) as session:
            session.execute(select(SubscriptionRow.hook_id).limit(1))

    def apply(self, records: Sequence[Message]) -> int:
        """Apply notices; give the number of hooks that were disabled.

        Raises:
            RegistryError: a schema cannot be had now.
            DatabaseError: no answer from the database.
        """
        return sum(map(self._applied, records))

    def forget(self) -> None:
        """Nothing is kept of a partition."""

    def _applied(self, message: Message) -> bool:
        try:
            notice = self._decode(message.value())
        except UndecodableError as exc:
            log.error(  # noqa: TRY400  # the reason says it all
                "a notice about a hook cannot be read",
                topic=message.topic(),
                partition=message.partition(),
                offset=message.offset(),
                reason=str(exc),
            )
            return False
        reason = _reason(notice.kind)
        if reason is None:
            return False

        def work(session: Session) -> bool:
            return HookRepository(session, ACTOR, self._now_ms()).disable_observed(notice, reason)

        if not transact(self._sessions, work):
            return False
        self._changed()
        log.warning(
            "a hook is disabled",
            hook=notice.hook_id,
            client=notice.client,
            hook_event=notice.event,
            reason=reason.value,
        )
        return True


def _reason(kind: NoticeKind) -> DisabledReason | None:
    """Why the hook is disabled by that; None where the row stays: a hook that recovered was never disabled by it."""
    match kind:
        case NoticeKind.GONE:
            return DisabledReason.GONE
        case NoticeKind.FAILING:
            return DisabledReason.FAILING
        case NoticeKind.RECOVERED:
            return None
        case _:
            assert_never(kind)
