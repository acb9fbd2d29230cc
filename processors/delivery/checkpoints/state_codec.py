"""The state of a partition as bytes, and as the records of `delivery-state` that hold it. Pure.

Version 3 is a byte 3 and, deflated: the event names that occur, then cursors, clocks, disables, health and what was
told, each a count and its rows; integers are varints, offsets above a cursor's own are differences. 500 cursors take
some 5 KiB. Version 2 does not have what was told; in version 1, moreover, clients are integers.

A state is written once under an id of its own and never changed: key `<topic>|<partition>|<id in hex>|<chunk>`. So two
owners of one partition, or a commit that failed, can never make a commit point to what it did not mean.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias, TypeVar

from hookstream.processors.delivery.engine.partition_state import (
    PartitionState,
    StoredClock,
    StoredCursor,
    StoredDisable,
    StoredHealth,
    StoredTold,
)
from hookstream.processors.errors import StoredFormatError
from hookstream.schemas.bounded import long_of
from hookstream.schemas.ids import integer_of

from .commit_metadata import STATE_ID_BYTES
from .varints import VarintReader, append_text, append_varint

VERSION = 3
CHUNK_BYTES = 512 * 1024  # the topic takes records of 1 MiB

_DIGEST_BYTES = 8
_BREAKER_OPEN, _FROM_BACKLOG = 1, 2
_Row = TypeVar("_Row")
AppendClient: TypeAlias = Callable[[bytearray, str], None]
_HookRow: TypeAlias = StoredCursor | StoredClock | StoredDisable | StoredTold


class StateKey(NamedTuple):
    """The key of one chunk."""

    topic: str
    partition: int
    state_id: bytes
    chunk: int

    def encode(self) -> bytes:
        """The record's key."""
        return f"{self.topic}|{self.partition}|{self.state_id.hex()}|{self.chunk}".encode()

    @classmethod
    def decode(cls, key: bytes | None) -> StateKey | None:
        """Read a record's key; None where it is not one of ours."""
        try:
            topic, partition, state_id, chunk = (key or b"").decode().rsplit("|", 3)
            found = cls(topic, _number(partition), bytes.fromhex(state_id), _number(chunk))
        except ValueError:
            return None
        return found if len(found.state_id) == STATE_ID_BYTES else None


def _number(text: str) -> int:
    """A partition or a chunk: Kafka counts both in 32 bits."""
    number = long_of(text, at_most=2**31 - 1)
    if number is None:
        raise ValueError
    return number


