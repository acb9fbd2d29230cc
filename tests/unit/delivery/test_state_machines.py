"""The engine's bookkeeping against models that are too simple to be wrong: sets of offsets, and sorted lists."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hookstream.processors.delivery.engine.model import (
    LIVE,
    REPLAY,
    Backlog,
    Client,
    Cursor,
    Endpoint,
    Lane,
    Pending,
    Post,
    StreamIndex,
    TrackedHook,
)
from hookstream.processors.delivery.engine.policy import EnginePolicy
from hookstream.processors.delivery.engine.tracker import OffsetTracker, SettledSet
from tests.support.values import DELIVERY

QUICK = settings(max_examples=15, stateful_step_count=40, deadline=None, derandomize=True)

HELD_BY = TrackedHook(1, ("1", "lead.new"), (Backlog(), Backlog()))


class TrackerMachine(RuleBasedStateMachine):
    """What was read and is not settled is a set; what a commit says of it is read back by the next tracker."""

    @initialize(start=st.integers(0, 300))
    def begin(self, start: int) -> None:
        self.tracker = OffsetTracker(start)
        self.restored = SettledSet(start)
        self.position = start
        self.unsettled: set[int] = set()
        self.settled: set[int] = set()
        self.held: set[int] = set()  # what the restored commit called settled, not re-read yet

    @rule(gap=st.integers(0, 3), settled=st.booleans())
    def read(self, gap: int, settled: bool) -> None:
        offset = self.position + gap
        settled = settled or offset in self.held
        self.settled |= set(range(self.position, offset))
        self.tracker.read(offset, settled=settled)
        (self.settled if settled else self.unsettled).add(offset)
        self.position = offset + 1
        self.held = {held for held in self.held if held >= self.position}

    @rule(by=st.integers(0, 5))
    def skip(self, by: int) -> None:
        self.settled |= set(range(self.position, self.position + by))
        self.position += by
        self.tracker.skip_to(self.position)
        self.held = {held for held in self.held if held >= self.position}

    @precondition(lambda self: self.unsettled)
    @rule(data=st.data())
    def settle(self, data: Any) -> None:
        offset = data.draw(st.sampled_from(sorted(self.unsettled)))
        self.tracker.settle(offset)
        self.unsettled.discard(offset)
        self.settled.add(offset)

    @precondition(lambda self: self.settled)
    @rule(data=st.data())
    def unsettle(self, data: Any) -> None:
        offset = data.draw(st.sampled_from(sorted(self.settled)))
        self.tracker.unsettle(offset)
        self.settled.discard(offset)
        self.unsettled.add(offset)

    @rule()
    def restart(self) -> None:
        """The next owner begins at the base, with the bitmap that the commit carried, and reads it again."""
        base, bitmap = self.tracker.settled_above(self.restored)
        self.restored = SettledSet(base, bitmap)
        self.tracker = OffsetTracker(base)
        self.held = {offset for offset in self.settled | self.held if offset >= base}
        self.settled, self.unsettled, self.position = set(), set(), base

    @invariant()
    def the_base_is_the_lowest_unsettled_offset(self) -> None:
        assert self.tracker.base == min(self.unsettled, default=self.position)

    @invariant()
    def a_commit_says_what_is_settled_and_nothing_else(self) -> None:
        base, bitmap = self.tracker.settled_above(self.restored)
        assert base == min(self.unsettled, default=self.position)
        found = SettledSet(base, bitmap)
        above = {offset for offset in self.settled | self.held if offset >= base}
        assert {offset for offset in range(base, found.end) if offset in found} == above
        assert found.end == max(above, default=base - 1) + 1


class CursorMachine(RuleBasedStateMachine):
    """All from a cursor's start on is pending but for what is settled, whatever is read ahead and forgotten again."""

    @initialize(start=st.integers(0, 20), settled=st.sets(st.integers(0, 60)))
    def begin(self, start: int, settled: set[int]) -> None:
        self.start = start
        self.done = {offset for offset in settled if offset >= start}
        self.cursor = Cursor(start, set(self.done), None)

    @rule(length=st.integers(1, 15), room=st.integers(0, 8))
    def scan(self, length: int, room: int) -> None:
        """Read a stretch; the cursor stops where its buffer is full."""
        cursor, end = self.cursor, self.cursor.scan + length
        for offset in range(cursor.scan, end):
            if offset in cursor.settled:
                continue
            if len(cursor.buffer) >= room:
                end = offset
                break
            cursor.buffer[offset] = Pending(LIVE, offset, DELIVERY, HELD_BY, 1, 0.0)
        cursor.scan = end
        cursor.trim()

    @rule(ahead=st.integers(0, 30))
    def settle(self, ahead: int) -> None:
        """An answer: of what is buffered, or of a request that was made before the buffer was forgotten."""
        offset = self.cursor.next + ahead
        if offset < self.cursor.scan and offset not in self.cursor.buffer:
            return
        self.cursor.buffer.pop(offset, None)
        self.cursor.settle(offset)
        self.done.add(offset)

    @rule()
    def rewind(self) -> None:
        self.cursor.rewind()
        assert not self.cursor.buffer

    @rule()
    def store_and_restore(self) -> None:
        self.cursor.trim()
        self.cursor = Cursor(self.cursor.next, set(self.cursor.settled), None)

    @invariant()
    def it_owes_exactly_what_is_not_settled(self) -> None:
        cursor, highest = self.cursor, max(self.done, default=0) + 70
        pending = [o for o in range(cursor.next, highest) if o not in cursor.settled]
        pending = [o for o in pending if o in cursor.buffer or o >= cursor.scan]
        assert pending == [o for o in range(self.start, highest) if o not in self.done]


