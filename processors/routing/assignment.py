"""One source partition that a router owns: how far it is read and acknowledged, what it waits for. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from hookstream.processors.kafka import TopicPartitionKey
from hookstream.processors.tables.subscription_table import SubscriptionTable
from hookstream.schemas.sources.readers import TopicEvents

from .commit_note import CommitNote

NEVER_COMMITTED = -1


@dataclass(slots=True, eq=False, kw_only=True)
class SourcePartition:
    """State of one assignment of one partition; a later assignment of it is another object.

    next_offset >= done_offset >= committed_offset: read, acknowledged by the broker, committed to the group.
    """

    topic: str
    partition: int
    topic_id: str | None
    events: TopicEvents
    next_offset: int
    done_offset: int
    committed_offset: int = NEVER_COMMITTED
    committed_table_offset: int = NEVER_COMMITTED
    rejected: tuple[int, int] | None = None
    rejections: dict[int, int] = field(default_factory=dict)
    """Records that the broker rejected, among others and alone: see `CommitNote`."""
    alone: int | None = None
    """A record that was rejected before, while it is sent with nothing else under way."""
    needs_table_offset: int = 0
    needs_resync_mark: bool = False
    """The subscriptions topic is not the one that the last owner read."""
    paused: bool = False
    gone: bool = False
    """Revoked or lost: records of it that are still in hand belong to another router."""

    @property
    def key(self) -> TopicPartitionKey:
        """Its topic and number."""
        return self.topic, self.partition

    def may_route(self, table: SubscriptionTable, table_topic_id: str | None) -> bool:
        """Whether the table is good enough to say that no hook wants an event."""
        return (
            table.offset >= self.needs_table_offset
            and not table.unreadable
            and (not self.needs_resync_mark or table.resynced_topic_id == table_topic_id)
        )

    def note(self, table: SubscriptionTable, table_topic_id: str | None) -> CommitNote:
        """What to commit beside `done_offset`."""
        return CommitNote(
            table_topic_id=table_topic_id,
            table_offset=table.offset,
            source_topic_id=self.topic_id,
            rejected=self.rejected if self.rejected is not None and self.rejected[1] >= self.done_offset else None,
            rejections={offset: count for offset, count in self.rejections.items() if offset >= self.done_offset},
        )

    def rejections_of(self, offset: int) -> int:
        """How often the record was rejected so far."""
        if offset in self.rejections:
            return self.rejections[offset]
        return 1 if self.rejected is not None and self.rejected[0] <= offset <= self.rejected[1] else 0

    def note_rejections(self, offsets: Iterable[int]) -> None:
        """Count a rejected request. What was rejected before and was sent alone now is the cause.

        Not all that was rejected before was: a partition that comes back finds what was sent when it was here before.
        """
        before = {offset: self.rejections_of(offset) for offset in offsets}
        self.rejections.update({at: count + 1 for at, count in before.items() if count and at == self.alone})
        fresh = [offset for offset, count in before.items() if not count]
        if fresh and self.rejected is not None and self.rejected[1] >= self.done_offset:
            fresh += self.rejected
        if fresh:
            self.rejected = (min(fresh), max(fresh))

    def inherit(self, note: CommitNote | None, table_topic_id: str | None) -> None:
        """Take over what the last owner noted about the table and about rejected records."""
        if note is None:
            return
        if note.source_topic_id == self.topic_id:
            self.rejected = note.rejected
            self.rejections.update(note.rejections)
        if None not in (note.table_topic_id, table_topic_id) and note.table_topic_id != table_topic_id:
            self.needs_resync_mark = True
        else:
            self.needs_table_offset = max(self.needs_table_offset, note.table_offset)