def chunks_of(data: bytes, *, size: int = CHUNK_BYTES) -> list[bytes]:
    """Cut an encoded state into what fits into a record each."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def encode_state(state: PartitionState, *, version: int = VERSION) -> bytes:
    """Write a state.

    Raises:
        StoredFormatError: no such version can be written.
    """
    codec = _CODECS.get(version)
    if codec is None:
        raise StoredFormatError(f"this release cannot write states of version {version}")
    return bytes([version]) + codec[0](state)


def decode_state(data: bytes) -> PartitionState:
    """Read a state.

    Raises:
        StoredFormatError: of a version that this release does not read, or damaged.
    """
    codec = _CODECS.get(data[0]) if data else None
    if codec is None:
        version = data[0] if data else "none"
        raise StoredFormatError(f"its state has version {version}, which this release does not read")
    try:
        return codec[1](data[1:])
    except (zlib.error, ValueError, IndexError) as exc:
        raise StoredFormatError("its state is damaged") from exc


# --- versions 1 to 3 -------------------------------------------------------------------------------------------------


def _write(state: PartitionState, append_client: AppendClient, *, told: bool = False) -> bytes:
    out = bytearray()
    rows: tuple[_HookRow, ...] = (*state.cursors, *state.clocks, *state.disables, *(state.told if told else ()))
    events = {event: index for index, event in enumerate(dict.fromkeys(row.event for row in rows))}
    append_varint(out, len(events))
    for event in events:
        append_text(out, event)
    append_varint(out, len(state.cursors))
    for cursor in state.cursors:
        _append_hook(out, cursor, events, append_client)
        append_text(out, "" if cursor.resource is None else cursor.resource)
        append_varint(out, cursor.next_offset)
        append_varint(out, cursor.oldest_ms)
        _append_offsets(out, cursor.next_offset, cursor.settled)
    append_varint(out, len(state.clocks))
    for clock in state.clocks:
        _append_hook(out, clock, events, append_client)
        append_text(out, clock.resource)
        _append_all(
            out, (clock.attempts, clock.requests, clock.due_ms, clock.schedule_exhausted, clock.first_failed_ms)
        )
    append_varint(out, len(state.disables))
    for disable in state.disables:
        _append_hook(out, disable, events, append_client)
        _append_all(out, (disable.revision, disable.failing))
    append_varint(out, len(state.health))
    for health in state.health:
        append_client(out, health.client)
        out += health.target_digest
        flags = _BREAKER_OPEN * health.breaker_open | _FROM_BACKLOG * health.from_backlog
        times = (
            health.retry_after_until_ms,
            health.failing_since_ms,
            health.busy_streak,
            health.probe_at_ms,
            health.probes,
        )
        _append_all(out, (flags, *times, health.retried_at_ms))
    if told:
        _append_told(out, state, events, append_client)
    return zlib.compress(bytes(out), level=1)


def _append_told(out: bytearray, state: PartitionState, events: Mapping[str, int], append_client: AppendClient) -> None:
    append_varint(out, len(state.told))
    for told in state.told:
        _append_hook(out, told, events, append_client)
        out += told.target_digest
        _append_all(
            out,
            (told.quarantined_ms, told.told_ms, told.ended_ms, told.expiring_told_ms, told.dead_told_ms),
        )
        append_varint(out, told.dead_at_ms)
        append_text(out, told.dead_cause)
        append_text(out, told.dead_delivery_id)
        append_varint(out, len(told.dead_reasons))
        for reason, count in told.dead_reasons:
            append_text(out, reason)
            append_varint(out, count)


def _read(data: bytes, read_client: Callable[[VarintReader], str], *, told: bool = False) -> PartitionState:
    reader = VarintReader(zlib.decompress(data))
    events = tuple(reader.text() for _ in range(reader.varint()))

    def cursor() -> StoredCursor:
        hook_id, client, event, resource = reader.varint(), read_client(reader), events[reader.varint()], reader.text()
        next_offset, oldest_ms = reader.varint(), reader.varint()
        settled = _read_offsets(reader, next_offset)
        return StoredCursor(hook_id, client, event, resource or None, next_offset, settled, oldest_ms)

    def clock() -> StoredClock:
        hook_id, client, event, resource = reader.varint(), read_client(reader), events[reader.varint()], reader.text()
        attempts, requests, due_ms = reader.varint(), reader.varint(), reader.varint()
        exhausted, first_failed_ms = bool(reader.varint()), reader.varint()
        return StoredClock(hook_id, client, event, resource, attempts, requests, due_ms, exhausted, first_failed_ms)

    def disable() -> StoredDisable:
        hook_id, client, event = reader.varint(), read_client(reader), events[reader.varint()]
        return StoredDisable(hook_id, client, event, revision=reader.varint(), failing=bool(reader.varint()))

    def health() -> StoredHealth:
        client, digest, flags = read_client(reader), reader.take(_DIGEST_BYTES), reader.varint()
        quiet, failing, streak, probe, probes, retried = (reader.varint() for _ in range(6))
        breaker_open, from_backlog = bool(flags & _BREAKER_OPEN), bool(flags & _FROM_BACKLOG)
        return StoredHealth(client, digest, breaker_open, from_backlog, quiet, failing, streak, probe, probes, retried)

    def told_row() -> StoredTold:
        hook_id, client, event = reader.varint(), read_client(reader), events[reader.varint()]
        digest = reader.take(_DIGEST_BYTES)
        quarantined, of, ended, expiring, dead_told = (reader.varint() for _ in range(5))
        at_ms, cause, delivery_id = reader.varint(), reader.text(), reader.text()
        reasons = tuple((reader.text(), reader.varint()) for _ in range(reader.varint()))
        times = (quarantined, of, ended, expiring, dead_told)
        return StoredTold(hook_id, client, event, digest, *times, at_ms, cause, delivery_id, reasons)

    rows = _rows(reader, cursor), _rows(reader, clock), _rows(reader, disable), _rows(reader, health)
    state = PartitionState(*rows, _rows(reader, told_row) if told else ())
    if not reader.at_end:
        raise ValueError("bytes after the end")
    return state


def _rows(reader: VarintReader, read: Callable[[], _Row]) -> tuple[_Row, ...]:
    return tuple(read() for _ in range(reader.varint()))


def _append_hook(out: bytearray, row: _HookRow, events: Mapping[str, int], append_client: AppendClient) -> None:
    append_varint(out, row.hook_id)
    append_client(out, row.client)
    append_varint(out, events[row.event])


def _append_all(out: bytearray, values: Iterable[int]) -> None:
    for value in values:
        append_varint(out, value)


def _append_offsets(out: bytearray, first: int, offsets: Sequence[int]) -> None:
    """Ascending offsets from `first` on, as differences."""
    append_varint(out, len(offsets))
    for offset in offsets:
        append_varint(out, offset - first)
        first = offset


def _read_offsets(reader: VarintReader, first: int) -> tuple[int, ...]:
    offsets = []
    for _ in range(reader.varint()):
        first += reader.varint()
        offsets.append(first)
    return tuple(offsets)


def _append_integer(out: bytearray, client: str) -> None:
    number = integer_of(client)
    if number is None:
        raise StoredFormatError("states of version 1 have clients that are integers alone")
    append_varint(out, number)


_CODECS: dict[int, tuple[Callable[[PartitionState], bytes], Callable[[bytes], PartitionState]]] = {
    1: (
        lambda state: _write(state, _append_integer),
        lambda data: _read(data, lambda reader: str(reader.varint())),
    ),
    2: (lambda state: _write(state, append_text), lambda data: _read(data, VarintReader.text)),
    3: (
        lambda state: _write(state, append_text, told=True),
        lambda data: _read(data, VarintReader.text, told=True),
    ),
}
