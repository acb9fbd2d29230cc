"""The stored state is read as it was written, by this release and by the next."""

from __future__ import annotations

import zlib
from contextlib import suppress
from dataclasses import replace

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
from hookstream.processors.delivery.checkpoints.state_codec import (
    CHUNK_BYTES,
    StateKey,
    chunks_of,
    decode_state,
    encode_state,
)
from hookstream.processors.delivery.engine.partition_state import (
    EMPTY_STATE,
    PartitionState,
    StoredClock,
    StoredCursor,
    StoredDisable,
    StoredHealth,
    StoredTold,
)
from hookstream.processors.errors import StoredFormatError
from tests.support.values import LONGEST_ID

STATE = PartitionState(
    cursors=(
        StoredCursor(223443, "9999", "property.updated", None, 1_000_000, (1_000_002, 1_000_300), 1_790_000_000_123),
        StoredCursor(223443, "9999", "property.updated", "property:888999", 5, (), 0),
        StoredCursor(7, "434", "lead.new", None, 0, (), 0),
    ),
    clocks=(StoredClock(7, "434", "lead.new", "lead:ä", 3, 5, 1_790_000_000_123, False, 1_790_000_000_000),),
    disables=(StoredDisable(8, "434", "user.new", 12, failing=True),),
    health=(
        StoredHealth("434", b"\x00\xff" * 4, True, False, 1, 2, 3, 4, 5, 6),
        StoredHealth("1", bytes(8), False, True, 0, 0, 0, 0, 0),
    ),
)

STATE_3 = replace(
    STATE,
    told=(
        StoredTold(8, "434", "user.new", bytes(8), 1_790_000_000_123, 2, 3, 4, 5),
        StoredTold(9, "ä", "lead.new", b"\xff" * 8, 0, 0, 0, 0, 5, 6, "0|17|msg_1", "msg_1", (("refused", 2),)),
    ),
)

# Never change these: topics out there have them. A new form is a new version. Deflating may differ between builds of
# zlib, so what is fixed is what is read, and what is written is read back.
GOLDEN_3 = {
    STATE_3: (
        "03780163162828ca2f482d2aa9d42b2d48492c494de1c8494d4cd1cb4b2de7282d4e2d0231982f5fe465b104020686032db6bf6f"
        "1c5cd463c2c4b48a092ecc0f33c3cac2c202a88e9581819dd9c4d88491010818214c7690b156879730b3420c6068009bc3c80152"
        "c8c4c3c804a219fe43202390cbc2cac6680832000498a014443584c3c000750a5029488493e9f012c6ff5000126065e332a83134"
        "afc92d4e8f376405938cec45a969407fa530010092e2458e"
    ),
}
GOLDEN_2 = {
    EMPTY_STATE: "027801636000020000050001",
    STATE: (
        "02780163162828ca2f482d2aa9d42b2d48492c494de1c8494d4cd1cb4b2de7282d4e2d0231982f5fe465b104020686032db6bf6f1c5c"
        "d463c2c4b48a092ecc0f33c3cac2c202a88e9581819dd9c4d88491010818214c7690b156879730b3420c6068009bc3c80152c8c4c3c8"
        "04a219fe43202390cbc2cac6680832000498201400cce62f25"
    ),
}
GOLDEN = {
    EMPTY_STATE: "017801636000020000050001",
    STATE: (
        "01780163162828ca2f482d2aa9d42b2d48492c494de1c8494d4cd1cb4b2de7282d4e2d0231982f5fe4edf7636038d062fbfb"
        "c6c1453d264c4cab982062fc30dd56161616969696ac0c0cec9b981919808011c460071966757809332b44274303d800468e"
        "4dcc4c3c8c4c9b9819fe4320232313330b2b1b58274837138860600000115e2f3a"
    ),
}

numbers = st.integers(0, 2**62)
texts = st.text(max_size=20)
names = st.tuples(numbers, texts, texts)
offsets = st.lists(st.integers(0, 2**40), max_size=40, unique=True).map(lambda found: tuple(sorted(found)))


def _cursor(name: tuple[int, str, str], resource: str | None, settled: tuple[int, ...], oldest: int) -> StoredCursor:
    return StoredCursor(*name, resource, settled[0] if settled else 3, settled, oldest)


states = st.builds(
    PartitionState,
    st.lists(
        st.builds(_cursor, names, st.none() | st.text(min_size=1, max_size=9), offsets, numbers), max_size=5
    ).map(tuple),
    st.lists(
        st.builds(
            lambda name, resource, a, r, d, s, f: StoredClock(name[0], name[1], name[2], resource, a, r, d, s, f),
            names, texts, numbers, numbers, numbers, st.booleans(), numbers,
        ),
        max_size=5,
    ).map(tuple),
    st.lists(
        st.builds(
            lambda name, r, f: StoredDisable(name[0], name[1], name[2], r, failing=f), names, numbers, st.booleans()
        ),
        max_size=5,
    ).map(tuple),
    st.lists(
        st.builds(
            StoredHealth, texts, st.binary(min_size=8, max_size=8), st.booleans(), st.booleans(),
            numbers, numbers, numbers, numbers, numbers, numbers,
        ),
        max_size=5,
    ).map(tuple),
    st.lists(
        st.builds(
            lambda name, digest, t, at, cause, delivery, reasons: StoredTold(
                name[0], name[1], name[2], digest, t[0], t[1], t[2], t[3], t[4], at, cause, delivery, tuple(reasons)
            ),
            names, st.binary(min_size=8, max_size=8), st.tuples(*[numbers] * 5), numbers, texts, texts,
            st.lists(st.tuples(texts, numbers), max_size=3),
        ),
        max_size=5,
    ).map(tuple),
)  # fmt: skip


