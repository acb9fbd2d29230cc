"""The attempt log's tables, on SQLite and on PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hookstream.schemas.attempt import Attempt, AttemptGap, AttemptResult
from hookstream.schemas.delivery import DeliveryId
from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import HookId
from hookstream.subscriptions.attempt_gaps import ClientGap, add_gaps, delete_gaps, list_gaps
from hookstream.subscriptions.attempt_log import (
    AttemptQuery,
    LoggedAttempt,
    LogProgress,
    PagePosition,
    delete_attempts,
    list_attempts,
    log_progress,
    were_delivered,
    write_attempts,
)
from hookstream.subscriptions.database import Sessions, open_database, open_sessions, reading, transact
from hookstream.subscriptions.migrations import migrate
from tests.support.values import ATTEMPT, LONGEST_ID

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HOOK = ATTEMPT.hook_id
PROGRESS = LogProgress(partition=0, topic_id="one", next_offset=10, appended_at_ms=5_000, covers_from_ms=1_000)


@pytest.fixture
def sessions(any_database_url: str) -> Iterator[Sessions]:
    migrate(any_database_url)
    engine = open_database(any_database_url)
    yield open_sessions(engine)
    engine.dispose()


def logged(**changes: object) -> LoggedAttempt:
    """Make an attempt that was logged when it began."""
    attempt: Attempt = replace(ATTEMPT, **changes)  # type: ignore[arg-type]  # fields of the test's choice
    return LoggedAttempt(attempt, attempt.started_at_ms)


def write(sessions: Sessions, *attempts: LoggedAttempt, progress: Sequence[LogProgress] = ()) -> None:
    """Write them as the role does."""
    transact(sessions, lambda session: write_attempts(session, attempts, progress))


def found(sessions: Sessions, **query: object) -> list[LoggedAttempt]:
    """List attempts."""
    with reading(sessions) as session:
        return list_attempts(session, AttemptQuery(**query))  # type: ignore[arg-type]  # fields of the test's choice


def test_an_attempt_comes_back_as_it_was(sessions: Sessions) -> None:
    """Every field of an attempt is kept, with its answer byte for byte."""
    whole = logged(answer=bytes(range(256)) * 78, replay="job-1", status=None, result=AttemptResult.TIMEOUT)
    write(sessions, whole, logged())
    assert {(each.attempt.number, each.attempt.replay): each.attempt for each in found(sessions, hook_id=HOOK)} == {
        (2, "job-1"): whole.attempt,
        (2, None): ATTEMPT,
    }


def test_an_attempt_of_the_longest_ids_is_kept_and_found(sessions: Sessions) -> None:
    """Ids of 255 characters, of four bytes each, fit into every column and every index."""
    longest = logged(client=ClientId(LONGEST_ID), concept_id=LONGEST_ID)
    write(sessions, longest, logged())
    assert [each.attempt for each in found(sessions, client=ClientId(LONGEST_ID))] == [longest.attempt]


def test_an_attempt_is_written_once(sessions: Sessions) -> None:
    """Reading the log again, in whatever batches, adds no row; attempts that differ in time or number are others."""
    attempts = [logged(), logged(number=3), logged(started_at_ms=1), logged(offset=7), logged(replay="job-1")]
    write(sessions, *attempts)
    write(sessions, attempts[1], attempts[0], attempts[1])
    write(sessions, *attempts, logged(number=4))
    assert len(found(sessions, delivery_id=ATTEMPT.delivery_id)) == 6


def test_progress_is_written_with_the_rows_or_not_at_all(sessions: Sessions) -> None:
    """A transaction that fails leaves neither rows nor progress."""

    def fail(session: object) -> None:
        write_attempts(session, [logged()], [PROGRESS])  # type: ignore[arg-type]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        transact(sessions, fail)
    with reading(sessions) as session:
        assert log_progress(session) == {}
    assert found(sessions, hook_id=HOOK) == []
    write(sessions, logged(), progress=[PROGRESS])
    with reading(sessions) as session:
        assert log_progress(session) == {0: PROGRESS}


def test_progress_goes_on_and_never_back(sessions: Sessions) -> None:
    """A writer that comes late moves nothing back; another topic's offsets begin anew, and the gap is said."""
    write(sessions, progress=[PROGRESS, replace(PROGRESS, partition=1)])
    further = replace(PROGRESS, next_offset=20, appended_at_ms=9_000)
    write(sessions, progress=[further])
    write(sessions, progress=[PROGRESS])
    anew = LogProgress(partition=1, topic_id="two", next_offset=0, appended_at_ms=None, covers_from_ms=7_000)
    write(sessions, progress=[anew])
    with reading(sessions) as session:
        assert log_progress(session) == {0: further, 1: anew}


