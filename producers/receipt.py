"""The proof that the log has an event."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from hookstream.schemas.codecs.events import WrittenEvent
from hookstream.schemas.event import Event


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where the broker put an acknowledged event."""

    topic: str
    partition: int
    offset: int


class EventSink(Protocol):
    """What takes events on their way: the `EventProducer`, and its fake in tests."""

    def produce(
        self, event: Event, *, traceparent: bytes | None = None, written: WrittenEvent | None = None
    ) -> Future[Receipt]:
        """Accept an event, of that trace, written now or before.

        The future is done when the log has it, or has the reason why not.
        """

    def flush(self, deadline_s: float) -> None:
        """Return when every accepted event has its receipt or its error."""