@given(states)
def test_what_is_written_is_read(state: PartitionState) -> None:
    assert decode_state(encode_state(state)) == state


def test_version_1_has_clients_that_are_integers_alone() -> None:
    state = PartitionState(cursors=(StoredCursor(7, "acme", "lead.new", None, 0, (), 0),))
    assert decode_state(encode_state(state)) == state
    with pytest.raises(StoredFormatError, match="integers alone"):
        encode_state(state, version=1)


@pytest.mark.parametrize("state", GOLDEN)
def test_what_version_1_wrote_is_read_for_ever(state: PartitionState) -> None:
    assert decode_state(bytes.fromhex(GOLDEN[state])) == state
    assert encode_state(state, version=1)[0] == 1


@pytest.mark.parametrize("state", GOLDEN_2)
def test_what_version_2_wrote_is_read_for_ever(state: PartitionState) -> None:
    assert decode_state(bytes.fromhex(GOLDEN_2[state])) == state
    assert encode_state(state, version=2)[0] == 2


@pytest.mark.parametrize("state", GOLDEN_3)
def test_what_version_3_wrote_is_read_for_ever(state: PartitionState) -> None:
    assert decode_state(bytes.fromhex(GOLDEN_3[state])) == state
    assert encode_state(state)[0] == 3


def test_version_2_leaves_out_what_was_told() -> None:
    assert decode_state(encode_state(STATE_3, version=2)) == STATE


def test_ids_of_the_longest_text_come_back_and_many_of_them_fit_into_records_and_a_commit() -> None:
    others = [f"{LONGEST_ID[: -len(str(number))]}{number}" for number in range(300)]
    state = PartitionState(
        cursors=tuple(
            StoredCursor(n, other, "lead.new", f"lead:{other}", n, (n + 2,), n) for n, other in enumerate(others)
        ),
        clocks=tuple(
            StoredClock(n, LONGEST_ID, "lead.new", f"lead:{other}", 1, 1, n, False, n) for n, other in enumerate(others)
        ),
        disables=(StoredDisable(8, LONGEST_ID, "user.new", 12, failing=True),),
        health=(StoredHealth(LONGEST_ID, bytes(8), True, False, 1, 2, 3, 4, 5, 6),),
    )
    data = encode_state(state)
    assert decode_state(data) == state
    chunks = chunks_of(data, size=1024)
    assert decode_state(b"".join(chunks)) == state
    pointer = StatePointer(b"\xff" * 8, 10_000, 2**62, 2**62 + 10_000)
    log, table = log_digest("cluster", "topic"), table_digest("table")
    metadata = CommitMetadata(
        log_digest=log, table_digest=table, table_offset=2**62, settled=b"\xaa" * 1250, pointer=pointer
    )
    assert len(encode_metadata(metadata)) < 4095, "a commit points to the state, so no id stands in it"


def test_500_cursors_are_some_kilobytes() -> None:
    cursors = tuple(
        StoredCursor(n, str(n % 50), "lead.new", None, 10**9 + n * 17, (), 1_790_000_000_000 + n) for n in range(500)
    )

    assert len(encode_state(PartitionState(cursors))) < 8_000


def test_chunks_fit_into_a_record_and_make_the_state_again() -> None:
    data = bytes(range(256)) * 5000
    chunks = chunks_of(data)

    assert len(chunks) == 3
    assert max(map(len, chunks)) <= CHUNK_BYTES
    assert b"".join(chunks) == data


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "version none"),
        (b"\x04" + encode_state(STATE)[1:], "version 4"),
        (b"\x01", "damaged"),
        (encode_state(STATE)[:-9], "damaged"),
        (b"\x01not deflated", "damaged"),
        (b"\x02not deflated", "damaged"),
        (b"\x03not deflated", "damaged"),
    ],
)
def test_what_cannot_be_read_is_refused_by_type(data: bytes, says: str) -> None:
    with pytest.raises(StoredFormatError, match=says):
        decode_state(data)


@given(st.binary(max_size=300))
def test_damaged_bytes_never_raise_anything_else(body: bytes) -> None:
    with suppress(StoredFormatError):
        decode_state(b"\x01" + zlib.compress(body))
    with suppress(StoredFormatError):
        decode_state(b"\x02" + zlib.compress(body))
    with suppress(StoredFormatError):
        decode_state(b"\x03" + zlib.compress(body))


def test_a_version_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(StoredFormatError):
        encode_state(STATE, version=4)


def test_a_key_names_topic_partition_state_and_chunk() -> None:
    key = StateKey("eu.deliveries.replay", 11, bytes(range(8)), 3)

    assert key.encode() == b"eu.deliveries.replay|11|0001020304050607|3"
    assert StateKey.decode(key.encode()) == key


@pytest.mark.parametrize("key", [None, b"", b"deliveries|1|00|0", b"deliveries|x|0001020304050607|0", b"\xff|1|2|3"])
def test_a_foreign_key_is_no_states(key: bytes | None) -> None:
    assert StateKey.decode(key) is None
