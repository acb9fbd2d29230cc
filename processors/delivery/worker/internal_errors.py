"""Exceptions of our own code: each is counted by where it was caught, and logged with where it was raised.

What a message says may be a piece of an answer, a URL or a secret, so none is written: of an exception the log gets its
type and the lines of code that it passed, of those that led to it likewise. One that comes again and again (a server
can send the same answer for ever) is logged once in ten minutes, with the number of those left out; all are counted.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from traceback import extract_tb
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from hookstream.processors.metrics import Metrics

TELL_AGAIN_AFTER_S = 600.0
# Positions in the code of which it is known when they were logged last.
_REMEMBERED = 256
_FRAMES = 30

log = structlog.get_logger("hookstream.internal_errors")


class InternalErrors:
    """Counts and logs. One thread at a time."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing was reported yet; `clock` is monotonic seconds."""
        self._metrics = metrics
        self._clock = clock
        self._logged: OrderedDict[tuple[str, str], list[float]] = OrderedDict()  # when logged last, how many since

    def report(self, where: str, error: BaseException | None, **about: int | str) -> None:
        """Take one exception. `where` is a label of the metric; `about` are ids of the request."""
        self._metrics.worker.internal_errors[where] += 1
        passed = _passed(error)
        known = self._logged.get((where, passed))
        if known is None:
            known = self._logged[where, passed] = [float("-inf"), 0]
            if len(self._logged) > _REMEMBERED:
                self._logged.popitem(last=False)
        now = self._clock()
        if now - known[0] < TELL_AGAIN_AFTER_S:
            known[1] += 1
            return
        left_out, known[:] = int(known[1]), [now, 0]
        log.error("internal error", where=where, traceback=passed, left_out=left_out, **about)


def _passed(error: BaseException | None) -> str:
    """Types and lines of code of an exception and of what led to it, the last first. Never what they say."""
    return " | from ".join(_one(found) for found in _chain(error)) or "unknown"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _one(error: BaseException) -> str:
    frames = extract_tb(error.__traceback__)[-_FRAMES:]
    lines = " > ".join(f"{'/'.join(frame.filename.split('/')[-3:])}:{frame.lineno} {frame.name}" for frame in frames)
    return f"{type(error).__module__}.{type(error).__qualname__} at {lines or 'no line'}"
