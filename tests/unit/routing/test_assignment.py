"""When a partition may be routed, and what its successor is told."""

from __future__ import annotations

from dataclasses import replace

from hookstream.processors.routing.assignment import SourcePartition
from hookstream.processors.routing.commit_note import CommitNote
from hookstream.processors.tables.subscription_table import SubscriptionTable
from hookstream.schemas.hook import RESYNC_MARK_KEY, ResyncMark
from hookstream.schemas.sources.readers import TopicEvents
from hookstream.schemas.sources.record import Refused, SourceRecord

HERE, BEFORE = "topic-id-here", "topic-id-before"


def refuse(_record: SourceRecord) -> Refused:
    raise NotImplementedError


def source(needs: int = 0) -> SourcePartition:
    return SourcePartition(
        topic="events.lead",
        partition=0,
        topic_id="source-id",
        events=TopicEvents(refuse, foreign=False),
        next_offset=100,
        done_offset=100,
        needs_table_offset=needs,
    )


def table_at(offset: int) -> SubscriptionTable:
    table = SubscriptionTable()
    table.advance(offset)
    return table


def note(table_topic_id: str | None = HERE, table_offset: int = 0, source_topic_id: str = "source-id") -> CommitNote:
    return CommitNote(
        table_topic_id=table_topic_id,
        table_offset=table_offset,
        source_topic_id=source_topic_id,
        rejected=(100, 120),
        rejections={100: 2, 205: 3},
    )


def test_the_table_has_to_reach_the_end_asked_for_at_assignment() -> None:
    part = source(needs=5)
    assert not part.may_route(table_at(4), HERE)
    assert part.may_route(table_at(5), HERE)


def test_the_table_has_to_reach_where_the_predecessor_had_read_it() -> None:
    part = source(needs=5)
    part.inherit(note(table_offset=9), HERE)
    assert not part.may_route(table_at(8), HERE)
    assert part.may_route(table_at(9), HERE)


def test_a_predecessor_that_was_behind_lowers_nothing() -> None:
    part = source(needs=5)
    part.inherit(note(table_offset=2), HERE)
    assert not part.may_route(table_at(4), HERE)


def test_a_re_created_table_is_refused_until_its_own_resync_mark() -> None:
    part, table = source(needs=1), table_at(10)
    part.inherit(note(table_topic_id=BEFORE, table_offset=9999), HERE)
    assert not part.may_route(table, HERE)
    table.apply(10, RESYNC_MARK_KEY, ResyncMark(topic_id=BEFORE, written_at_ms=1))
    assert not part.may_route(table, HERE)
    table.apply(11, RESYNC_MARK_KEY, ResyncMark(topic_id=HERE, written_at_ms=1))
    assert part.may_route(table, HERE)


def test_without_ids_tables_are_compared_by_offset() -> None:
    part = source()
    part.inherit(note(table_topic_id=None, table_offset=3), None)
    assert not part.may_route(table_at(2), None)
    assert part.may_route(table_at(3), None)


def test_a_row_that_cannot_be_read_stops_routing() -> None:
    part, table = source(), table_at(5)
    table.apply_unreadable(5, b"1|lead.new")
    assert not part.may_route(table, HERE)


def test_rejected_records_are_inherited_from_the_same_topic_only() -> None:
    part = source()
    part.inherit(note(source_topic_id="another"), HERE)
    assert (part.rejected, part.rejections) == (None, {})
    part.inherit(note(), HERE)
    assert [part.rejections_of(offset) for offset in (99, 100, 101, 120, 121, 205)] == [0, 2, 1, 1, 0, 3]


def test_rejected_records_below_the_commit_are_forgotten() -> None:
    part = source()
    part.inherit(note(), HERE)
    part.done_offset = 101
    kept = CommitNote(
        table_topic_id=HERE, table_offset=7, source_topic_id="source-id", rejected=(100, 120), rejections={205: 3}
    )
    assert part.note(table_at(7), HERE) == kept
    part.done_offset = 121
    assert part.note(table_at(7), HERE) == replace(kept, rejected=None)


def test_a_rejected_request_rejects_all_of_it_and_a_record_that_is_rejected_alone_is_the_cause() -> None:
    part = source()
    part.note_rejections([110, 104, 107])
    assert [part.rejections_of(offset) for offset in (103, 104, 105, 107, 110, 111)] == [0, 1, 1, 1, 1, 0]
    part.alone = 107
    part.note_rejections([107])
    assert [part.rejections_of(offset) for offset in (104, 107)] == [1, 2]
    part.note_rejections([107])
    assert part.rejections_of(107) == 3
    part.note_rejections([130])
    assert part.rejected == (104, 130)
    part.done_offset = 140
    part.note_rejections([150])
    assert part.rejected == (150, 150)


def test_a_request_of_the_time_before_the_partition_came_back_shows_no_cause() -> None:
    """The owner of the meantime has noted its own; of the two requests each had the record at fault."""
    part = source()
    part.inherit(replace(note(), rejected=(103, 105), rejections={}), HERE)
    part.note_rejections([103, 104, 105, 106])
    assert [part.rejections_of(offset) for offset in (103, 104, 105, 106)] == [1, 1, 1, 1]
