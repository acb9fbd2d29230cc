"""The open connections: idle ones by origin, the last used first, and one sweep that ends what is overdue.

One coarse timer looks at every connection ten times a second (0.1 ms a thousand connections) instead of one timer
armed and cancelled per request; a time-out is therefore up to a tenth of a second late. It stops when nothing is open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from .connection import HttpConnection
from .exchange import Exchange


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """How long and how many connections are kept; seconds and connections."""

    idle_timeout_s: float = 20.0  # under the 60 s of common load balancers; a shorter one of the target's is noticed
    max_age_s: float = 300.0  # so that a target that moved in DNS is followed while its old address still answers
    max_idle_per_origin: int = 64  # the most that one endpoint has in flight
    max_idle: int = 1024
    sweep_interval_s: float = 0.1


class ConnectionPool:
    """Owns every connection from its opening on. Belongs to the event loop's thread."""

    def __init__(self, limits: PoolLimits, repeat: Callable[[Exchange], None], clock: Callable[[], float]) -> None:
        """`repeat` makes a request again on a fresh connection; `clock` is monotonic seconds."""
        self.repeat = repeat
        self._limits = limits
        self._clock = clock
        self._open: dict[HttpConnection, None] = {}
        self._idle: dict[str, list[HttpConnection]] = {}
        self._oldest: dict[HttpConnection, None] = {}  # all idle ones, the one idle for the longest time first
        self._timer: asyncio.TimerHandle | None = None

    @property
    def open_connections(self) -> int:
        """Connections that carry a request or could."""
        return len(self._open)

    def take(self, origin: str) -> HttpConnection | None:
        """Hand out the connection that was idle for the shortest time and is still open.

        One that broke in this very turn of the loop is closed already, and says so only in the next.
        """
        stack = self._idle.get(origin)
        while stack:
            connection = stack.pop()
            del self._oldest[connection]
            if not connection.closing:
                return connection
        return None

    def add(self, connection: HttpConnection) -> None:
        """Own a connection that has just been opened."""
        self._open[connection] = None
        if self._timer is None:
            self._arm()

    def release(self, connection: HttpConnection, now: float) -> None:
        """Take back a connection that can carry another request, or close it if it is old or one too many.

        Where that makes too many idle ones, the one that was idle for the longest time is closed: at no moment are
        there more, so that what is in flight finds the descriptors it was promised.
        """
        limits = self._limits
        stack = self._idle.get(connection.origin)
        if stack is None:
            stack = self._idle[connection.origin] = []
        if len(stack) >= limits.max_idle_per_origin or now - connection.opened_at > limits.max_age_s:
            connection.close()
            return
        connection.deadline = now + limits.idle_timeout_s
        stack.append(connection)
        self._oldest[connection] = None
        if len(self._oldest) > limits.max_idle:
            next(iter(self._oldest)).close()

    def forget(self, connection: HttpConnection) -> None:
        """Take a connection out; nothing if it is out already."""
        if connection not in self._open:
            return
        del self._open[connection]
        if connection in self._oldest:
            del self._oldest[connection]
            self._idle[connection.origin].remove(connection)

    def sweep(self) -> None:
        """End what is overdue: requests as time-outs, idle connections in silence."""
        now = self._clock()
        for connection in [connection for connection in self._open if connection.deadline <= now]:
            connection.expire()
        for origin in [origin for origin, stack in self._idle.items() if not stack]:
            del self._idle[origin]

    def close(self) -> None:
        """Drop every connection at once and stop the sweep; exchanges under way are abandoned, not answered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for connection in list(self._open):
            connection.abandon()
        self._idle.clear()
        self._oldest.clear()

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._limits.sweep_interval_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        try:
            self.sweep()
        finally:
            if self._open:
                self._arm()
