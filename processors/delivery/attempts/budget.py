"""How much of the attempt log's queue each client may fill while the broker is slow or unreachable. Pure.

The queue is one for all, and an endpoint's answers are as large as it likes. As with places for requests
(`engine/fair_share.py`), a client may hold a share of what is *free*, so that sixty that take all they get leave a
sixty-first its share. The largest goes first: whole answers, then their beginnings, and records last.

The producer only says how many records it still holds, and takes them in order; so what a client holds is known by
stretches of some hundred records, and a little late.
"""

from __future__ import annotations

from collections import deque

from .bytes import MAX_ANSWER_BYTES

SHORT_ANSWER_BYTES = 1_000
# What a record takes beside its bytes, at librdkafka's.
RECORD_BYTES = 200
_STRETCH_RECORDS = 200
_STRETCH_BYTES = 256 * 1024
# With less of the queue in use than this share of it, no client is near a bound.
_CALM = 1 / 64
# Of what is free, the share of a client up to which its answers are kept whole, then shortened, and then its records.
_WHOLE, _SHORTENED, _RECORDS = 1 / 32, 1 / 16, 1 / 2


class _Stretch:
    """Records that were handed over one after the other, and how much of them is whose."""

    __slots__ = ("bytes", "of", "until")

    def __init__(self) -> None:
        self.until = 0
        self.bytes = 0
        self.of: dict[str, int] = {}


class AttemptBudget:
    """What is held of each client; `capacity` in bytes."""

    __slots__ = ("_calm", "_capacity", "_done", "_last", "_of", "_stretches", "_total")

    def __init__(self, capacity: int) -> None:
        """Start empty."""
        self._capacity = capacity
        self._calm = int(capacity * _CALM)
        self._total = 0  # bytes of every stretch but the last
        self._of: dict[str, int] = {}  # likewise, by client
        self._last = _Stretch()
        self._stretches: deque[_Stretch] = deque()
        self._done = 0

    def answer_bytes(self, client: str, size: int) -> int | None:
        """How much may be kept of an answer of so many bytes; None: not even the record."""
        whole = min(size, MAX_ANSWER_BYTES)
        total = self._total + self._last.bytes
        if total < self._calm:
            return whole
        held = self._of.get(client, 0) + self._last.of.get(client, 0) + 2 * RECORD_BYTES
        free = self._capacity - total
        short = min(size, SHORT_ANSWER_BYTES)
        if held + whole < free * _WHOLE:
            return whole
        if held + short < free * _SHORTENED:
            return short
        return 0 if held < free * _RECORDS else None

    def take(self, client: str, size: int) -> None:
        """Note a record that goes to the queue."""
        last, size = self._last, size + RECORD_BYTES
        last.of[client] = last.of.get(client, 0) + size
        last.bytes += size

    def settle(self, handed_over: int, queued: int) -> None:
        """Note how many records were ever handed over, and how many of them are still held."""
        last, stretches = self._last, self._stretches
        if last.bytes and (handed_over - self._done >= _STRETCH_RECORDS or last.bytes >= _STRETCH_BYTES or not queued):
            last.until = self._done = handed_over
            self._total += last.bytes
            for client, size in last.of.items():
                self._of[client] = self._of.get(client, 0) + size
            stretches.append(last)
            self._last = _Stretch()
        while stretches and stretches[0].until <= handed_over - queued:
            gone = stretches.popleft()
            self._total -= gone.bytes
            for client, size in gone.of.items():
                left = self._of[client] - size
                if left:
                    self._of[client] = left
                else:
                    del self._of[client]