def test_attempts_are_paged_from_the_newest(sessions: Sessions) -> None:
    """Pages follow each other without gap or repetition, also among attempts of one millisecond."""
    write(sessions, *(logged(number=number, started_at_ms=1_000 + number // 4) for number in range(20)))
    write(sessions, logged(hook_id=HookId(1), number=77))
    seen: list[LoggedAttempt] = []
    after = None
    while page := found(sessions, hook_id=HOOK, after=after, limit=3):
        seen += page
        after = PagePosition(page[-1].attempt.started_at_ms, page[-1].row_id)
    assert [each.attempt.number for each in seen] == list(range(19, -1, -1))


def test_attempts_are_filtered(sessions: Sessions) -> None:
    """By result, by whether they failed, and by the time of their start, both ends as said."""
    results = [AttemptResult.DELIVERED, AttemptResult.TIMEOUT, AttemptResult.GONE, AttemptResult.DELIVERED]
    write(sessions, *(logged(result=result, started_at_ms=number) for number, result in enumerate(results)))

    def times(**query: object) -> list[int]:
        return [each.attempt.started_at_ms for each in found(sessions, hook_id=HOOK, **query)]

    assert times(result=AttemptResult.DELIVERED) == [3, 0]
    assert times(result=AttemptResult.GONE) == [2]
    assert times(failed=True) == [2, 1]
    assert times(failed=True, result=AttemptResult.DELIVERED) == []
    assert times(from_ms=1, to_ms=3) == [2, 1]


def test_a_delivery_is_delivered_once_one_attempt_was(sessions: Sessions) -> None:
    """Deliveries without any attempt are not named."""
    one, two, three = (DeliveryId(f"msg_{number}") for number in range(3))
    write(
        sessions,
        logged(delivery_id=one, number=1),
        logged(delivery_id=one, number=2, result=AttemptResult.DELIVERED),
        logged(delivery_id=one, number=3),
        logged(delivery_id=two),
    )
    with reading(sessions) as session:
        assert were_delivered(session, [one, two, three]) == {one: True, two: False}


def test_what_is_old_is_deleted_in_batches(sessions: Sessions) -> None:
    """Only what was logged before the limit goes, a batch at a time, and progress says from when on all is there."""
    write(sessions, *(logged(number=number, started_at_ms=number) for number in range(10)), progress=[PROGRESS])

    def delete(before_ms: int) -> int:
        return transact(sessions, lambda session: delete_attempts(session, before_ms=before_ms, limit=4))

    assert delete(0) == 0
    with reading(sessions) as session:
        assert log_progress(session)[0].covers_from_ms == 1_000
    assert [delete(6), delete(6), delete(6)] == [4, 2, 0]
    assert [each.attempt.number for each in found(sessions, hook_id=HOOK)] == [9, 8, 7, 6]
    delete(1_500)
    further = replace(PROGRESS, next_offset=20)  # its reader began before anything was deleted
    write(sessions, progress=[further])
    with reading(sessions) as session:
        assert log_progress(session) == {0: replace(further, covers_from_ms=1_500)}


def test_what_is_missing_is_summed_up_by_client_and_forgotten_when_it_is_old(sessions: Sessions) -> None:
    """Gaps of a client add up; a client is forgotten when its last gap is older than the attempts that are kept."""

    def gap(client: int, attempts: int, at_ms: int) -> AttemptGap:
        return AttemptGap(client=ClientId(str(client)), attempts=attempts, at_ms=at_ms)

    transact(sessions, lambda session: add_gaps(session, [gap(2, 5, 30), gap(1, 10, 20), gap(2, 1, 10)]))
    transact(sessions, lambda session: add_gaps(session, [gap(1, 1, 40)]))
    with reading(sessions) as session:
        assert list_gaps(session, None, limit=10) == [
            ClientGap(client=ClientId("1"), attempts=11, first_at_ms=20, last_at_ms=40),
            ClientGap(client=ClientId("2"), attempts=6, first_at_ms=10, last_at_ms=30),
        ]
        assert [found.client for found in list_gaps(session, None, limit=1)] == ["1"]
        assert [found.client for found in list_gaps(session, ClientId("2"), limit=10)] == ["2"]
    transact(sessions, lambda session: delete_gaps(session, before_ms=40))
    with reading(sessions) as session:
        assert [found.client for found in list_gaps(session, None, limit=10)] == ["1"]
