"""A commit points to a state only when Kafka has it, and to one that covers what it passes."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hookstream.processors.delivery.checkpoints.commit_metadata import StatePointer
from hookstream.processors.delivery.checkpoints.commit_state import SendCommit, StreamCommits, StreamView, WriteState
from hookstream.processors.delivery.engine.partition_state import EMPTY_STATE, PartitionState, Snapshot, StoredCursor

A, B = StatePointer(b"a" * 8, 1, 0, 0), StatePointer(b"b" * 8, 1, 1, 1)


def pending(*hooks: int, oldest_ms: int = 0) -> PartitionState:
    return PartitionState(tuple(StoredCursor(hook, "1", "a", None, 0, (), oldest_ms) for hook in hooks))


class View:
    """What an engine would say."""

    def __init__(self, offset: int = 0, state: PartitionState = EMPTY_STATE) -> None:
        self.offset, self.state, self.snapshots = offset, state, 0

    def progress(self) -> tuple[int, bytes]:
        return self.offset, b""

    def cursors(self) -> list[tuple[int, str | None]]:
        return [(cursor.hook_id, cursor.resource) for cursor in self.state.cursors]

    def snapshot(self) -> Snapshot:
        self.snapshots += 1
        return Snapshot(self.offset, b"", self.state)


class Commits(StreamCommits):
    """Remembers what is under way, as the worker does."""

    step: WriteState | SendCommit | None = None

    def begin(
        self, view: StreamView, *, now: float, table_offset: int, final: bool = False
    ) -> WriteState | SendCommit | None:
        step = super().begin(view, now=now, table_offset=table_offset, final=final)
        self.step = step or self.step
        return step

    def written(self, pointer: StatePointer) -> SendCommit | None:
        assert isinstance(self.step, WriteState)
        self.step = self.state_written(self.step, pointer)
        return self.step

    def done(self) -> list[StatePointer]:
        assert isinstance(self.step, SendCommit)
        return self.committed(self.step)


def committed_with(state: PartitionState, *, now: float = 0.0) -> tuple[Commits, View]:
    """A stream whose last commit, at offset 1, points to A with this state."""
    commits, view = Commits(offset=0), View(1, state)
    assert commits.begin(view, now=now, table_offset=0) == WriteState(state)
    commits.written(A)
    commits.done()
    return commits, view


def test_a_healthy_stream_commits_without_a_state_and_not_twice() -> None:
    commits, view = Commits(offset=0), View(5)

    assert commits.begin(view, now=0.0, table_offset=9) == SendCommit(5, b"", None, 9)
    commits.done()
    assert commits.begin(view, now=0.1, table_offset=10) is None
    assert commits.begin(view, now=5.0, table_offset=10) is None


def test_a_stream_that_starts_where_it_was_committed_has_nothing_to_say_unless_told() -> None:
    commits, view = Commits(offset=5), View(5)

    assert commits.begin(view, now=0.0, table_offset=0) is None
    commits.forget_commit()
    assert commits.begin(view, now=0.1, table_offset=0) == SendCommit(5, b"", None, 0)


def test_the_commit_of_a_new_state_waits_until_kafka_has_it_and_says_what_the_snapshot_said() -> None:
    commits, view = Commits(offset=0), View(5, pending(7))

    assert commits.begin(view, now=0.0, table_offset=9) == WriteState(pending(7))
    view.offset = 6
    assert commits.begin(view, now=5.0, table_offset=10) is None
    assert commits.written(A) == SendCommit(5, b"", A, 9)
    assert commits.begin(view, now=5.0, table_offset=10) is None
    assert commits.done() == []
    assert commits.pointed == A


def test_within_a_second_progress_is_committed_with_the_older_state() -> None:
    commits, view = committed_with(pending(7))
    view.offset, view.state = 9, pending(7, oldest_ms=5)

    assert commits.begin(view, now=0.5, table_offset=0) == SendCommit(9, b"", A, 0)
    assert commits.held_back, "the state has to be looked at again, even if nothing more happens"
    commits.done()
    assert commits.begin(view, now=1.5, table_offset=0) == WriteState(pending(7, oldest_ms=5))


def test_a_cursor_that_the_older_state_has_not_keeps_the_commit_back() -> None:
    commits, view = committed_with(pending(7))
    view.offset, view.state = 9, pending(7, 8)

    assert commits.begin(view, now=0.5, table_offset=0) is None
    assert commits.held_back
    assert commits.begin(view, now=1.0, table_offset=0) == WriteState(pending(7, 8))


def test_the_first_cursor_of_a_healthy_stream_is_written_at_once_and_those_that_follow_within_the_second_are_not() -> (
    None
):
    commits, view = Commits(offset=0), View(1)
    assert commits.begin(view, now=0.0, table_offset=0)
    commits.done()
    view.offset, view.state = 9, pending(7)

    assert commits.begin(view, now=0.1, table_offset=0) == WriteState(pending(7))
    commits.written(A)
    commits.done()
    view.offset, view.state = 11, pending(7, 8)
    assert commits.begin(view, now=0.5, table_offset=0) is None
    assert commits.begin(view, now=1.0, table_offset=0) is None
    assert commits.held_back
    assert commits.begin(view, now=1.1, table_offset=0) == WriteState(pending(7, 8))


def test_an_unchanged_state_is_not_written_again() -> None:
    commits, view = committed_with(pending(7))
    view.offset = 9

    assert commits.begin(view, now=60.0, table_offset=0) == SendCommit(9, b"", A, 0)


def test_a_healed_stream_drops_its_state_and_gives_it_to_the_tombstones() -> None:
    commits, view = committed_with(pending(7))
    view.offset, view.state = 9, EMPTY_STATE

    assert commits.begin(view, now=2.0, table_offset=0) == SendCommit(9, b"", None, 0)
    assert commits.done() == [A]
    assert commits.pointed is None


def test_a_state_whose_commit_failed_is_deleted_only_after_a_later_commit() -> None:
    commits, view = committed_with(pending(7))
    view.state = pending(7, 8)
    assert commits.begin(view, now=2.0, table_offset=0) == WriteState(pending(7, 8))
    commits.written(B)
    commits.failed()

    assert commits.pointed == A
    assert commits.begin(view, now=2.5, table_offset=0) is None, "A has no cursor of hook 8"
    view.state = EMPTY_STATE
    assert commits.begin(view, now=3.5, table_offset=0) == SendCommit(1, b"", None, 0)
    assert set(commits.done()) == {A, B}


def test_a_commit_that_failed_is_said_again_though_nothing_changed() -> None:
    commits, view = Commits(offset=0), View(5)
    assert commits.begin(view, now=0.0, table_offset=0)
    commits.failed()

    assert commits.begin(view, now=0.1, table_offset=0) == SendCommit(5, b"", None, 0)


def test_after_a_commit_whose_answer_was_lost_none_points_to_the_state_before_it() -> None:
    """It may have arrived: going back, the next owner would not know what this state says was told."""
    commits, view = committed_with(pending(7))
    view.state = pending(7, oldest_ms=5)
    commits.begin(view, now=2.0, table_offset=0)
    assert commits.written(B)
    commits.failed()
    view.offset = 9
    assert commits.begin(view, now=2.5, table_offset=0) is None
    assert commits.held_back
    assert commits.begin(view, now=3.0, table_offset=0) == WriteState(pending(7, oldest_ms=5))
    c = StatePointer(b"c" * 8, 1, 2, 2)
    assert commits.written(c) == SendCommit(9, b"", c, 0)


def test_nor_does_one_when_the_state_that_follows_the_lost_answer_is_not_written() -> None:
    commits, view = committed_with(pending(7))
    view.state = pending(7, oldest_ms=5)
    commits.begin(view, now=2.0, table_offset=0)
    assert commits.written(B)
    commits.failed()
    assert commits.begin(view, now=3.0, table_offset=0) == WriteState(view.state)
    commits.failed()
    view.offset = 9
    assert commits.begin(view, now=3.5, table_offset=0) is None
    assert commits.begin(view, now=4.0, table_offset=0) == WriteState(view.state)


def test_after_a_lost_answer_the_state_before_it_is_taken_again_where_it_is_true_again() -> None:
    commits, view = committed_with(pending(7))
    view.state = EMPTY_STATE
    assert commits.begin(view, now=2.0, table_offset=0) == SendCommit(1, b"", None, 0)
    commits.failed()
    view.state = pending(7)
    assert commits.begin(view, now=2.5, table_offset=0) == SendCommit(1, b"", A, 0)
    assert view.snapshots == 3, "it was looked at, not assumed"


def test_giving_the_partition_away_takes_the_newest_state_along() -> None:
    commits, view = committed_with(pending(7))
    view.offset, view.state = 9, pending(7, oldest_ms=5)

    assert commits.begin(view, now=0.1, table_offset=0, final=True) == WriteState(pending(7, oldest_ms=5))


def test_looking_at_the_whole_engine_happens_once_a_second() -> None:
    commits, view = Commits(offset=0), View(0)
    for tick in range(100):
        view.offset += 1
        if commits.begin(view, now=tick / 10, table_offset=0):
            commits.done()

    assert view.snapshots <= 11


def test_an_answer_to_what_was_given_up_changes_nothing() -> None:
    commits, view = StreamCommits(offset=0), View(5, pending(7))
    older = commits.begin(view, now=0.0, table_offset=0)
    commits.failed()
    newer = commits.begin(view, now=0.1, table_offset=0, final=True)
    assert isinstance(older, WriteState)
    assert isinstance(newer, WriteState)

    assert commits.state_written(older, A) is None
    assert not commits.under_way(older)
    assert commits.under_way(newer)
    commit = commits.state_written(newer, B)
    assert commit == SendCommit(5, b"", B, 0)
    assert commits.committed(SendCommit(5, b"", A, 0)) == []
    assert commits.committed(commit) == [A], "no commit names the state of the first attempt"
    assert commits.pointed == B


class CommitMachine(RuleBasedStateMachine):
    """Whatever happens, what Kafka has never passes a cursor that its state has not."""

    def __init__(self) -> None:
        super().__init__()
        self.commits, self.view, self.now = Commits(offset=0), View(), 0.0
        self.written: dict[StatePointer, PartitionState] = {}
        self.kafka: tuple[int, StatePointer | None] = (0, None)
        self.opened_at: dict[int, int] = {}  # hook → offset from which it owes
        self.deleted: set[StatePointer] = set()

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.5, 1.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def settle(self) -> None:
        self.view.offset += 1

    @rule(hook=st.integers(1, 4))
    def open(self, hook: int) -> None:
        if hook not in self.opened_at:
            self.opened_at[hook] = self.view.offset
            self.view.offset += 1
            self.view.state = pending(*self.opened_at)

    @rule(hook=st.integers(1, 4))
    def close(self, hook: int) -> None:
        if self.opened_at.pop(hook, None) is not None:
            self.view.state = pending(*self.opened_at)

    @precondition(lambda self: self.commits.idle)
    @rule(final=st.booleans())
    def begin(self, final: bool) -> None:
        self.commits.begin(self.view, now=self.now, table_offset=0, final=final)

    @precondition(lambda self: isinstance(self.commits.step, WriteState))
    @rule()
    def write(self) -> None:
        assert isinstance(self.commits.step, WriteState)
        pointer = StatePointer(len(self.written).to_bytes(8, "big"), 1, 0, 0)
        self.written[pointer] = self.commits.step.state
        self.commits.written(pointer)

    @precondition(lambda self: isinstance(self.commits.step, SendCommit))
    @rule(arrives=st.booleans(), answered=st.booleans())
    def answer(self, arrives: bool, answered: bool) -> None:
        assert isinstance(self.commits.step, SendCommit)
        if arrives or answered:
            commit = self.commits.step
            self.kafka = (commit.offset, commit.pointer)
            owed = {c.hook_id for c in self.written[commit.pointer].cursors} if commit.pointer else set()
            passed = {hook for hook, offset in self.opened_at.items() if offset < commit.offset}
            # A cursor that opened after the snapshot lies above its offset.
            assert passed <= owed
        if answered:
            self.deleted |= set(self.commits.done())
        else:
            self.commits.failed()
        self.commits.step = None

    @invariant()
    def what_is_pointed_to_is_never_deleted(self) -> None:
        assert self.kafka[1] not in self.deleted


CommitMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestCommitMachine = CommitMachine.TestCase
