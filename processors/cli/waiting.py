"""Waiting for Kafka, the registry or the database, in commands that a person or a script runs once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from hookstream.processors import logs
from hookstream.processors.lifecycle import RETRIABLE, StopSignal, until_available
from hookstream.subscriptions.errors import DatabaseRefusedError, DatabaseUnavailableError

from .console import CommandError

_T = TypeVar("_T")


class WaitFor(Protocol):
    """Tries until there is an answer, or the time is over."""

    def __call__(self, what: str, attempt: Callable[[], _T], /) -> _T:
        """Give the answer, or raise what the last attempt raised."""
        ...


def waiter(seconds: float) -> WaitFor:
    """Wait for so long with each question; each failure meanwhile is a line on stderr.

    A database that refuses us is not waited for: whoever typed the command waits for an answer.
    """
    logs.configure(level="warning")

    def wait_for(what: str, attempt: Callable[[], _T], /) -> _T:
        def refused_at_once() -> _T:
            try:
                return attempt()
            except DatabaseRefusedError as exc:
                raise CommandError(str(exc)) from exc

        return until_available(
            what,
            refused_at_once,
            stop=StopSignal(),
            retriable=(*RETRIABLE, DatabaseUnavailableError),
            give_up_after_s=seconds,
        )

    return wait_for
