"""Whether this router may read the topics of other services: one that it may not read must hold up no other.

Kafka refuses a whole group member that subscribes to a topic which it may not describe, and a whole commit that has a
partition which it may not read. So such a topic is left out until the right is there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import structlog

from hookstream.processors.errors import ProcessorError

_EVERY_S = 10.0

log = structlog.get_logger("hookstream.router")


class SourceRights:
    """Looks at the start, and again and again while a right is missing. `allowed` may be asked from any thread."""

    def __init__(self, missing: Callable[[], Mapping[str, str]], *, every_s: float = _EVERY_S) -> None:
        """`missing` asks Kafka for the right that each topic lacks."""
        self._ask = missing
        self._every_s = every_s
        self._missing: Mapping[str, str] = {}
        self._closed = threading.Event()

    def may_read(self, topic: str) -> bool:
        """Whether nothing is known that forbids it."""
        return topic not in self._missing

    def look(self) -> None:
        """Ask Kafka, and say what has changed.

        Raises:
            KafkaUnavailableError, KafkaRefusedError: it does not say.
        """
        found = self._ask()
        for topic, right in found.items():
            if self._missing.get(topic) != right:
                log.warning("a topic of another service is not read: a right is missing", topic=topic, right=right)
        for topic in self._missing.keys() - found.keys():
            log.info("a topic of another service may be read now", topic=topic)
        self._missing = found

    def watch(self) -> None:
        """Look again until nothing is missing, in a thread of its own."""
        if self._missing:
            threading.Thread(target=self._watch, name="source rights", daemon=True).start()

    def close(self) -> None:
        """Look no more."""
        self._closed.set()

    def _watch(self) -> None:
        while self._missing and not self._closed.wait(self._every_s):
            try:
                self.look()
            except ProcessorError as exc:
                log.warning("rights on topics of other services could not be looked at", reason=str(exc))
