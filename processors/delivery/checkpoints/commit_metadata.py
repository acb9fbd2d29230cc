"""What a commit says beside its offset: one line of text that Kafka keeps with the offset, atomically. Pure.

A broker takes 4,095 characters. The largest part is the settled set: 10,000 offsets are 1,250 bytes, 1,667 characters
of base64, whatever the bits, so a commit of ours always fits.

Version 1 is `1.` and base64 without padding of:
    8 bytes   digest of the cluster's and the topic's id, so that a foreign commit is not taken for ours
    4 bytes   digest of the subscriptions topic's id
    varint    offset up to which the subscriptions table had been read
    varint    chunks of the state, 0 for none; then 8 bytes of its id, and varints: first offset, offsets spanned
    1 byte    0: the rest is the settled set (see `OffsetTracker.settled_above`); 1: it is, deflated

A release reads the version before its own and can write it (`version`), so that a rollback finds what it understands.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from hookstream.processors.errors import StoredFormatError
from hookstream.schemas.bounded import long_of

from .varints import VarintReader, append_varint

VERSION = 1
STATE_ID_BYTES = 8

_LOG_BYTES = 8
_TABLE_BYTES = 4
_PLAIN, _DEFLATED = 0, 1
# A shorter set does not get shorter by deflating.
_DEFLATE_FROM_BYTES = 48


@dataclass(frozen=True, slots=True)
class StatePointer:
    """Where in `delivery-state` a state is: its chunks lie between two offsets, among other records."""

    id: bytes
    chunks: int
    first_offset: int
    last_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitMetadata:
    """What is committed beside the offset; `settled` begins at it."""

    log_digest: bytes
    table_digest: bytes
    table_offset: int
    settled: bytes = b""
    pointer: StatePointer | None = None


def log_digest(cluster_id: str | None, topic_id: str | None) -> bytes:
    """Eight bytes that identify this topic of this cluster; the embedded mock has no ids."""
    return _digest(f"{cluster_id or ''}|{topic_id or ''}", _LOG_BYTES)


def table_digest(topic_id: str | None) -> bytes:
    """Four bytes that identify a subscriptions topic, and not one made later under its name."""
    return _digest(topic_id or "", _TABLE_BYTES)


def encode_metadata(metadata: CommitMetadata, *, version: int = VERSION) -> str:
    """Write the line of text.

    Raises:
        StoredFormatError: no such version can be written.
    """
    codec = _CODECS.get(version)
    if codec is None:
        raise StoredFormatError(f"this release cannot write commits of version {version}")
    payload = base64.b64encode(codec[0](metadata)).rstrip(b"=").decode()
    return f"{version}.{payload}"


def decode_metadata(text: str | None) -> CommitMetadata | None:
    """Read the line of text; None where there is none (the offset was set by hand, or by another program).

    Raises:
        StoredFormatError: of a version that this release does not read, or not written by hookstream at all.
    """
    line = (text or "").rstrip("\0")  # librdkafka counts the terminator
    if not line:
        return None
    version, _, payload = line.partition(".")
    number = long_of(version)
    if number is None:
        raise StoredFormatError("its metadata was not written by hookstream")
    codec = _CODECS.get(number)
    if codec is None:
        raise StoredFormatError(f"its metadata has version {number}, which this release does not read")
    try:
        return codec[1](base64.b64decode(payload + "=" * (-len(payload) % 4), validate=True))
    except (binascii.Error, zlib.error, ValueError) as exc:
        raise StoredFormatError("its metadata is damaged") from exc


def _digest(text: str, size: int) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=size).digest()


def _write_v1(metadata: CommitMetadata) -> bytes:
    out = bytearray(metadata.log_digest)
    out += metadata.table_digest
    append_varint(out, metadata.table_offset)
    pointer = metadata.pointer
    append_varint(out, 0 if pointer is None else pointer.chunks)
    if pointer is not None:
        out += pointer.id
        append_varint(out, pointer.first_offset)
        append_varint(out, pointer.last_offset - pointer.first_offset)
    settled = metadata.settled
    deflated = _deflate(settled) if len(settled) >= _DEFLATE_FROM_BYTES else settled
    if len(deflated) < len(settled):
        out.append(_DEFLATED)
        out += deflated
    else:
        out.append(_PLAIN)
        out += settled
    return bytes(out)


def _read_v1(payload: bytes) -> CommitMetadata:
    reader = VarintReader(payload)
    log, table = reader.take(_LOG_BYTES), reader.take(_TABLE_BYTES)
    table_offset, chunks = reader.varint(), reader.varint()
    pointer = None
    if chunks:
        state_id, first = reader.take(STATE_ID_BYTES), reader.varint()
        pointer = StatePointer(state_id, chunks, first, first + reader.varint())
    form = reader.take(1)[0]
    settled = reader.rest()
    if form == _DEFLATED:
        settled = zlib.decompress(settled, wbits=-15)
    elif form != _PLAIN:
        raise ValueError(f"unknown form {form} of a settled set")
    return CommitMetadata(
        log_digest=log, table_digest=table, table_offset=table_offset, settled=settled, pointer=pointer
    )


def _deflate(data: bytes) -> bytes:
    deflater = zlib.compressobj(level=1, wbits=-15)
    return deflater.compress(data) + deflater.flush()


_CODECS: dict[int, tuple[Callable[[CommitMetadata], bytes], Callable[[bytes], CommitMetadata]]] = {
    1: (_write_v1, _read_v1),
}
