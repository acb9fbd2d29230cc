"""How the receiver of benchmarks counts what comes twice, what comes late, and what came before it counted."""

from __future__ import annotations

import json

from benchmarks.receiver import Receiver, report


def post(receiver: Receiver, sequence: int, *, resource: str = "1|7", target: str = "1") -> None:
    body = f'{{"k": "{resource}", "s": {sequence}, "t": 0}}'.encode()
    receiver.answer(f"POST /t/{target} HTTP/1.1\r\n".encode(), body)


def counted(receiver: Receiver) -> tuple[float, float, float, float]:
    found = report(list(receiver.tallies.values()))
    return found["received"], found["distinct"], found["duplicates"], found["out_of_order"]


def test_a_delivery_that_comes_again_is_a_duplicate() -> None:
    receiver = Receiver()
    for sequence in (1, 2, 2, 1):
        post(receiver, sequence)
    assert counted(receiver) == (4, 2, 2, 0)


def test_a_first_receipt_after_a_later_one_of_its_resource_is_disorder() -> None:
    receiver = Receiver()
    post(receiver, 2)
    post(receiver, 1, resource="1|8")
    post(receiver, 1, target="2")
    assert counted(receiver) == (3, 3, 0, 0)
    post(receiver, 1)
    assert counted(receiver) == (4, 4, 0, 1)


def test_the_count_is_what_the_statistics_say_of_the_same_targets() -> None:
    receiver = Receiver()
    for target in ("1", "2"):
        post(receiver, 1, target=target)
        post(receiver, 1, target=target)
    assert json.loads(receiver.control("/count")) == {"received": 4, "distinct": 2}
    assert json.loads(receiver.control("/count?only=2")) == {"received": 2, "distinct": 1}
    assert json.loads(receiver.control("/count?exclude=1,2")) == {"received": 0, "distinct": 0}


def test_after_a_reset_that_keeps_it_what_came_before_is_a_duplicate_and_no_delivery_more() -> None:
    receiver = Receiver()
    post(receiver, 1)
    for _ in range(2):
        receiver.control("/reset?keep=1")
        receiver.control("/reset?keep=1")
        assert counted(receiver) == (0, 0, 0, 0)
        post(receiver, 1)
        assert counted(receiver) == (1, 0, 1, 0)


def test_after_a_plain_reset_it_counts_anew() -> None:
    receiver = Receiver()
    post(receiver, 1)
    receiver.control("/reset?keep=1")
    receiver.control("/reset")
    post(receiver, 1)
    assert counted(receiver) == (1, 1, 0, 0)
