"""Counts the events that have neither a receipt nor an error yet."""

from __future__ import annotations

import threading

from .deadline import Deadline
from .errors import FlushTimeoutError, ProducerClosedError


class InFlight:
    """How many events are in flight, and whether more may be. May be used from any thread."""

    def __init__(self) -> None:
        """None is."""
        self._count = 0
        self._changed = threading.Condition()
        self._closed = False

    def add(self) -> None:
        """Count one more.

        Raises:
            ProducerClosedError: after `close`.
        """
        with self._changed:
            if self._closed:
                msg = "the producer is closed"
                raise ProducerClosedError(msg)
            self._count += 1

    def remove(self) -> None:
        """Count one less: it has its receipt or its error."""
        with self._changed:
            self._count -= 1
            if self._count == 0:
                self._changed.notify_all()

    def wait(self, deadline: Deadline, *, asked_s: float) -> None:
        """Return when none is in flight; `asked_s` is how long the caller wanted to wait in all.

        Raises:
            FlushTimeoutError: some were, at the deadline.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._count == 0, deadline.remaining_s):
                msg = f"{self._count} events unacknowledged after {asked_s:g} s"
                raise FlushTimeoutError(msg)

    def close(self) -> bool:
        """Let no more in; False where that was so already."""
        with self._changed:
            was_open, self._closed = not self._closed, True
        return was_open