class NoDispatcher:
    """An engine that is not asked for anything."""

    def take(self, endpoint: Endpoint, stream: StreamIndex) -> Post | None:
        raise AssertionError(endpoint, stream)

    def abandon(self, post: Post) -> None:
        raise AssertionError(post)


class LaneMachine(RuleBasedStateMachine):
    """The head of a lane is the lowest offset of its window, and of its buffers, in whatever order they come and go."""

    @initialize()
    def begin(self) -> None:
        endpoint = Endpoint(NoDispatcher(), "1", "https://one.example/", Client(), EnginePolicy(), lambda: 0.5)
        self.lane = Lane(endpoint, DELIVERY.resource)
        self.hook = HELD_BY
        self.held: dict[tuple[bool, StreamIndex], dict[int, Pending]] = {
            (window, stream): {} for window in (True, False) for stream in (LIVE, REPLAY)
        }

    @rule(window=st.booleans(), stream=st.sampled_from((LIVE, REPLAY)), offset=st.integers(0, 50))
    def add(self, window: bool, stream: StreamIndex, offset: int) -> None:
        if any(offset in self.held[each, stream] for each in (True, False)):
            return
        pending = Pending(stream, offset, DELIVERY, self.hook, 1, 0.0)
        pending.in_window = window
        (self.lane.add_to_window if window else self.lane.add_to_buffer)(pending)
        self.held[window, stream][offset] = pending

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data())
    def remove(self, data: Any) -> None:
        place = data.draw(st.sampled_from([key for key, found in self.held.items() if found]))
        offset = data.draw(st.sampled_from(sorted(self.held[place])))
        self.lane.remove(self.held[place].pop(offset))

    @invariant()
    def each_queue_is_what_was_added_in_order(self) -> None:
        for (window, stream), found in self.held.items():
            queue = (self.lane.windows if window else self.lane.buffers)[stream]
            assert [pending.offset for pending in queue] == sorted(found)
        assert self.lane.empty is not any(self.held.values())


TestTracker = TrackerMachine.TestCase
TestTracker.settings = QUICK
TestCursor = CursorMachine.TestCase
TestCursor.settings = QUICK
TestLane = LaneMachine.TestCase
TestLane.settings = QUICK
