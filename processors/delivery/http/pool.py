"""The open connections: idle ones by origin, the last used first, and one sweep that ends what is overdue.

One coarse timer looks at every connection ten times a second (0.1 ms a thousand connections) instead of one timer
armed and cancelled per request; a time-out is therefore up to a tenth of a second late. It stops when nothing is open.

A connection whose server may still speak must not carry the next request: what it says would be taken for the answer.
So connections *rest* after an answer: those of an origin that is not trusted yet after each one, the others every five
seconds, one at a time. An origin is trusted once some rests have ended in silence; one that says anything beside its
answers gets no kept connections for ten minutes. Meanwhile requests use other connections, or fresh ones.
"""

from __future__ import annotations

import asyncio
from collections import deque
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
    # A server that still has something to say mostly says it at once, or when the first part is acknowledged (Nagle's
    # algorithm and delayed acknowledgements: 40 ms and a round trip).
    rest_s: float = 0.1
    rests_to_trust: int = 8  # an endpoint's first requests at once: a fresh origin is trusted after one rest's time
    rest_every_s: float = 5.0
    distrust_s: float = 600.0
    max_distrusted: int = 10_000


class _Kept:
    """The connections of one origin that carry no request."""

    __slots__ = ("idle", "rested", "resting")

    def __init__(self) -> None:
        self.idle: list[HttpConnection] = []  # may be used, the last one first
        self.resting: deque[HttpConnection] = deque()  # in the order in which they will have rested
        self.rested = 0  # how many rests have ended without a byte


class ConnectionPool:
    """Owns every connection from its opening on. Belongs to the event loop's thread."""

    def __init__(self, limits: PoolLimits, repeat: Callable[[Exchange], None], clock: Callable[[], float]) -> None:
        """`repeat` makes a request again on a fresh connection; `clock` is monotonic seconds."""
        self.repeat = repeat
        self._limits = limits
        self._clock = clock
        self._open: dict[HttpConnection, None] = {}
        self._kept: dict[str, _Kept] = {}
        self._distrusted: dict[str, float] = {}  # origin to when it is trusted again, the first one first
        self._oldest: dict[HttpConnection, None] = {}  # all idle ones, the one idle for the longest time first
        self._timer: asyncio.TimerHandle | None = None

    @property
    def open_connections(self) -> int:
        """Connections that carry a request or could."""
        return len(self._open)

    def take(self, origin: str, now: float) -> HttpConnection | None:
        """Hand out the connection that was idle for the shortest time and is still open.

        One that broke in this very turn of the loop is closed already, and says so only in the next.
        """
        kept = self._kept.get(origin)
        if kept is None:
            return None
        if kept.resting and kept.resting[0].rests_until <= now:
            self._end_rests(kept, now)
        idle = kept.idle
        while idle:
            connection = idle.pop()
            del self._oldest[connection]
            if not connection.closing:
                return connection
        return None

    def add(self, connection: HttpConnection) -> None:
        """Own a connection that has just been opened."""
        self._open[connection] = None
        connection.rests_at = connection.opened_at + self._limits.rest_every_s
        if self._timer is None:
            self._arm()

    def release(self, connection: HttpConnection, now: float) -> None:
        """Take back a connection that can carry another request, or close it if it is old or one too many.

        Where that makes too many idle ones, the one that was idle for the longest time is closed: at no moment are
        there more, so that what is in flight finds the descriptors it was promised.
        """
        limits, origin = self._limits, connection.origin
        if self._distrusted and self._distrusts(origin, now):
            connection.close()
            return
        kept = self._kept.get(origin)
        if kept is None:
            kept = self._kept[origin] = _Kept()
        resting = kept.resting
        if len(kept.idle) + len(resting) >= limits.max_idle_per_origin or now - connection.opened_at > limits.max_age_s:
            connection.close()
            return
        connection.deadline = now + limits.idle_timeout_s
        if kept.rested < limits.rests_to_trust or (now >= connection.rests_at and not resting):
            connection.rests_until = now + limits.rest_s
            resting.append(connection)
        else:
            kept.idle.append(connection)
        self._oldest[connection] = None
        if len(self._oldest) > limits.max_idle:
            next(iter(self._oldest)).close()

    def distrust(self, connection: HttpConnection) -> None:
        """Keep no connection of an origin for a while: it says more than its answers."""
        origin = connection.origin
        self._distrusted.pop(origin, None)
        self._distrusted[origin] = self._clock() + self._limits.distrust_s
        if len(self._distrusted) > self._limits.max_distrusted:
            del self._distrusted[next(iter(self._distrusted))]
        kept = self._kept.pop(origin, None)
        if kept is not None:
            for other in (*kept.idle, *kept.resting):
                del self._oldest[other]
                other.close()

    def forget(self, connection: HttpConnection) -> None:
        """Take a connection out; nothing if it is out already."""
        if connection not in self._open:
            return
        del self._open[connection]
        if connection in self._oldest:
            del self._oldest[connection]
            kept = self._kept[connection.origin]
            (kept.resting if connection.rests_until else kept.idle).remove(connection)

    def sweep(self) -> None:
        """End what is overdue: requests as time-outs, idle connections in silence."""
        now = self._clock()
        for connection in [connection for connection in self._open if connection.deadline <= now]:
            connection.expire()
        for origin in [origin for origin, kept in self._kept.items() if not (kept.idle or kept.resting)]:
            del self._kept[origin]

    def close(self) -> None:
        """Drop every connection at once and stop the sweep; exchanges under way are abandoned, not answered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for connection in list(self._open):
            connection.abandon()
        self._kept.clear()
        self._oldest.clear()

    def _end_rests(self, kept: _Kept, now: float) -> None:
        """Let those be used that have said nothing for long enough."""
        limits, resting = self._limits, kept.resting
        while resting and resting[0].rests_until <= now:
            connection = resting.popleft()
            connection.rests_until = 0.0
            connection.rests_at = now + limits.rest_every_s
            kept.idle.append(connection)
            kept.rested += 1

    def _distrusts(self, origin: str, now: float) -> bool:
        until = self._distrusted.get(origin)
        if until is not None and until <= now:
            del self._distrusted[origin]
            return False
        return until is not None

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._limits.sweep_interval_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        try:
            self.sweep()
        finally:
            if self._open:
                self._arm()
