"""Where the reading of a partition of `attempts` begins, and since when its log is whole. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from hookstream.subscriptions.attempt_log import LogProgress


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a partition begins, and since when its log is whole: None where its first record will say so.

    `anew`: what was stored is about another log, one that was re-created or cut.
    """

    offset: int
    covers_from_ms: int | None
    appended_at_ms: int | None = None
    expired: int = 0
    anew: bool = False


def begin(
    stored: LogProgress | None, *, topic_id: str, committed: int | None, bounds: tuple[int, int], now_ms: int
) -> Start:
    """Decide where a partition begins: at the lower of the database's and the group's offset, if it still exists."""
    low, high = bounds
    behind_gap = None if low < high else now_ms
    if stored is None:
        return Start(offset=low, covers_from_ms=behind_gap if low else 0)
    if stored.topic_id != topic_id or stored.next_offset > high:
        return Start(offset=low, covers_from_ms=now_ms, anew=True)
    if stored.next_offset < low:
        return Start(offset=low, covers_from_ms=behind_gap, expired=low - stored.next_offset)
    wanted = stored.next_offset if committed is None else min(stored.next_offset, committed)
    return Start(offset=max(low, wanted), covers_from_ms=stored.covers_from_ms, appended_at_ms=stored.appended_at_ms)


class PartitionProgress:
    """How far this process has read a partition."""

    __slots__ = ("_appended_at_ms", "_covers_from_ms", "_next_offset")

    def __init__(self, start: Start) -> None:
        """Begin there."""
        self._next_offset = start.offset
        self._appended_at_ms = start.appended_at_ms
        self._covers_from_ms = start.covers_from_ms

    def take(self, offset: int, appended_at_ms: int) -> None:
        """Read one record; the first one behind a gap says since when the log is whole."""
        if self._covers_from_ms is None:
            self._covers_from_ms = appended_at_ms
        self._next_offset, self._appended_at_ms = offset + 1, appended_at_ms

    def stored(self, partition: int, topic_id: str) -> LogProgress:
        """As the database keeps it."""
        return LogProgress(
            partition=partition,
            topic_id=topic_id,
            next_offset=self._next_offset,
            appended_at_ms=self._appended_at_ms,
            covers_from_ms=self._covers_from_ms or 0,
        )
