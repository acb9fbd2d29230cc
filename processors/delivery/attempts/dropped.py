"""Which attempts were dropped: counted by client, told once a second while there are more. One thread.

Clients are no label of a metric: there may be tens of thousands. The line of log names those that lost most, and the
metric says how many in all.
"""

from __future__ import annotations

import heapq

import structlog

_TOLD_CLIENTS = 10

log = structlog.get_logger("hookstream.deliver")


class DroppedAttempts:
    """What one worker could not tell the attempt log."""

    __slots__ = ("_of", "_told", "total")

    def __init__(self) -> None:
        """Start with nothing dropped."""
        self.total = 0
        self._told = 0
        self._of: dict[int, int] = {}

    def count(self, client: int) -> None:
        """Count one attempt of a client."""
        self.total += 1
        self._of[client] = self._of.get(client, 0) + 1

    def lose(self, attempts: int) -> None:
        """Count attempts of which only the number is known."""
        self.total += attempts

    def tell(self) -> None:
        """Write a line of log, if there is anything new."""
        if self.total > self._told:
            most = heapq.nlargest(_TOLD_CLIENTS, self._of.items(), key=lambda item: item[1])
            log.warning(
                "attempt records were dropped",
                now=self.total - self._told,
                since_start=self.total,
                clients={str(client): count for client, count in most},
                other_clients=max(0, len(self._of) - _TOLD_CLIENTS),
            )
            self._told = self.total
            self._of.clear()
