"""Which records of one log of one partition are pending, by what the delivery workers have committed. Pure.

A commit says where every record of its log stands. One whose hook (or resource) has a cursor is pending from the
cursor's offset on, but for what the cursor has settled. Any other is pending from the committed offset on, but for the
settled set. So what was scanned once is judged again by each later commit, without being read a second time.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from hookstream.processors.delivery.engine.partition_state import EMPTY_STATE, PartitionState, StoredCursor
from hookstream.processors.delivery.engine.tracker import SettledSet
from hookstream.schemas.delivery import Delivery
from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import HookId

# A hand-over to live reading may move the committed offset back by a window.
SLACK_OFFSETS = 10_000


@dataclass(slots=True)
class HookCursors:
    """The cursors of one hook: of all of it, and of some of its resources, which are exceptions to the first."""

    whole: StoredCursor | None = None
    resources: dict[int, StoredCursor] = field(
        default_factory=dict
    )  # by number of the concept id: a hook has one namespace

    def owner(self, concept: int) -> StoredCursor | None:
        """The cursor from which a record of this resource is pending, if there is one."""
        return self.resources.get(concept, self.whole)

    @property
    def lowest(self) -> int:
        """The first offset from which any of them has pending records."""
        return min(cursor.next_offset for cursor in self.every())

    @property
    def key(self) -> tuple[str, str]:
        """Client and event of the hook."""
        for cursor in self.every():
            return cursor.client, cursor.event
        raise AssertionError  # it has one, or it is not made

    def every(self) -> Iterator[StoredCursor]:
        """All of them."""
        if self.whole is not None:
            yield self.whole
        yield from self.resources.values()


class CommitView:
    """What one commit says: lowest unsettled offset, settled set above it, and the cursors of its state."""

    __slots__ = ("by_hook", "keys", "offset", "settled", "state")

    def __init__(self, offset: int, settled: bytes = b"", state: PartitionState = EMPTY_STATE) -> None:
        """Read a commit; `settled` as `OffsetTracker.settled_above` wrote it."""
        self.offset = offset
        self.settled = SettledSet(offset, settled)
        self.state = state
        self.by_hook: dict[int, HookCursors] = {}
        for cursor in state.cursors:
            of_hook = self.by_hook.setdefault(cursor.hook_id, HookCursors())
            if cursor.resource is None:
                of_hook.whole = cursor
            else:
                of_hook.resources[_number(cursor.resource.partition(":")[2])] = cursor
        self.keys = frozenset(cursor.client.encode() for cursor in state.cursors)

    @property
    def lowest(self) -> int:
        """The first offset that may be pending."""
        return min((cursors.lowest for cursors in self.by_hook.values()), default=self.offset)

    def from_offset(self, hook_id: int) -> int:
        """The first offset that may be pending for a hook."""
        cursors = self.by_hook.get(hook_id)
        return self.offset if cursors is None else min(cursors.lowest, self.offset)

    def oldest_ms(self, hook_id: int) -> int | None:
        """Since when the first record behind a hook's cursors is pending, as far as they know."""
        cursors = self.by_hook.get(hook_id)
        known = [] if cursors is None else [each.oldest_ms for each in cursors.every() if each.oldest_ms]
        return min(known, default=None)

    def is_pending(self, hook_id: int, concept: int, offset: int) -> bool:
        """Whether a record is pending."""
        cursors = self.by_hook.get(hook_id)
        owner = None if cursors is None else cursors.owner(concept)
        if owner is not None:
            return offset >= owner.next_offset and not _holds(owner.settled, offset)
        return offset >= self.offset and offset not in self.settled


def _number(concept_id: str) -> int:
    """A resource in eight bytes; of a hook's resources two have the same number once in many thousand years."""
    return hash(concept_id)


def _holds(ascending: tuple[int, ...], offset: int) -> bool:
    at = bisect_left(ascending, offset)
    return at < len(ascending) and ascending[at] == offset


class HookRecords:
    """Records of one hook in the order of the log: 24 bytes each."""

    __slots__ = ("client", "complete_from", "concepts", "event", "offsets", "since")

    def __init__(self, client: ClientId, event: str, complete_from: int) -> None:
        """Hold nothing; all of the hook's records from `complete_from` on will be here."""
        self.client = client
        self.event = event
        self.complete_from = complete_from
        self.offsets = array("q")
        self.since = array("q")
        self.concepts = array("q")

    def append(self, offset: int, delivery: Delivery) -> None:
        """Add a record, which lies above those that are here."""
        self.offsets.append(offset)
        self.since.append(delivery.owed_since_ms)
        self.concepts.append(_number(delivery.concept_id))

    def drop_below(self, offset: int) -> int:
        """Forget records below an offset; give their number."""
        count = bisect_left(self.offsets, offset)
        if count:
            del self.offsets[:count], self.since[:count], self.concepts[:count]
        return count

    def pending(self, hook_id: int, view: CommitView, *, not_before_ms: int = 0) -> tuple[int, int | None]:
        """How many of these records are pending, and since when the first of them is."""
        cursors = view.by_hook.get(hook_id)
        if not_before_ms or (cursors is not None and cursors.resources):
            return self._one_by_one(hook_id, view, not_before_ms)
        offsets = self.offsets
        whole = None if cursors is None else cursors.whole
        if whole is None:
            start = bisect_left(offsets, view.offset)
            sure = max(start, bisect_left(offsets, view.settled.end))
            open_ = [at for at in range(start, sure) if offsets[at] not in view.settled]
            first = open_[0] if open_ else sure
            count = len(open_) + len(offsets) - sure
        else:
            start = bisect_left(offsets, whole.next_offset)
            settled = {at for offset in whole.settled if (at := _at(offsets, offset)) is not None and at >= start}
            count = len(offsets) - start - len(settled)
            first = next((at for at in range(start, len(offsets)) if at not in settled), start)
        return count, self.since[first] if count else None

    def _one_by_one(self, hook_id: int, view: CommitView, not_before_ms: int) -> tuple[int, int | None]:
        count, first_ms = 0, None
        for offset, since_ms, concept in zip(self.offsets, self.since, self.concepts, strict=True):
            if since_ms >= not_before_ms and view.is_pending(hook_id, concept, offset):
                count += 1
                first_ms = since_ms if first_ms is None else first_ms
        return count, first_ms


