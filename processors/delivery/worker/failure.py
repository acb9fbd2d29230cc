"""How a worker ends early: the first error counts, from whichever thread it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .internal_errors import InternalErrors


class Failure:
    """`ended` has the error. Methods belong to the loop's thread, except where said otherwise."""

    def __init__(self, loop: asyncio.AbstractEventLoop, internal_errors: InternalErrors) -> None:
        """Nothing has failed."""
        self.ended: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._internal_errors = internal_errors
        self._listeners: list[Callable[[], None]] = []

    def listen(self, listener: Callable[[], None]) -> None:
        """Call this at the first error, at once: of an engine that raised it is unknown what it would commit."""
        self._listeners.append(listener)

    def fail(self, error: Exception) -> None:
        """End the worker with this error; the first one counts."""
        if not self.ended.done():
            self.ended.set_exception(error)
            for listener in self._listeners:
                listener()

    def fail_from_thread(self, error: Exception) -> None:
        """The same, from any thread."""
        self._loop.call_soon_threadsafe(self.fail, error)

    def take_uncaught(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Take an exception that no code caught: the loop's exception handler.

        One of a connection ends that connection, and its request fails; one of a task ends that task: no partition
        depends on it. After any other the worker ends: else it would hold partitions and not serve them.
        """
        error = context.get("exception") or RuntimeError(str(context.get("message")))
        where = "connection" if "transport" in context or "protocol" in context else "task"
        if where == "connection" or "task" in context or "future" in context:
            self._internal_errors.report(where, error)
        else:
            self.fail(error)
