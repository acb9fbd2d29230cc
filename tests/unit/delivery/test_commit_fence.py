"""Nothing is sent while it is not known that the partitions are this worker's."""

from __future__ import annotations

from hookstream.processors.delivery.worker.commit_fence import FENCED_AFTER_S, CommitFence


def closed(fence: CommitFence) -> bool:
    return fence.closed


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_it_closes_half_a_minute_after_the_last_success_and_a_success_opens_it() -> None:
    clock = Clock()
    fence = CommitFence(clock)
    clock.now_s += FENCED_AFTER_S
    assert not closed(fence)
    clock.now_s += 0.1
    assert closed(fence)
    assert not fence.take_answer("first", success=False)
    assert closed(fence)
    assert fence.take_answer("second", success=True)
    assert not closed(fence)


def test_where_nothing_is_owned_nothing_is_fenced() -> None:
    clock = Clock()
    fence = CommitFence(clock)
    clock.now_s += 3600
    fence.note_nothing_owned()
    assert not closed(fence)


def test_a_request_from_before_the_requirement_does_not_open_it() -> None:
    fence = CommitFence(Clock())
    fence.require_commit("before")
    assert not fence.take_answer("before", success=True)
    assert closed(fence)
    assert fence.take_answer("after", success=True)
    assert not closed(fence)


def test_a_success_while_it_is_open_opens_nothing() -> None:
    fence = CommitFence(Clock())
    assert not fence.take_answer("request", success=True)
