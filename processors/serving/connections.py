"""Which connections a server keeps, and which give way: a table of all of them, without a socket and without a clock.

A server has room for so many connections, and a reserve for questions about its health. Where there is no room for one
more, the one that has waited longest for its client gives way: clients who send nothing push out each other, and none
that sends a request at once. A request that has come whole is never given up; where all are such, one more is taken
into the reserve.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Generic, TypeVar

C = TypeVar("C", bound=Hashable)


class Phase(IntEnum):
    """What a connection waits for; the first ones give way first."""

    HEAD = 0  # the head of a request: a new connection, or one between two requests
    REST = 1  # the rest of a body of which nothing is wanted: the request is answered
    READER = 2  # the client, which does not read its answer
    BODY = 3  # the body of a request
    HANDLER = 4  # us: the request is whole; it never gives way


class Room(Enum):
    """What there is for a new connection."""

    FULL = "full"  # any request
    RESERVE = "reserve"  # questions about health alone
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """How many connections there may be, and for how many seconds each waits for its client.

    `head_s` runs from the connection's start, or from the end of the answer before: bytes that come in between do not
    begin it again. So do the others from their phase's start.
    """

    most: int = 1000
    reserve: int = 16
    head_bytes: int = 16 * 1024
    head_s: float = 10.0
    rest_s: float = 5.0
    reader_s: float = 60.0
    body_s: float = 30.0

    def lasts_s(self, phase: Phase) -> float | None:
        """How long a phase may last; None is without end: the handlers have deadlines of their own."""
        match phase:
            case Phase.HEAD:
                return self.head_s
            case Phase.REST:
                return self.rest_s
            case Phase.READER:
                return self.reader_s
            case Phase.BODY:
                return self.body_s
            case Phase.HANDLER:
                return None


@dataclass(slots=True)
class ConnectionTable(Generic[C]):
    """Every connection by what it waits for, in each phase the longest waiting first. Times are monotonic seconds."""

    limits: ConnectionLimits
    _since_s: dict[Phase, dict[C, float]] = field(init=False)
    _phases: dict[C, Phase] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Begin without any."""
        self._since_s = {phase: {} for phase in Phase}

    def __len__(self) -> int:
        return len(self._phases)

    def arrive(self, connection: C, now_s: float) -> tuple[Room, C | None]:
        """Take a new connection, and say which other one has to be closed for it: that one has left the table."""
        victim = None
        if len(self) >= self.limits.most:
            victim = self._longest_waiting()
            if victim is not None:
                self.leave(victim)
        if len(self) >= self.limits.most + self.limits.reserve:
            return Room.NONE, victim
        room = Room.FULL if len(self) < self.limits.most else Room.RESERVE
        self._put(connection, Phase.HEAD, now_s)
        return room, victim

    def enter(self, connection: C, phase: Phase, now_s: float) -> None:
        """Say what a connection waits for from now on; the same phase goes on, and one that has left stays away."""
        present = self._phases.get(connection)
        if present is not None and present is not phase:
            del self._since_s[present][connection]
            self._put(connection, phase, now_s)

    def begin_again(self, connection: C, now_s: float) -> None:
        """Say that a request has ended: the time for the next head begins."""
        if self._phases.get(connection) is Phase.HEAD:
            self.leave(connection)
            self._put(connection, Phase.HEAD, now_s)
        else:
            self.enter(connection, Phase.HEAD, now_s)

    def leave(self, connection: C) -> None:
        """Forget a connection; one that is not here was closed before."""
        phase = self._phases.pop(connection, None)
        if phase is not None:
            del self._since_s[phase][connection]

    def waiting(self, phase: Phase) -> list[C]:
        """Those of a phase, the longest waiting first."""
        return list(self._since_s[phase])

    def overdue(self, now_s: float) -> list[C]:
        """Those whose client has been waited for long enough; they have left the table."""
        late = list(self._overdue(now_s))
        for connection in late:
            self.leave(connection)
        return late

    def _overdue(self, now_s: float) -> Iterator[C]:
        for phase, connections in self._since_s.items():
            lasts_s = self.limits.lasts_s(phase)
            if lasts_s is None:
                continue
            for connection, since_s in connections.items():
                if now_s - since_s < lasts_s:
                    break
                yield connection

    def _longest_waiting(self) -> C | None:
        """The next one to give way; None where all wait for us."""
        for phase in Phase:
            if phase is not Phase.HANDLER and self._since_s[phase]:
                return next(iter(self._since_s[phase]))
        return None

    def _put(self, connection: C, phase: Phase, now_s: float) -> None:
        self._phases[connection] = phase
        self._since_s[phase][connection] = now_s
