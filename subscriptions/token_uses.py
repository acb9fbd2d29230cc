"""When tokens were used last: kept in memory by the minute, and written for all tokens together, now and then."""

from __future__ import annotations

import threading
from typing import Final

from .database import Sessions, transact
from .tokens import TokenId, write_last_uses

_MINUTE_MS: Final = 60_000
# Tokens whose last minute is remembered; forgetting one costs a write that changes nothing.
_MOST: Final = 10_000


class TokenUses:
    """Uses that are not written yet. May be used from any thread."""

    def __init__(self) -> None:
        """Nothing was used."""
        self._lock = threading.Lock()
        self._noted: dict[TokenId, int] = {}
        self._unwritten: dict[TokenId, int] = {}

    def note(self, token_id: TokenId, now_ms: int) -> None:
        """A token is used now."""
        minute_ms = now_ms - now_ms % _MINUTE_MS
        if self._noted.get(token_id, -1) >= minute_ms:
            return
        with self._lock:
            if len(self._noted) >= _MOST:
                self._noted.clear()
            self._noted[token_id] = self._unwritten[token_id] = minute_ms

    def write(self, sessions: Sessions) -> int:
        """Write what is new since the last time, in one transaction; give the number of tokens.

        Raises:
            DatabaseError: no answer; it is written the next time.
        """
        with self._lock:
            uses, self._unwritten = self._unwritten, {}
        if not uses:
            return 0
        try:
            transact(sessions, lambda session: write_last_uses(session, uses))
        except BaseException:
            with self._lock:
                self._unwritten = uses | self._unwritten
            raise
        return len(uses)
