"""Whatever stands still in one partition, what the others hold is read, and not too much waits: a state machine."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hookstream.processors.delivery.group import inbox
from tests.unit.delivery.test_group_member import LIVE, FakeConsumer, Record, owning

PARTITIONS = range(6)
MAX_RECORDS, MAX_BYTES = 100, 1_500
RECORD_BYTES = len(Record(LIVE, 0))
A_READ = 10
"""Records that one call of the consumer gives at most."""

some_partition = st.sampled_from(PARTITIONS)


class Log(FakeConsumer):
    """A consumer that gives records of the partitions that are not paused."""

    def __init__(self) -> None:
        super().__init__()
        self.left = dict.fromkeys(PARTITIONS, 0)

    def consume(self, count: int, _timeout_s: float) -> list[Any]:
        found: list[Any] = []
        for partition, left in self.left.items():
            given = 0 if (LIVE, partition) in self.paused else min(left, min(count, A_READ) - len(found))
            self.left[partition] -= given
            found += [Record(LIVE, partition)] * given
        return found


class Reading(RuleBasedStateMachine):
    """The poll thread reads, and the loop takes some of what does not stand still."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = pytest.MonkeyPatch()
        self.limits.setattr(inbox, "MAX_WAITING_RECORDS", MAX_RECORDS)
        self.limits.setattr(inbox, "MAX_WAITING_BYTES", MAX_BYTES)
        self.limits.setattr(inbox, "PAUSE_AFTER_S", 0.0)
        self.log = Log()
        self.owner, _, _ = owning(*PARTITIONS, consumer=self.log)
        self.still: set[int] = set()

    @initialize(still=st.sets(some_partition, max_size=len(PARTITIONS) - 1))
    def some_stand_still_from_the_start(self, still: set[int]) -> None:
        self.still = still
        for partition in still:
            self.log.left[partition] = 2 * MAX_RECORDS
        for _ in range(len(still) * 2 * MAX_RECORDS // A_READ):
            self.turn(0)

    @rule(partition=some_partition, count=st.integers(1, 4 * MAX_RECORDS))
    def records_come(self, partition: int, count: int) -> None:
        self.log.left[partition] += count

    @rule(partition=some_partition)
    def one_stands_still(self, partition: int) -> None:
        self.still.add(partition)

    @rule(partition=some_partition)
    def one_flows(self, partition: int) -> None:
        self.still.discard(partition)

    @rule(turns=st.integers(1, 40), at_most=st.integers(0, A_READ))
    def time_passes(self, turns: int, at_most: int) -> None:
        for _ in range(turns):
            self.turn(at_most)

    def turn(self, at_most: int) -> None:
        """One turn of each thread; the loop takes so many records of each partition."""
        self.owner.member.step()
        for partition in PARTITIONS:
            box = self.owner.inboxes[LIVE, partition]
            count = 0 if partition in self.still else min(at_most, len(box.messages))
            for _ in range(count):
                box.messages.popleft()
            box.taken += count
            box.taken_bytes += count * RECORD_BYTES

    @invariant()
    def not_too_much_waits(self) -> None:
        waiting = sum(len(box.messages) for box in self.owner.inboxes.values())
        assert waiting <= 2 * MAX_RECORDS + (len(PARTITIONS) + 1) * 2 * A_READ + MAX_RECORDS // 2

    def teardown(self) -> None:
        turns = 50 + sum(self.waiting(partition) for partition in PARTITIONS) // A_READ
        for _ in range(turns):
            self.turn(2 * A_READ)
        self.limits.undo()
        left = {partition: self.waiting(partition) for partition in PARTITIONS if partition not in self.still}
        assert left == dict.fromkeys(left, 0), "a partition that flows is not read to its end"

    def waiting(self, partition: int) -> int:
        return self.log.left[partition] + len(self.owner.inboxes[LIVE, partition].messages)


TestReading = Reading.TestCase
TestReading.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
