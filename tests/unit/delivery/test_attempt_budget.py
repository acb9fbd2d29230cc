"""What clients may hold in the attempt log's queue: as much as is free; the largest goes first."""

from __future__ import annotations

from collections import Counter

import pytest

from hookstream.processors.delivery.attempts.budget import RECORD_BYTES, SHORT_ANSWER_BYTES, AttemptBudget
from hookstream.processors.delivery.attempts.bytes import MAX_ANSWER_BYTES

CAPACITY = 8_000_000
ENVELOPE = 150
NOISY, QUIET = "1", "2"


class Queue:
    """A producer of which the broker takes nothing until the test says so."""

    def __init__(self) -> None:
        self.budget = AttemptBudget(CAPACITY)
        self.handed_over = self.queued = self.held = 0
        self.kept: Counter[tuple[str, int | None]] = Counter()

    def add(self, client: str, answer: int) -> int | None:
        """Add one record, as the attempt log does; what was kept of its answer."""
        kept = self.budget.answer_bytes(client, answer)
        self.kept[client, kept] += 1
        if kept is not None:
            self.budget.take(client, ENVELOPE + kept)
            self.handed_over += 1
            self.queued += 1
            self.held += ENVELOPE + kept + RECORD_BYTES
        self.budget.settle(self.handed_over, self.queued)
        return kept

    def sent(self, records: int) -> None:
        """The broker has taken so many."""
        self.queued -= records
        self.budget.settle(self.handed_over, self.queued)


def test_a_client_whose_answers_are_large_leaves_room_for_every_record_of_another() -> None:
    queue = Queue()
    for number in range(30_000):
        queue.add(NOISY, 20_000)
        if number % 10 == 0:
            assert queue.add(QUIET, 20) is not None
    assert queue.kept[QUIET, 20] > 300, "answers, too, until it holds much itself"
    assert queue.held <= CAPACITY


def test_the_largest_goes_first_whole_answers_then_their_beginnings_then_records() -> None:
    queue = Queue()
    kept = [queue.add(NOISY, 20_000) for _ in range(20_000)]
    assert sorted(kept, key=lambda each: -1 if each is None else each, reverse=True) == kept
    assert set(kept) == {MAX_ANSWER_BYTES, SHORT_ANSWER_BYTES, 0, None}


@pytest.mark.parametrize("clients", [1, 10, 60, 200])
def test_however_many_take_all_they_get_there_is_room_for_one_more(clients: int) -> None:
    queue = Queue()
    for _ in range(60_000 // clients):
        for client in range(clients):
            queue.add(str(100 + client), 20_000)
    assert queue.held <= CAPACITY
    assert queue.add(QUIET, 20) == 20


def test_one_client_alone_may_fill_a_third_with_records() -> None:
    queue = Queue()
    for _ in range(20_000):
        queue.add(NOISY, 0)
    assert CAPACITY * 0.32 <= queue.held <= CAPACITY * 0.34


def test_what_the_broker_has_taken_is_free_again() -> None:
    queue = Queue()
    while queue.add(NOISY, 20_000) is not None:
        pass
    queue.sent(queue.queued)
    assert queue.add(NOISY, 20_000) == 20_000


def test_what_it_has_taken_of_others_does_not_free_a_client_that_it_has_not() -> None:
    queue = Queue()
    for _ in range(400):
        queue.add(QUIET, 20)
    while queue.add(NOISY, 20_000) is not None:
        pass
    queue.sent(400)
    assert queue.add(NOISY, 20_000) in (0, None)
