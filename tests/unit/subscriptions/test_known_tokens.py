"""Tokens that were read a moment ago: how long they count, and how many are kept."""

from __future__ import annotations

import pytest

from hookstream.subscriptions.api import known_tokens
from hookstream.subscriptions.api.known_tokens import FRESH_FOR_S, KnownTokens
from hookstream.subscriptions.database import Sessions
from hookstream.subscriptions.errors import DatabaseUnavailableError, RevokedTokenError
from hookstream.subscriptions.models import Role
from hookstream.subscriptions.tokens import KnownToken, Principal, TokenId


class Database:
    """Answers what the test says, after a time that passes meanwhile."""

    def __init__(self) -> None:
        self.now_s = 50.0
        self.takes_s = 0.0
        self.answer: KnownToken | Exception = token(1)
        self.asked = 0

    def find(self, _session: object, _digest: bytes) -> KnownToken:
        self.asked += 1
        self.now_s += self.takes_s
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def token(number: int) -> KnownToken:
    principal = Principal(token_id=TokenId(number), role=Role.OPERATOR, client=None, name="x")
    return KnownToken(principal, expires_at_ms=None)


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    made = Database()
    monkeypatch.setattr(known_tokens, "find_token", made.find)
    return made


def test_what_was_read_counts_for_two_seconds(database: Database, sessions: Sessions) -> None:
    known = KnownTokens(lambda: database.now_s)
    assert known.fresh(b"a") is known.last(b"a") is None
    known.read(sessions, b"a")
    database.now_s += FRESH_FOR_S - 0.01
    assert known.fresh(b"a") == token(1)
    database.now_s += 0.02
    assert known.fresh(b"a") is None
    assert known.last(b"a") == token(1), "whose limit it is, is still known"


def test_the_two_seconds_begin_before_the_database_is_asked(database: Database, sessions: Sessions) -> None:
    known = KnownTokens(lambda: database.now_s)
    database.takes_s = FRESH_FOR_S
    known.read(sessions, b"a")
    assert known.fresh(b"a") is None


def test_a_revoked_token_is_forgotten(database: Database, sessions: Sessions) -> None:
    known = KnownTokens(lambda: database.now_s)
    known.read(sessions, b"a")
    database.answer = RevokedTokenError()
    with pytest.raises(RevokedTokenError):
        known.read(sessions, b"a")
    assert known.last(b"a") is None


def test_without_the_database_no_token_is_good_for_longer(database: Database, sessions: Sessions) -> None:
    known = KnownTokens(lambda: database.now_s)
    known.read(sessions, b"a")
    database.now_s += FRESH_FOR_S
    database.answer = DatabaseUnavailableError()
    with pytest.raises(DatabaseUnavailableError):
        known.read(sessions, b"a")
    assert known.fresh(b"a") is None


def test_as_many_are_kept_as_may_be_and_those_that_were_read_last(database: Database, sessions: Sessions) -> None:
    known = KnownTokens(lambda: database.now_s, most=3)
    for digest in (b"a", b"b", b"c", b"a", b"d"):
        known.read(sessions, digest)
    assert len(known) == 3
    assert [known.last(digest) is not None for digest in (b"a", b"b", b"c", b"d")] == [True, False, True, True]


def test_a_token_that_was_revoked_opens_nothing_five_seconds_later(database: Database, sessions: Sessions) -> None:
    """Which is what documents promise, whatever the constant says."""
    known = KnownTokens(lambda: database.now_s)
    known.read(sessions, b"a")
    database.now_s += 5.0
    assert known.fresh(b"a") is None
