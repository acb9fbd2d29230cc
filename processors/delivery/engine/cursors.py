"""What is owed outside the window: a cursor holds any amount of backlog in the log itself, by its offset.

Rules (the executable model in `tests` proves them): a record below the main position is in exactly one place: settled;
unsettled in the window; owed by the cursor (hook, resource) if there is one; else owed by the cursor of the hook.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .retry_schedule import FRESH, LaneClock

if TYPE_CHECKING:
    from .lanes import Pending

_PRUNE_AT = 64


class Cursor:
    """Everything of one hook (or of one resource of it) from `next` on, but for what is settled above.

    `scan` is where catch-up reads on; what it has read and not settled is in `buffer`, by offset, ascending.
    `oldest_ms` says since when the first of it is owed, 0 while unknown. `suspect`: an operator skipped a delivery that
    may be the first; where the cursor waits, that one is looked at. `restored`: it, or the one that it was taken out
    of, came with the state of the last owner, whose commit calls settled what it owes.
    """

    __slots__ = (
        "_trim_at",
        "buffer",
        "oldest_ms",
        "resource",
        "restored",
        "scan",
        "settled",
        "suspect",
        "unserved_since",
    )

    def __init__(self, scan: int, settled: set[int], resource: str | None, *, oldest_ms: int = 0) -> None:
        """Owe everything from `scan` on, but for `settled`."""
        self.scan = scan
        self.settled = settled
        self.resource = resource
        self.buffer: dict[int, Pending] = {}
        self.oldest_ms = oldest_ms
        self.suspect = False
        self.restored = False
        self.unserved_since = 0.0
        self._trim_at = _PRUNE_AT

    @property
    def next(self) -> int:
        """The lowest offset it may owe."""
        for offset in self.buffer:
            return offset
        return self.scan

    def rewind(self) -> list[Pending]:
        """Forget what was read ahead, so that it takes no memory while it waits; return what was buffered."""
        forgotten = list(self.buffer.values())
        self.scan = self.next
        self.buffer.clear()
        return forgotten

    def settle(self, offset: int) -> None:
        """Note that a record it owed is settled."""
        self.settled.add(offset)
        if len(self.settled) >= self._trim_at:
            self.trim()
            self._trim_at = max(_PRUNE_AT, 2 * len(self.settled))

    def trim(self) -> None:
        """Forget settled offsets that lie below everything owed."""
        if self.settled:
            lowest = self.next
            self.settled = {offset for offset in self.settled if offset >= lowest}


class Backlog:
    """What one stream holds of one hook: its records in the window, its cursors, its lane clocks.

    `settled` are (offset, resource) of records that were settled above something the hook still has to deliver: a
    cursor that opens below them must not deliver them again.
    """

    __slots__ = ("_prune_at", "clocks", "cursor", "exceptions", "settled", "window")

    def __init__(self) -> None:
        """Hold nothing."""
        self.window: dict[int, Pending] = {}
        self.settled: list[tuple[int, str]] = []
        self.cursor: Cursor | None = None
        self.exceptions: dict[str, Cursor] = {}  # resource cursors
        self.clocks: dict[str, LaneClock] = {}
        self._prune_at = _PRUNE_AT

    def owner(self, resource: str) -> Cursor | None:
        """The cursor that owes a record of this resource, if one does."""
        return self.exceptions.get(resource) or self.cursor

    def clock(self, resource: str) -> LaneClock:
        """The clock of a resource, a fresh one if nothing failed."""
        return self.clocks.get(resource, FRESH)

    def cursors(self) -> list[Cursor]:
        """All cursors of this hook in this stream."""
        found = list(self.exceptions.values())
        if self.cursor is not None:
            found.append(self.cursor)
        return found

    def unsettled(self, resource: str | None = None) -> list[Pending]:
        """What the window holds of this hook (and resource), by offset."""
        return sorted(p for p in self.window.values() if resource is None or p.resource == resource)

    def remember(self, offset: int, resource: str, *, lowest: int) -> None:
        """Keep in mind that a record is settled; below `lowest` no cursor can open."""
        if not (self.window or self.cursor or self.exceptions):
            if self.settled:
                self.settled.clear()
            return
        self.settled.append((offset, resource))
        if len(self.settled) >= self._prune_at:
            floor = min(
                min(self.window, default=offset), max(lowest, min((c.next for c in self.cursors()), default=offset))
            )
            self.settled = [entry for entry in self.settled if entry[0] >= floor]
            self._prune_at = max(_PRUNE_AT, 2 * len(self.settled))

    @property
    def empty(self) -> bool:
        """Whether nothing has to be remembered."""
        return not (self.window or self.cursor or self.exceptions or self.clocks)
