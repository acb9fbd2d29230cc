"""What the worker asks of one stream of a partition: positions, what is pending, and what a commit says."""

from __future__ import annotations

from .ledger import Ledger
from .partition_state import Snapshot
from .snapshot import stored
from .stream import Stream


class EngineView:
    """One stream of an engine; every call answers for the present turn and changes nothing."""

    __slots__ = ("_ledger", "_stream")

    def __init__(self, ledger: Ledger, stream: Stream) -> None:
        """Look at a stream."""
        self._ledger = ledger
        self._stream = stream

    @property
    def position(self) -> int:
        """The next offset that the live reading reads."""
        return self._stream.position

    def progress(self) -> tuple[int, bytes]:
        """The lowest unsettled offset, and the settled set above it."""
        return self._stream.settled_above()

    def snapshot(self) -> Snapshot:
        """What a commit says of the stream: offset, settled set and state of one turn (rule R10).

        Disables and health are the live stream's; clocks and cursors are each stream's own.
        """
        offset, settled = self._stream.settled_above()
        return Snapshot(offset, settled, stored(self._ledger, self._stream))

    def cursors(self) -> list[tuple[int, str | None]]:
        """Every backlog cursor: its hook, and its resource where it holds only one."""
        return [(hook.id, cursor.resource) for hook, cursor in self._stream.open_cursors()]

    def settled_before(self, offset: int) -> bool:
        """Whether the commit that the engine started from calls an offset settled."""
        return offset in self._stream.restored_settled

    @property
    def window_size(self) -> int:
        """How many unsettled records the window holds."""
        return len(self._stream.unsettled)

    @property
    def window_span(self) -> int:
        """How many offsets the window spans; at most `window_records`."""
        return self._stream.span

    @property
    def oldest_read_at(self) -> float | None:
        """When the lowest unsettled record was read, in monotonic seconds; None if there is none."""
        oldest = self._stream.oldest
        return None if oldest is None else oldest.read_at

    @property
    def oldest_pending_ms(self) -> int | None:
        """Since when (Unix milliseconds) the oldest delivery is pending, None if none is known."""
        return self._stream.oldest_pending_ms()
