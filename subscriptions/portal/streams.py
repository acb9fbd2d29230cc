"""Answers that go on while something changes: so many at once, for each keeps a connection."""

from __future__ import annotations

from asyncio import sleep
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

from hookstream.subscriptions.api.problems import ProblemError


async def _next_look() -> None:
    await sleep(2)


@dataclass(slots=True)
class Streams:
    """Counts the streams of this process, in its event loop. `wait` returns when it is time for the next look."""

    most: int = 64
    wait: Callable[[], Awaitable[None]] = _next_look
    _open: int = 0

    def check(self) -> None:
        """Check that there may be one more.

        Raises:
            ProblemError: 429, there are as many as may be.
        """
        if self._open >= self.most:
            detail = f"{self.most} pages are followed already; reload this one"
            raise ProblemError(HTTPStatus.TOO_MANY_REQUESTS, "too-many-requests", detail)

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Count one while it is sent."""
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
