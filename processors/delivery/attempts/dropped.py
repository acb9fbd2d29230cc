"""Which attempts were dropped: counted by client, and reported in the log and to the attempt log. One thread.

Clients are no label of a metric: there may be tens of thousands. The metric says how many in all, the line of log names
the clients that lost most, and the attempt log gets a record for each client as soon as the queue takes it, so that
`hookstream lag` can say of whom it does not know everything.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import structlog

from hookstream.schemas.attempt import AttemptGap
from hookstream.schemas.event import ClientId

_NAMED_CLIENTS = 10
# Records of gaps that are handed over at a time; others wait for the next second.
_GAPS_AT_ONCE = 500

log = structlog.get_logger("hookstream.deliver")


class DroppedAttempts:
    """What the attempt log of one worker lacks."""

    __slots__ = ("_said", "_since", "_untold", "total")

    def __init__(self) -> None:
        """Start with nothing dropped."""
        self.total = 0
        self._said = 0
        self._since: dict[str, int] = {}  # by client, since the last line of log
        self._untold: dict[str, int] = {}  # by client, of which the attempt log does not know yet

    def count(self, client: str, attempts: int = 1) -> None:
        """Count attempts of a client."""
        self.total += attempts
        self._since[client] = self._since.get(client, 0) + attempts
        self._untold[client] = self._untold.get(client, 0) + attempts

    def lose(self, attempts: int) -> None:
        """Count attempts of which only the number is known."""
        self.total += attempts

    def untold(self, gap: AttemptGap) -> None:
        """A gap's own record did not arrive."""
        self._untold[gap.client] = self._untold.get(gap.client, 0) + gap.attempts

    def gaps(self, at_ms: int) -> Iterator[AttemptGap]:
        """What the attempt log does not know of, some clients at a time; what is given counts as reported."""
        for _ in range(min(len(self._untold), _GAPS_AT_ONCE)):
            client = next(iter(self._untold))
            yield AttemptGap(client=ClientId(client), attempts=self._untold.pop(client), at_ms=at_ms)

    def say(self) -> None:
        """Write a line of log, if there is anything new."""
        if self.total > self._said:
            most = heapq.nlargest(_NAMED_CLIENTS, self._since.items(), key=lambda item: item[1])
            log.warning(
                "attempt records were dropped",
                now=self.total - self._said,
                since_start=self.total,
                clients={str(client): count for client, count in most},
                other_clients=max(0, len(self._since) - _NAMED_CLIENTS),
            )
            self._said = self.total
            self._since.clear()
