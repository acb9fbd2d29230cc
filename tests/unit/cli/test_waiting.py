"""What a command waits for, and what it says at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import structlog

from hookstream.processors.cli.console import CommandError
from hookstream.processors.cli.waiting import waiter
from hookstream.subscriptions.errors import DatabaseRefusedError, DatabaseUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_a_database_that_refuses_us_is_asked_once() -> None:
    asked = []

    def ask() -> None:
        asked.append(1)
        raise DatabaseRefusedError('the database refuses us: database "x" does not exist')

    with pytest.raises(CommandError, match=r'^the database refuses us: database "x" does not exist$'):
        waiter(60)("database", ask)
    assert len(asked) == 1


def test_a_database_that_is_not_there_yet_is_waited_for() -> None:
    answers = iter([DatabaseUnavailableError("starting up"), None])

    def ask() -> str:
        failure = next(answers)
        if failure is not None:
            raise failure
        return "here"

    assert waiter(60)("database", ask) == "here"
