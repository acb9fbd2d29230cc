"""Who wants what, as far as this process has read: the table that the `subscriptions` topic describes. Sans-I/O.

Not obvious, and relied upon:

- Readers compare tables by `offset` (the next one to read) and rows by `revision`; a lower revision is ignored, since a
  suspended writer may write late and compaction may keep its row.
- Absence never means deleted. A deletion is a row; its tombstone comes weeks later and removes only a deleted row.
- A row that cannot be decoded makes its subscription key unknown, not absent, until a readable row for it arrives.
- A row is kept as packed bytes under a short text: some 230 bytes, and nothing in it is tracked by the garbage
  collector. A million hooks as objects are a gigabyte, and each full collection would walk them all.

Not thread-safe: one thread applies and reads.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import (
    RESYNC_MARK_KEY,
    Hook,
    HookId,
    HookState,
    ResyncMark,
    Revision,
    subscription_of_record_key,
)

Listener = Callable[[Hook | None, Hook], None]
"""Called with a subscription key's row before and after; before is None where there was none."""

_HEAD = struct.Struct(">QQB")  # id, revision, flags: the two low bits are the state
_NOT_BEFORE = struct.Struct(">q")
_RATE = struct.Struct(">d")
_LENGTH = struct.Struct(">H")
_STATES = (HookState.ENABLED, HookState.DISABLED, HookState.DELETED)
_STATE_CODES = {state: code for code, state in enumerate(_STATES)}
_DELETED = _STATE_CODES[HookState.DELETED]
_STATE_MASK = 0b11
_HAS_NOT_BEFORE = 0b100
_HAS_RATE = 0b1000

# Rows lately asked for, as objects: unpacking one takes 4 µs, and the hooks that are busy are few. Some 3 MB.
_RECENT_ROWS = 4096


class Route(NamedTuple):
    """What routing needs of a row."""

    hook_id: HookId
    revision: Revision


class SubscriptionTable:
    """The latest row of every subscription key (client, event)."""

    def __init__(self) -> None:
        """Start empty, at offset 0."""
        self.offset = 0
        self.resynced_topic_id: str | None = None
        """Topic id in the last end mark of a resync, if one was read."""
        self.unreadable: dict[bytes, int] = {}
        """Record keys whose latest record could not be decoded, with its offset: what they subscribe to is unknown."""
        self._rows: dict[str, bytes] = {}
        self._recent: dict[str, Hook] = {}
        self._event_codes: dict[str, str] = {}
        self._listeners: list[Listener] = []

    def __len__(self) -> int:
        """How many subscription keys have a row, deleted ones included."""
        return len(self._rows)

    def listen(self, listener: Listener) -> None:
        """Call `listener` for every row that changes from now on, after the change is visible here."""
        self._listeners.append(listener)

    def get(self, client: str, event: str) -> Hook | None:
        """The row of a subscription key, whatever its state; None where this table has none."""
        place = self._place(client, event)
        if place is None:
            return None
        row = self._recent.get(place)
        if row is not None:
            return row
        packed = self._rows.get(place)
        if packed is None:
            return None
        row = _unpack(client, event, packed)
        if len(self._recent) >= _RECENT_ROWS:
            self._recent.clear()
        self._recent[place] = row
        return row

    def route(self, client: str, event: str) -> Route | None:
        """The hook that gets a delivery of this event: an enabled or a disabled one, not a deleted one."""
        code = self._event_codes.get(event)
        packed = None if code is None else self._rows.get(client + code)
        if packed is None:
            return None
        hook_id, revision, flags = _HEAD.unpack_from(packed)
        if flags & _STATE_MASK == _DELETED:
            return None
        return Route(hook_id, revision)

    def apply(self, offset: int, key: bytes | None, value: Hook | ResyncMark | None) -> None:
        """Take one record of the topic, in its order. `value` is None for a tombstone."""
        self.offset = offset + 1
        if self.unreadable and key is not None:
            self.unreadable.pop(key, None)
        if value is None:
            self._tombstone(key)
        elif isinstance(value, ResyncMark):
            self.resynced_topic_id = value.topic_id
        else:
            self._apply_row(value)

    def apply_unreadable(self, offset: int, key: bytes | None) -> None:
        """Take a record that could not be decoded: its subscription key is unknown until a readable one arrives."""
        self.offset = offset + 1
        self.unreadable[key or b""] = offset

    def advance(self, offset: int) -> None:
        """Move past offsets that hold no record any more (compaction) up to `offset`, the next one to read."""
        self.offset = max(self.offset, offset)

    def _apply_row(self, row: Hook) -> None:
        code = self._event_codes.get(row.event)
        if code is None:  # a client may end like a code: what follows the last bar is the event
            code = self._event_codes[row.event] = f"|{len(self._event_codes)}"
        place = row.client + code
        packed = self._rows.get(place)
        if packed is not None and _HEAD.unpack_from(packed)[1] > row.revision:
            return
        fresh = _pack(row)
        if fresh == packed:
            return
        self._rows[place] = fresh
        self._recent.pop(place, None)
        if self._listeners:
            before = None if packed is None else _unpack(row.client, row.event, packed)
            for listener in self._listeners:
                listener(before, row)

    def _tombstone(self, key: bytes | None) -> None:
        """Forget a deleted row. A tombstone has no revision, so above any other row it is a late or a foreign one."""
        if key is None or key == RESYNC_MARK_KEY:
            return
        found = subscription_of_record_key(key)
        place = None if found is None else self._place(*found)
        if place is None:
            return
        packed = self._rows.get(place)
        if packed is not None and _HEAD.unpack_from(packed)[2] & _STATE_MASK == _DELETED:
            del self._rows[place]
            self._recent.pop(place, None)

    def _place(self, client: str, event: str) -> str | None:
        """The subscription key's place; None where no row has ever had this event."""
        code = self._event_codes.get(event)
        return None if code is None else client + code


def _pack(row: Hook) -> bytes:
    flags = _STATE_CODES[row.state]
    parts = []
    if row.not_before_ms:
        flags |= _HAS_NOT_BEFORE
        parts.append(_NOT_BEFORE.pack(row.not_before_ms))
    if row.rate_limit_per_s is not None:
        flags |= _HAS_RATE
        parts.append(_RATE.pack(row.rate_limit_per_s))
    for text in (row.target.encode(), *row.secrets):
        parts += (_LENGTH.pack(len(text)), text)
    return b"".join((_HEAD.pack(row.id, row.revision, flags), *parts))


def _unpack(client: str, event: str, packed: bytes) -> Hook:
    hook_id, revision, flags = _HEAD.unpack_from(packed)
    at = _HEAD.size
    not_before_ms, rate = 0, None
    if flags & _HAS_NOT_BEFORE:
        (not_before_ms,) = _NOT_BEFORE.unpack_from(packed, at)
        at += _NOT_BEFORE.size
    if flags & _HAS_RATE:
        (rate,) = _RATE.unpack_from(packed, at)
        at += _RATE.size
    texts = []
    while at < len(packed):
        (length,) = _LENGTH.unpack_from(packed, at)
        at += _LENGTH.size
        texts.append(packed[at : at + length])
        at += length
    return Hook(
        id=HookId(hook_id),
        client=ClientId(client),
        event=EventName(event),
        target=texts[0].decode(),
        state=_STATES[flags & _STATE_MASK],
        revision=Revision(revision),
        secrets=tuple(texts[1:]),
        not_before_ms=not_before_ms,
        rate_limit_per_s=rate,
    )
