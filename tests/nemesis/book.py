"""What is still to arrive: the run ends when nothing is, or when waiting is no use."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Book:
    """Deliveries that were asked for, and those that arrived; may be used from any thread."""

    def __init__(self) -> None:
        """Nothing was asked for yet."""
        self._lock = threading.Lock()
        self._hook_of: dict[str, int] = {}
        self._acknowledged: set[str] = set()
        self._arrived: set[str] = set()
        self._dead: set[str] = set()
        self._by_job: dict[str, set[str]] = defaultdict(set)

    def asked(self, delivery: str, hook: int) -> None:
        """An event is on its way."""
        with self._lock:
            self._hook_of[delivery] = hook

    def acknowledged(self, delivery: str) -> None:
        """It has to arrive."""
        with self._lock:
            self._acknowledged.add(delivery)

    def arrived(self, delivery: str, job: str) -> None:
        """It did, or came once more."""
        with self._lock:
            self._arrived.add(delivery)
            if job:
                self._by_job[job].add(delivery)

    def dead(self, deliveries: Iterable[str]) -> None:
        """These are dead letters: they need not arrive."""
        with self._lock:
            self._dead.update(deliveries)

    def pending(self) -> dict[str, int]:
        """Acknowledged deliveries that have not arrived, with their hooks."""
        with self._lock:
            return {delivery: self._hook_of[delivery] for delivery in self._acknowledged - self._arrived - self._dead}

    def of_job(self, job: str) -> int:
        """How many deliveries came under a job's name."""
        with self._lock:
            return len(self._by_job[job])

    def delivered_to(self, hook: int) -> list[str]:
        """Deliveries of a hook that arrived, oldest first."""
        with self._lock:
            return [each for each, whose in self._hook_of.items() if whose == hook and each in self._arrived]

    @property
    def counts(self) -> tuple[int, int]:
        """Acknowledged, and of these arrived."""
        with self._lock:
            return len(self._acknowledged), len(self._acknowledged & self._arrived)
