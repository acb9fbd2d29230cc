"""Schema ids that the registry does not know: asked again for some seconds, for a replica may get them late.

What waits for the answer is a partition, or all that a process does. So the waiting is bounded twice: for each id, and
for all of them together, since garbage may carry a new id in every record.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from hookstream.schemas.errors import UndecodableError

WAIT_S = 5.0
_EVERY_S = 0.25
# An answer is believed for so long: garbage of one id does not ask the registry once a record.
_BELIEVED_S = 10.0
# Of its time a process waits at most a fifth for unknown ids, and at most 15 s without a break.
_SHARE = 0.2
_MOST_S = 15.0
_REMEMBERED = 10_000


@dataclass(slots=True)
class _Asked:
    first_at: float
    last_at: float
    error: UndecodableError


@dataclass(slots=True)
class UnknownIds:
    """What is remembered of them. May be used from any thread; `sleep` is called in the caller's."""

    wait_s: float = WAIT_S
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _asked: dict[int, _Asked] = field(default_factory=dict)
    _left_s: float = _MOST_S
    _left_at: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, schema_id: int) -> UndecodableError | None:
        """The last answer about an id, while it is believed."""
        asked = self._asked.get(schema_id)
        return asked.error if asked is not None and self.now() - asked.last_at < _BELIEVED_S else None

    def remember(self, schema_id: int, error: UndecodableError) -> None:
        """Remember an answer."""
        with self._lock:
            now = self.now()
            if len(self._asked) >= _REMEMBERED:
                self._asked.clear()
            asked = self._asked.setdefault(schema_id, _Asked(now, now, error))
            asked.last_at, asked.error = now, error

    def wait(self, schema_id: int) -> bool:
        """Wait a moment before a remembered id is asked for again; False: it has been long enough."""
        with self._lock:
            now = self.now()
            asked = self._asked.get(schema_id)
            if asked is None or now - asked.first_at >= self.wait_s or not self._take(now):
                return False
        self.sleep(_EVERY_S)
        return True

    def _take(self, now: float) -> bool:
        earned = 0.0 if self._left_at is None else (now - self._left_at) * _SHARE
        self._left_s, self._left_at = min(_MOST_S, self._left_s + earned), now
        if self._left_s < _EVERY_S:
            return False
        self._left_s -= _EVERY_S
        return True
