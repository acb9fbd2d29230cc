"""Slow questions: so many at once, of one caller and in all, so that no caller's take the threads that others need.

A question that comes when no place is free is answered at once with 429; it does not keep a thread while it waits.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from http import HTTPStatus
from typing import Final, ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

from .problems import ProblemError

_RETRY_AFTER_S: Final = 1
_P = ParamSpec("_P")
_R = TypeVar("_R")


class Question(StrEnum):
    """What takes long: each kind waits for a part of its own."""

    DEAD_LETTERS = "dead letters"
    DELIVERIES = "deliveries in the logs"
    BACKLOG = "backlogs"
    ATTEMPTS = "attempts"
    AUDIT = "the audit"
    ACKNOWLEDGEMENTS = "what waits for Kafka's acknowledgement"


class Admission:
    """Counts the slow questions that are being answered. May be used from any thread."""

    def __init__(self, *, of_one_caller: int, of_one_kind: int) -> None:
        self._of_one_caller = of_one_caller
        self._of_one_kind = of_one_kind
        self._lock = threading.Lock()
        self._callers: Counter[str] = Counter()
        self._kinds: Counter[Question] = Counter()

    def busy(self, question: Question) -> ProblemError:
        """429: as many questions of this kind are being answered as may be at once."""
        return too_many(f"{self._of_one_kind} requests about {question} are being answered already")

    @contextmanager
    def enter(self, question: Question, caller: str) -> Iterator[None]:
        """Count a question while it is answered.

        Raises:
            ProblemError: 429, with `Retry-After`.
        """
        with self._lock:
            if self._callers[caller] >= self._of_one_caller:
                raise too_many(f"of this caller {self._of_one_caller} slow requests are being answered already")
            if self._kinds[question] >= self._of_one_kind:
                raise self.busy(question)
            self._callers[caller] += 1
            self._kinds[question] += 1
        try:
            yield
        finally:
            with self._lock:
                self._kinds[question] -= 1
                self._callers[caller] -= 1
                if not self._callers[caller]:
                    del self._callers[caller]


class OwnThreads:
    """Threads for one purpose: whatever the handlers' threads wait for, these do not. More calls than threads wait."""

    def __init__(self, name: str, count: int) -> None:
        self._count = count
        self._limiter: RunVar[CapacityLimiter] = RunVar(f"hookstream {name}")  # one for each event loop

    async def run(self, work: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Run `work` in one of them."""
        try:
            limiter = self._limiter.get()
        except LookupError:
            limiter = CapacityLimiter(self._count)
            self._limiter.set(limiter)
        return await to_thread.run_sync(lambda: work(*args, **kwargs), limiter=limiter)


def too_many(detail: str) -> ProblemError:
    """429, with the time to wait."""
    headers = {"Retry-After": str(_RETRY_AFTER_S)}
    return ProblemError(HTTPStatus.TOO_MANY_REQUESTS, "too-many-requests", detail, headers=headers)
