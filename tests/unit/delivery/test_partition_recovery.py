"""Keeping what is owed never begins above it, whatever was done to the group; forgetting never goes back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookstream.processors.delivery.checkpoints.commit_metadata import (
    CommitMetadata,
    StatePointer,
    encode_metadata,
    log_digest,
    table_digest,
)
from hookstream.processors.delivery.checkpoints.partition_recovery import (
    Evidence,
    FoundState,
    PendingDeliveries,
    Recovery,
    plan_recovery,
)
from hookstream.processors.delivery.checkpoints.partition_start import FoundCommit, LogIdentity
from hookstream.processors.delivery.checkpoints.state_codec import StateKey
from hookstream.processors.delivery.engine.partition_state import PartitionState, StoredCursor
from hookstream.processors.delivery.engine.policy import LONGEST_WINDOW

IDENTITY = LogIdentity(log_digest("cluster", "topic"), table_digest("table"))
POINTER = StatePointer(b"12345678", 1, 0, 0)
LOW, HIGH = 1_000, 50_000


def metadata(**changes: Any) -> CommitMetadata:
    fields: dict[str, Any] = {
        "log_digest": IDENTITY.log_digest,
        "table_digest": IDENTITY.table_digest,
        "table_offset": 7,
        "pointer": POINTER,
    }
    return CommitMetadata(**{**fields, **changes})


def state_of(*next_offsets: int, name: bytes = b"12345678") -> FoundState:
    cursors = tuple(StoredCursor(n, "1", "lead.new", None, offset, (), 0) for n, offset in enumerate(next_offsets, 1))
    return FoundState((StateKey("deliveries", 0, name, 0),), PartitionState(cursors=cursors))


def plan(
    offset: int | None, text: str | None, *states: FoundState, owed: PendingDeliveries = PendingDeliveries.KEEP
) -> Recovery:
    made = plan_recovery(
        Evidence(
            found=FoundCommit("deliveries", 0, offset, text),
            watermarks=(LOW, HIGH),
            identity=IDENTITY,
            states=states,
            refused="it was refused",
        ),
        owed,
    )
    assert made is not None
    return made


def test_what_a_worker_starts_is_left_alone() -> None:
    evidence = Evidence(
        found=FoundCommit("deliveries", 0, 5, ""), watermarks=(0, 9), identity=IDENTITY, states=(), refused=None
    )
    assert plan_recovery(evidence, PendingDeliveries.KEEP) is plan_recovery(evidence, PendingDeliveries.FORGET) is None


@given(
    commit=st.integers(LOW, HIGH),
    ahead=st.integers(0, LONGEST_WINDOW),
    cursors=st.lists(st.integers(LOW, HIGH), min_size=1, max_size=4),
    stale=st.lists(st.lists(st.integers(LOW, HIGH), max_size=3), max_size=2),
    reset=st.integers(0, HIGH),
    text=st.sampled_from(["", "9.AAAA", "of another program", "1.!!!"]),
)
def test_an_offset_that_an_operator_set_hides_nothing_that_is_owed(
    *, commit: int, ahead: int, cursors: list[int], stale: list[list[int]], reset: int, text: str
) -> None:
    position = min(commit + ahead, HIGH)
    true = [min(cursor, position) for cursor in cursors]
    others = [
        state_of(*(min(n, position) for n in numbers), name=b"stale%03d" % at) for at, numbers in enumerate(stale)
    ]
    made = plan(reset, text, *others, state_of(*true))
    assert LOW <= made.offset <= min([*true, max(commit, LOW), max(reset, LOW)])
    assert made.metadata.pointer is None
    assert made.metadata.settled == b""
    assert len(made.drop) == 1 + len(stale)


@pytest.mark.parametrize(
    ("offset", "text"),
    [
        (None, None),
        (2_000, encode_metadata(metadata(log_digest=b"elsewher"))),
        (HIGH + 1, encode_metadata(metadata(pointer=None))),
        (HIGH + 1, ""),
        (2_000, encode_metadata(metadata())),
    ],
    ids=["no offset", "another log", "beyond the end", "beyond the end by hand", "its state is gone"],
)
def test_where_what_is_owed_is_unknown_everything_is(offset: int | None, text: str | None) -> None:
    assert plan(offset, text, state_of(30_000)).offset == LOW


def test_a_state_that_cannot_be_read_may_owe_anything() -> None:
    unreadable = FoundState((StateKey("deliveries", 0, b"87654321", 0),), None)
    made = plan(40_000, "", state_of(30_000), unreadable)
    assert made.offset == LOW
    assert len(made.drop) == 2


def test_a_state_without_cursors_owes_nothing() -> None:
    assert plan(40_000, "", state_of()).offset == 40_000


def test_forgetting_goes_on_where_the_group_was_or_at_the_end() -> None:
    def forget(offset: int | None, text: str | None) -> Recovery:
        return plan(offset, text, state_of(30_000), owed=PendingDeliveries.FORGET)

    here = encode_metadata(metadata(settled=b"\x40"))
    kept = forget(40_000, here)
    assert (kept.offset, kept.metadata.settled, kept.metadata.pointer, kept.again) == (40_000, b"\x40", None, 0)
    assert forget(40_000, "").metadata.settled == b""
    assert forget(40_000, "9.AAAA").offset == 40_000
    assert forget(10, here).offset == LOW
    assert forget(10, here).metadata.settled == b"", "it began at another offset"
    for offset, text in ((None, None), (HIGH + 1, here), (2_000, encode_metadata(metadata(log_digest=b"elsewher")))):
        assert forget(offset, text).offset == HIGH


def test_which_table_the_predecessor_had_read_is_kept() -> None:
    other = encode_metadata(metadata(table_digest=b"othr"))
    for owed in PendingDeliveries:
        assert plan(2_000, other, owed=owed).metadata.table_digest == b"othr"
        assert plan(2_000, other, owed=owed).metadata.table_offset == 7
        unknown = plan(2_000, "9.AAAA", owed=owed).metadata
        assert (unknown.table_digest, unknown.table_offset) == (IDENTITY.table_digest, 0)
