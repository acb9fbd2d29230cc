"""Tokens that were read from the database a moment ago, so that not every request asks it who is calling.

What was read counts for two seconds from the moment before the question: a token that was revoked opens nothing in any
process of the API from then on, and so within five seconds, whatever the database takes to answer. What the database
does not confirm is forgotten, so where it does not answer, no token is good.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from hookstream.subscriptions.database import Sessions, reading
from hookstream.subscriptions.errors import TokenError
from hookstream.subscriptions.tokens import KnownToken, find_token

FRESH_FOR_S: Final = 2.0
# Some half a kilobyte each. Only tokens that were issued are kept: made-up ones push none out.
MOST_KNOWN: Final = 10_000


class _Read(NamedTuple):
    token: KnownToken
    at_s: float


class KnownTokens:
    """Tokens by their digests, the one that was read last at the end. May be used from any thread."""

    def __init__(self, monotonic_s: Callable[[], float], *, most: int = MOST_KNOWN) -> None:
        """None is known."""
        self._monotonic_s = monotonic_s
        self._most = most
        self._lock = threading.Lock()
        self._read: OrderedDict[bytes, _Read] = OrderedDict()

    def __len__(self) -> int:
        return len(self._read)

    def last(self, digest: bytes) -> KnownToken | None:
        """What was read last, however long ago; None where nothing is kept."""
        found = self._read.get(digest)
        return None if found is None else found.token

    def fresh(self, digest: bytes) -> KnownToken | None:
        """What was read within the last two seconds."""
        found = self._read.get(digest)
        return None if found is None or self._monotonic_s() - found.at_s >= FRESH_FOR_S else found.token

    def read(self, sessions: Sessions, digest: bytes) -> KnownToken:
        """Ask the database, and keep what it says.

        Raises:
            UnknownTokenError, RevokedTokenError: it is no good, and forgotten.
            DatabaseError: no answer.
        """
        at_s = self._monotonic_s()  # before the question: what is revoked meanwhile must not count for longer
        try:
            with reading(sessions) as session:
                token = find_token(session, digest)
        except TokenError:
            with self._lock:
                self._read.pop(digest, None)
            raise
        with self._lock:
            self._read[digest] = _Read(token, at_s)
            self._read.move_to_end(digest)
            while len(self._read) > self._most:
                self._read.popitem(last=False)
        return token
