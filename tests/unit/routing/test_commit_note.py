"""What a router leaves to its successor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookstream.processors.routing.commit_note import MAX_REJECTIONS, CommitNote

OFFSETS = st.integers(0, 2**63 - 1)
IDS = st.none() | st.text(alphabet="abcXYZ019-_", min_size=22, max_size=22)


@given(
    st.builds(
        CommitNote,
        table_topic_id=IDS,
        table_offset=OFFSETS,
        source_topic_id=IDS,
        rejected=st.none() | st.tuples(OFFSETS, OFFSETS),
        rejections=st.dictionaries(OFFSETS, st.integers(1, 9), max_size=MAX_REJECTIONS),
    )
)
def test_a_note_comes_back_and_fits_into_a_commit(note: CommitNote) -> None:
    assert CommitNote.decode(note.encode()) == note
    assert CommitNote.decode(note.encode() + "\0") == note
    assert len(note.encode()) < 4095


def test_of_too_many_rejections_the_lowest_are_kept() -> None:
    note = CommitNote(
        table_topic_id=None, table_offset=1, source_topic_id=None, rejections=dict.fromkeys(range(500), 2)
    )
    read = CommitNote.decode(note.encode())
    assert read is not None
    assert sorted(read.rejections) == list(range(MAX_REJECTIONS))


@pytest.mark.parametrize(
    "metadata",
    [None, "", "\0", "x", "[]", "3", "{}", '{"v":1}', '{"v":2,"o":1}', '{"v":1,"o":1,"x":7}', '{"v":1,"o":1,"r":[7]}'],
)
def test_what_is_no_note_reads_as_none(metadata: str | None) -> None:
    assert CommitNote.decode(metadata) is None
