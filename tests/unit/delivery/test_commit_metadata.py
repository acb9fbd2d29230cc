"""What a commit says fits its metadata, and is read for ever."""

from __future__ import annotations

import base64
import os
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookstream.processors.delivery.checkpoints import commit_metadata
from hookstream.processors.delivery.checkpoints.commit_metadata import (
    CommitMetadata,
    StatePointer,
    decode_metadata,
    encode_metadata,
    log_digest,
    table_digest,
)
from hookstream.processors.delivery.engine.tracker import OffsetTracker, SettledSet
from hookstream.processors.errors import StoredFormatError

LOG = log_digest("MkU3OEVBNTcwNTJENDM2Qg", "rYNGuvPxQ9a7KkqFbVkzyw")
TABLE = table_digest("AAAAAAAAAAAAAAAAAAAAAA")
POINTER = StatePointer(b"\x01\x02\x03\x04\x05\x06\x07\x08", 2, 1000, 1003)
HEALTHY = CommitMetadata(log_digest=LOG, table_digest=TABLE, table_offset=300)
WHOLE = CommitMetadata(log_digest=LOG, table_digest=TABLE, table_offset=300, settled=b"\xa0\x01", pointer=POINTER)

# What a broker takes by default (`offset.metadata.max.bytes`).
BROKER_TAKES = 4_095

# Never change these: groups out there have them. A new form is a new version.
GOLDEN = {
    HEALTHY: "1.nheY/30ymeWD6Y0OrAIAAA",
    WHOLE: "1.nheY/30ymeWD6Y0OrAICAQIDBAUGBwjoBwMAoAE",
}

settled_sets = st.binary(max_size=1250).filter(lambda bits: not bits or bits[-1])
pointers = st.none() | st.builds(
    lambda state_id, chunks, first, span: StatePointer(state_id, chunks, first, first + span),
    st.binary(min_size=8, max_size=8),
    st.integers(1, 200),
    st.integers(0, 2**62),
    st.integers(0, 10_000),
)


@given(settled_sets, pointers, st.integers(0, 2**62))
def test_what_is_written_is_read(settled: bytes, pointer: StatePointer | None, table_offset: int) -> None:
    metadata = CommitMetadata(
        log_digest=LOG, table_digest=TABLE, table_offset=table_offset, settled=settled, pointer=pointer
    )

    assert decode_metadata(encode_metadata(metadata)) == metadata


def test_a_window_of_10000_always_fits_whatever_is_settled_in_it() -> None:
    largest = StatePointer(b"\xff" * 8, 10_000, 2**62, 2**62 + 10_000)
    for settled in (os.urandom(1250), b"\xff" * 1250, b"\xaa" * 1250, bytes(1249) + b"\x01"):
        metadata = CommitMetadata(
            log_digest=LOG, table_digest=TABLE, table_offset=2**62, settled=settled, pointer=largest
        )
        assert len(encode_metadata(metadata)) < BROKER_TAKES // 2


@pytest.mark.parametrize("metadata", GOLDEN)
def test_the_bytes_of_version_1_never_change(metadata: CommitMetadata) -> None:
    assert encode_metadata(metadata, version=1) == GOLDEN[metadata]
    assert decode_metadata(GOLDEN[metadata]) == metadata


@pytest.mark.parametrize("nothing", [None, "", "\0"])
def test_no_metadata_is_none(nothing: str | None) -> None:
    assert decode_metadata(nothing) is None


def test_the_terminator_that_the_client_adds_is_no_part_of_it() -> None:
    assert decode_metadata(encode_metadata(WHOLE) + "\0") == WHOLE


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2.AAAA", "version 2, which this release does not read"),
        ('{"v": 1}', "not written by hookstream"),
        ("NONE", "not written by hookstream"),
        ("1.", "damaged"),
        ("1.AAAA", "damaged"),
        ("1.%%%%", "damaged"),
        (GOLDEN[HEALTHY][:-2] + "Ag", "damaged"),
    ],
)
def test_what_cannot_be_read_is_refused_by_type(text: str, says: str) -> None:
    with pytest.raises(StoredFormatError, match=says):
        decode_metadata(text)


@given(st.text(max_size=60))
def test_foreign_text_never_raises_anything_else(text: str) -> None:
    with suppress(StoredFormatError):
        decode_metadata(text)


@given(st.binary(max_size=200))
def test_foreign_bytes_never_raise_anything_else(payload: bytes) -> None:
    with suppress(StoredFormatError):
        decode_metadata("1." + base64.b64encode(payload).rstrip(b"=").decode())


def test_a_version_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(StoredFormatError):
        encode_metadata(HEALTHY, version=0)


def test_a_release_reads_and_writes_the_version_before_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    newer = dict(commit_metadata._CODECS)
    newer[2] = (lambda metadata: b"two" + newer[1][0](metadata), lambda payload: newer[1][1](payload[3:]))
    monkeypatch.setattr(commit_metadata, "_CODECS", newer)

    assert decode_metadata(encode_metadata(WHOLE, version=1)) == WHOLE
    assert decode_metadata(encode_metadata(WHOLE, version=2)) == WHOLE
    assert encode_metadata(WHOLE, version=1) != encode_metadata(WHOLE, version=2)


def test_digests_tell_clusters_and_topics_apart() -> None:
    digests = {log_digest(c, t) for c in ("a", "b", None) for t in ("x", "y", None)}

    assert len(digests) == 9
    assert table_digest("x") != table_digest("y")


def test_the_settled_set_of_a_tracker_survives() -> None:
    tracker = OffsetTracker(100)
    for offset in range(100, 400):
        tracker.read(offset, settled=offset % 3 == 0)
    base, settled = tracker.settled_above()
    found = decode_metadata(
        encode_metadata(CommitMetadata(log_digest=LOG, table_digest=TABLE, table_offset=0, settled=settled))
    )

    assert found is not None
    restored = SettledSet(base, found.settled)
    assert [o for o in range(100, 400) if o in restored] == [o for o in range(base, 400) if o % 3 == 0]
