"""When tokens were used: in memory by the minute, in the database now and then."""

from __future__ import annotations

import pytest

from hookstream.subscriptions import token_uses
from hookstream.subscriptions.database import Sessions
from hookstream.subscriptions.errors import DatabaseUnavailableError
from hookstream.subscriptions.token_uses import TokenUses
from hookstream.subscriptions.tokens import TokenId

MINUTE_MS = 60_000
ONE, TWO = TokenId(1), TokenId(2)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[dict[int, int]]:
    """What was written, by transaction."""
    found: list[dict[int, int]] = []
    monkeypatch.setattr(token_uses, "write_last_uses", lambda _, uses: found.append(dict(uses)))
    return found


def test_many_uses_are_one_write(written: list[dict[int, int]], sessions: Sessions) -> None:
    uses = TokenUses()
    for ms in range(0, 3 * MINUTE_MS, 100):
        uses.note(ONE, ms)
    uses.note(TWO, 5)
    assert uses.write(sessions) == 2
    assert uses.write(sessions) == 0
    assert written == [{1: 2 * MINUTE_MS, 2: 0}]


def test_a_minute_is_written_once(written: list[dict[int, int]], sessions: Sessions) -> None:
    uses = TokenUses()
    for ms in (1, 2, MINUTE_MS - 1, MINUTE_MS):
        uses.note(ONE, ms)
        uses.write(sessions)
    assert written == [{1: 0}, {1: MINUTE_MS}]


def test_a_clock_that_goes_back_writes_no_earlier_use(written: list[dict[int, int]], sessions: Sessions) -> None:
    uses = TokenUses()
    uses.note(ONE, 5 * MINUTE_MS)
    uses.note(ONE, 3 * MINUTE_MS)
    uses.write(sessions)
    assert written == [{1: 5 * MINUTE_MS}]


def test_what_could_not_be_written_is_written_later(
    written: list[dict[int, int]], sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    uses = TokenUses()
    uses.note(ONE, 0)
    uses.note(TWO, 0)

    def fail(*_: object) -> None:
        uses.note(ONE, MINUTE_MS)  # used while it is written
        raise DatabaseUnavailableError

    with monkeypatch.context() as patched:
        patched.setattr(token_uses, "write_last_uses", fail)
        with pytest.raises(DatabaseUnavailableError):
            uses.write(sessions)
    uses.write(sessions)
    assert written == [{1: MINUTE_MS, 2: 0}]


def test_what_is_remembered_is_bounded(
    written: list[dict[int, int]], sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_uses, "_MOST", 3)
    uses = TokenUses()
    for token in range(10):
        uses.note(TokenId(token), 0)
    assert uses.write(sessions) == 10
    assert len(written[0]) == 10