def _at(offsets: array[int], offset: int) -> int | None:
    at = bisect_left(offsets, offset)
    return at if at < len(offsets) and offsets[at] == offset else None


class LogRecords:
    """What was scanned of one log of one partition and may be pending: everything below `scanned_to`."""

    def __init__(self) -> None:
        """Nothing was scanned."""
        self.hooks: dict[HookId, HookRecords] = {}
        self.scanned_to: int | None = None
        self.size = 0
        self._all_from = 0  # every hook's records are here from there on

    def follow(self, view: CommitView, *, low: int) -> int:
        """Let go what a newer commit makes needless; give the offset where scanning has to go on.

        Everything is scanned again where something is missing that the commit says is pending.
        """
        start = max(low, min(view.lowest, view.offset))
        if self.scanned_to is None or self.scanned_to < start or self._misses(view, low):
            self.hooks.clear()
            self.size = 0
            self._all_from = max(low, view.offset)
            self.scanned_to = start
            self._expect(view, low)
            return start
        self._all_from = max(self._all_from, view.offset - SLACK_OFFSETS)
        if self.scanned_to < view.offset:  # what follows is scanned for the hooks that have cursors now
            self._all_from = max(self._all_from, view.offset)
        for hook_id, records in list(self.hooks.items()):
            has_cursors = hook_id in view.by_hook
            keep_from = min(self._all_from, view.from_offset(hook_id)) if has_cursors else self._all_from
            records.complete_from = max(records.complete_from, keep_from)
            self.size -= records.drop_below(max(keep_from, low))
            if not records.offsets and not has_cursors:
                del self.hooks[hook_id]
        self._expect(view, low)
        return self.scanned_to

    def _expect(self, view: CommitView, low: int) -> None:
        """Remember from where on a hook is kept because it has cursors, also while there is none of its records."""
        for hook_id, cursors in view.by_hook.items():
            if hook_id not in self.hooks:
                client, event = cursors.key
                self.hooks[HookId(hook_id)] = HookRecords(ClientId(client), event, max(cursors.lowest, low))

    def _misses(self, view: CommitView, low: int) -> bool:
        if self._scanned(max(view.offset, low), self._all_from):
            return True
        for hook_id, cursors in view.by_hook.items():
            records = self.hooks.get(HookId(hook_id))
            complete_from = self._all_from if records is None else min(records.complete_from, self._all_from)
            if self._scanned(max(cursors.lowest, low), complete_from):
                return True
        return False

    def _scanned(self, start: int, complete_from: int) -> bool:
        """Whether the scan has passed `start` while it did not keep what is asked for now."""
        return start < complete_from and start < (self.scanned_to or 0)

    def wants(self, key: bytes | None, offset: int, view: CommitView) -> bool:
        """Whether a record has to be decoded, by its key."""
        return offset >= view.offset or key in view.keys

    def take(self, offset: int, delivery: Delivery, view: CommitView) -> None:
        """Keep a decoded record, if it may be pending."""
        if offset < view.from_offset(delivery.hook_id):
            return
        records = self.hooks.get(delivery.hook_id)
        if records is None:
            complete_from = min(self._all_from, view.from_offset(delivery.hook_id))
            records = self.hooks[delivery.hook_id] = HookRecords(delivery.client, delivery.event, complete_from)
        records.append(offset, delivery)
        self.size += 1


@dataclass(frozen=True, slots=True)
class Sample:
    """Records from some stretches of the rest of a log that was not scanned: `read` of its `span` offsets."""

    hooks: Mapping[HookId, HookRecords]
    read: int
    span: int

    def estimate(self, hook_id: HookId, view: CommitView, *, not_before_ms: int = 0) -> int:
        """How many records of a hook are pending in the whole rest, if it is everywhere as in the stretches."""
        records = self.hooks.get(hook_id)
        if records is None or not self.read:
            return 0
        return round(records.pending(hook_id, view, not_before_ms=not_before_ms)[0] * self.span / self.read)


def sample_of(records: Iterable[tuple[int, Delivery]], view: CommitView, *, read: int, span: int) -> Sample:
    """Make a sample of the records that were read, in any order."""
    log = LogRecords()
    log.follow(view, low=0)
    for offset, delivery in _ascending(records):
        log.take(offset, delivery, view)
    return Sample(log.hooks, read, span)


def _ascending(records: Iterable[tuple[int, Delivery]]) -> Iterator[tuple[int, Delivery]]:
    last = -1
    for offset, delivery in sorted(records, key=lambda record: record[0]):
        if offset > last:
            last = offset
            yield offset, delivery
