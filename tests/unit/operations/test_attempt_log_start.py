"""Where the attempt log begins to read a partition."""

from __future__ import annotations

from dataclasses import replace

from hookstream.processors.operations.attempt_log_start import Start, begin
from hookstream.subscriptions.attempt_log import LogProgress

STORED = LogProgress(partition=0, topic_id="one", next_offset=50, appended_at_ms=7, covers_from_ms=3)
NOW_MS = 1_000


def start(
    stored: LogProgress | None = STORED, *, committed: int | None = 50, low: int = 0, high: int = 80, topic: str = "one"
) -> Start:
    return begin(stored, topic_id=topic, committed=committed, bounds=(low, high), now_ms=NOW_MS)


def known(offset: int) -> Start:
    return Start(offset=offset, covers_from_ms=3, appended_at_ms=7)


def test_it_goes_on_where_the_database_is() -> None:
    assert start() == start(committed=None) == known(50)
    assert start(replace(STORED, next_offset=80), committed=80) == known(80), "read to its end"


def test_the_group_may_be_moved_back_and_never_past_what_was_not_written() -> None:
    assert start(committed=20) == known(20)
    assert start(committed=70) == known(50)
    assert start(committed=20, low=30) == known(30)


def test_an_empty_database_reads_all_there_is() -> None:
    assert start(None) == start(None, committed=None) == Start(offset=0, covers_from_ms=0)
    assert start(None, low=40) == Start(offset=40, covers_from_ms=None)
    assert start(None, low=80) == Start(offset=80, covers_from_ms=NOW_MS)


def test_what_retention_took_unread_is_counted_and_the_log_is_whole_from_the_next_record_on() -> None:
    assert start(low=60) == Start(offset=60, covers_from_ms=None, expired=10)
    assert start(low=80) == Start(offset=80, covers_from_ms=NOW_MS, expired=30)


def test_another_log_begins_anew() -> None:
    assert start(topic="two") == Start(offset=0, covers_from_ms=NOW_MS, anew=True)
    assert start(replace(STORED, next_offset=81)) == Start(offset=0, covers_from_ms=NOW_MS, anew=True)
