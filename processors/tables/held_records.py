"""Records of a table that wait for the schema registry: nothing after them is read before they could be decoded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog
from confluent_kafka import Message

_ASK_EVERY_S = 1.0

log = structlog.get_logger("hookstream.table")


class HeldRecords:
    """What a reader holds back, and when it may try again. One thread.

    Every outage is logged once, when it begins and when it ends: a reader lives for as long as its process.
    """

    def __init__(
        self,
        what: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        """Hold nothing; `what` names the table in lines of log. `clock` is monotonic seconds."""
        self.waiting = False
        """Whether the registry did not answer when it was last asked."""
        self._what = what
        self._clock = clock
        self._sleep = sleep or threading.Event().wait
        self._held: list[Message] = []
        self._ask_at = 0.0

    def next_batch(self, read: Callable[[], list[Message]], *, timeout_s: float) -> list[Message]:
        """Give what is held, once the registry may be asked again, and what `read` gives where nothing is held.

        Waits at most `timeout_s` where the time has not come; then there is nothing.
        """
        if not self._held:
            return read()
        early_s = self._ask_at - self._clock()
        if early_s > 0:
            self._sleep(min(timeout_s, early_s))
            return []
        held, self._held = self._held, []
        return held

    def hold(self, messages: list[Message], reason: Exception) -> None:
        """Hold these, which were read last: the registry does not answer."""
        self._held = messages
        self._ask_at = self._clock() + _ASK_EVERY_S
        if not self.waiting:
            log.warning("a table waits for the schema registry", table=self._what, reason=str(reason))
        self.waiting = True

    def decoded(self) -> None:
        """Say that everything that was taken could be decoded, or found undecodable."""
        if self.waiting:
            log.info("a table waits for the schema registry no longer", table=self._what)
        self.waiting = False

    def clear(self) -> None:
        """Hold nothing any more: reading begins again elsewhere."""
        self._held.clear()
