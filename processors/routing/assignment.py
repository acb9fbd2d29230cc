"""One source partition that a router owns: how far it is read and acknowledged, what it waits for. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from hookstream.processors.tables.subscription_table import SubscriptionTable
from hookstream.schemas.event import Event

from .commit_note import CommitNote

NEVER_COMMITTED = -1


@dataclass(slots=True, eq=False, kw_only=True)
class SourcePartition:
    """State of one assignment of one partition; a later assignment of it is another object.

    next_offset >= done_offset >= committed_offset: read, acknowledged by the broker, told to the group.
    """

    topic: str
    partition: int
    topic_id: str | None
    decode: Callable[[bytes | None], Event]
    next_offset: int
    done_offset: int
    committed_offset: int = NEVER_COMMITTED
    committed_table_offset: int = NEVER_COMMITTED
    suspects: tuple[int, int] | None = None
    convicts: dict[int, int] = field(default_factory=dict)
    """Records that the broker refused, among others and alone: see `CommitNote`."""
    needs_table_offset: int = 0
    needs_resync_mark: bool = False
    """The subscriptions topic is not the one that the predecessor read."""
    paused: bool = False
    gone: bool = False
    """Revoked or lost: records of it that are still in hand are somebody else's."""

    def may_route(self, table: SubscriptionTable, table_topic_id: str | None) -> bool:
        """Whether the table is good enough to say that nobody wants an event."""
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
            suspects=self.suspects if self.suspects is not None and self.suspects[1] >= self.done_offset else None,
            convicts={offset: blamed for offset, blamed in self.convicts.items() if offset >= self.done_offset},
        )

    def blamed(self, offset: int) -> int:
        """How often the record was refused so far."""
        if offset in self.convicts:
            return self.convicts[offset]
        return 1 if self.suspects is not None and self.suspects[0] <= offset <= self.suspects[1] else 0

    def blame(self, offsets: Iterable[int]) -> None:
        """Count a refused request. Who was a suspect was sent alone, so it is to blame; the others are suspects now."""
        before = {offset: self.blamed(offset) for offset in offsets}
        self.convicts.update({offset: count + 1 for offset, count in before.items() if count})
        fresh = [offset for offset, count in before.items() if not count]
        if fresh and self.suspects is not None and self.suspects[1] >= self.done_offset:
            fresh += self.suspects
        if fresh:
            self.suspects = (min(fresh), max(fresh))

    def inherit(self, note: CommitNote | None, table_topic_id: str | None) -> None:
        """Take over what the predecessor noted about the table and about blamed records."""
        if note is None:
            return
        if note.source_topic_id == self.topic_id:
            self.suspects = note.suspects
            self.convicts.update(note.convicts)
        if None not in (note.table_topic_id, table_topic_id) and note.table_topic_id != table_topic_id:
            self.needs_resync_mark = True
        else:
            self.needs_table_offset = max(self.needs_table_offset, note.table_offset)
