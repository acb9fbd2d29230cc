"""Look-ups of names under way: one a name, however many ask, with permits that hanging names cannot use up.

A look-up cannot be ended: one whose name server is silent runs for as long as the machine's resolver tries, ten seconds
and more. So permits are counted:

- `permits` for names that nothing is known against, `untrusted_permits` for the others. Untrusted is a name that failed
  last time or has been looked up for longer than `hung_s`, and every name of a client while one of its look-ups hangs;
- a look-up that hangs gives its permit up and counts among the hung, of which there may be `max_hung`;
- a client has `per_client` look-ups under way, hung ones included, and `per_untrusted_client` of untrusted names;
- what finds no permit waits in line: clients in turn, each one's names in the order in which they were asked for.

When the line is full its longest queue loses its last: the client that asks for most pays.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from .errors import ResolveError
from .name_line import NameLine
from .resolver import Resolver


@dataclass(frozen=True, slots=True, kw_only=True)
class LookUpLimits:
    """How many look-ups run and wait. With these a process has at most 264 threads for names."""

    hung_s: float = 1.0  # a cold cache and a far name server take some tenths of a second
    permits: int = 32
    untrusted_permits: int = 8
    max_hung: int = 224
    per_client: int = 4
    per_untrusted_client: int = 2
    max_waiting: int = 1_024
    max_waiting_per_client: int = 128  # as many as a client has requests in flight
    max_untrusted: int = 10_000


class Permit(Enum):
    """What a running look-up is counted as."""

    COMMON = "common"
    UNTRUSTED = "untrusted"
    HUNG = "hung"


class LookUp:
    """One name that is waited for. `answer` holds no addresses where the look-up failed."""

    __slots__ = ("answer", "client", "host", "in_lines", "permit", "timer", "waiting", "wanted")

    def __init__(self, host: str, answer: asyncio.Future[tuple[str, ...]]) -> None:
        """Not begun; `wanted` says that the answer is of use although no request waits for it."""
        self.host = host
        self.answer = answer
        self.client: str | None = None
        self.in_lines = 0
        self.permit: Permit | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.waiting = 0
        self.wanted = False


class LookUps:
    """Every look-up that has not ended. Belongs to the event loop's thread."""

    def __init__(
        self, resolver: Resolver, limits: LookUpLimits, *, ended: Callable[[str, tuple[str, ...]], None]
    ) -> None:
        """`ended` is called with each answer, with no addresses where the look-up failed."""
        self._resolver = resolver
        self._limits = limits
        self._ended = ended
        self._closed = False
        self._asked: dict[str, LookUp] = {}
        self._tasks: set[asyncio.Task[tuple[str, ...]]] = set()
        self._common_line: NameLine[LookUp] = NameLine()
        self._untrusted_line: NameLine[LookUp] = NameLine()
        self._untrusted: OrderedDict[str, None] = OrderedDict()
        self._running: Counter[str | None] = Counter()
        self._hanging: Counter[str | None] = Counter()
        self._taken: Counter[Permit] = Counter()

    @property
    def waiting(self) -> int:
        """How many stand in line."""
        return len(self._common_line) + len(self._untrusted_line)

    async def look_up(self, host: str, client: str | None) -> tuple[str, ...]:
        """Wait for a name's addresses: none where the look-up failed. Giving up does not end it for the others.

        Raises:
            ResolveError: too much waits already.
        """
        asked = self._asked_for(host)
        asked.waiting += 1
        try:
            self._queue(asked, client)
            return await asyncio.shield(asked.answer)
        finally:
            asked.waiting -= 1

    def refresh(self, host: str, client: str | None) -> None:
        """Look a name up although no request waits for it; nothing where too much waits already."""
        asked = self._asked_for(host)
        asked.wanted = True
        self._queue(asked, client)

    def close(self) -> None:
        """End all of them; what waits for one is cancelled. A thread that hangs is left to itself."""
        self._closed = True
        for asked in self._asked.values():
            asked.answer.cancel()
            if asked.timer is not None:
                asked.timer.cancel()
        for task in list(self._tasks):
            task.cancel()

    def _asked_for(self, host: str) -> LookUp:
        asked = self._asked.get(host)
        if asked is None:
            asked = self._asked[host] = LookUp(host, asyncio.get_running_loop().create_future())
        return asked

    def _queue(self, asked: LookUp, client: str | None) -> None:
        """Put a look-up that has not begun in line for a client; what another client waits for, too, waits in both."""
        line = self._untrusted_line if asked.host in self._untrusted or self._hanging[client] else self._common_line
        if asked.permit is not None or line.holds(client, asked):
            return
        line.push(client, asked)
        asked.in_lines += 1
        self._begin()
        if line.length(client) > self._limits.max_waiting_per_client:
            self._refuse(line.drop_last(client))
        elif self.waiting > self._limits.max_waiting:
            longest = max(self._common_line, self._untrusted_line, key=lambda line: line.longest)
            self._refuse(longest.drop_last_of_longest())

    def _refuse(self, asked: LookUp) -> None:
        """Take a look-up out of a line; it fails where that was the last that it stood in."""
        asked.in_lines -= 1
        if asked.permit is None and not asked.in_lines:
            del self._asked[asked.host]
            if not asked.answer.done():
                asked.answer.set_exception(
                    ResolveError(f"the host {asked.host} was not looked up: too many others wait")
                )
                asked.answer.exception()  # read: no request may be waiting for it

    def _begin(self) -> None:
        """Give the permits that are free to those whose turn it is."""
        self._fill(Permit.COMMON, self._common_line, self._limits.permits, self._limits.per_client)
        self._fill(
            Permit.UNTRUSTED, self._untrusted_line, self._limits.untrusted_permits, self._limits.per_untrusted_client
        )

    def _fill(self, permit: Permit, line: NameLine[LookUp], permits: int, per_client: int) -> None:
        while self._taken[permit] < permits:
            found = line.pop(lambda client: self._running[client] < per_client)
            if found is None:
                return
            client, asked = found
            asked.in_lines -= 1
            if asked.permit is not None:
                continue  # it began for another client
            if asked.waiting or asked.wanted:
                self._start(asked, client, permit)
            elif not asked.in_lines:
                del self._asked[asked.host]
                asked.answer.cancel()

    def _start(self, asked: LookUp, client: str | None, permit: Permit) -> None:
        asked.client, asked.permit = client, permit
        self._running[client] += 1
        self._taken[permit] += 1
        loop = asyncio.get_running_loop()
        asked.timer = loop.call_later(self._limits.hung_s, self._hangs, asked)
        task = loop.create_task(self._resolver.resolve(asked.host))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._end(asked, done))

    def _hangs(self, asked: LookUp) -> None:
        """Distrust the name, and whatever else its client wants; give its permit to others."""
        client = asked.client
        asked.timer = None
        self._distrust_name(asked.host)
        self._hanging[client] += 1
        for waiting in self._common_line.drop_all(client):
            waiting.in_lines -= self._untrusted_line.holds(client, waiting)
            self._untrusted_line.push(client, waiting)
        if asked.permit is not None and self._taken[Permit.HUNG] < self._limits.max_hung:
            self._taken[asked.permit] -= 1
            self._taken[Permit.HUNG] += 1
            asked.permit = Permit.HUNG
        self._begin()

    def _end(self, asked: LookUp, task: asyncio.Task[tuple[str, ...]]) -> None:
        """Free what a look-up held, and give its answer, which a shortage or a bug of ours is not."""
        self._tasks.discard(task)
        if self._closed:
            return
        self._free(asked)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None or isinstance(error, ResolveError):
            addresses = task.result() if error is None else ()
            if addresses:
                self._untrusted.pop(asked.host, None)
            else:
                self._distrust_name(asked.host)
            self._ended(asked.host, addresses)
            asked.answer.set_result(addresses)
        elif isinstance(error, asyncio.CancelledError):
            asked.answer.cancel()
        else:
            asked.answer.set_exception(error)
            asked.answer.exception()  # read: no request may be waiting for it
        self._begin()

    def _free(self, asked: LookUp) -> None:
        client = asked.client
        del self._asked[asked.host]
        if asked.permit is not None:
            self._taken[asked.permit] -= 1
        self._running[client] -= 1
        if asked.timer is not None:
            asked.timer.cancel()
        else:
            self._hanging[client] -= 1
        for counter in (self._running, self._hanging):
            if not counter[client]:
                del counter[client]

    def _distrust_name(self, host: str) -> None:
        self._untrusted[host] = None
        self._untrusted.move_to_end(host)
        if len(self._untrusted) > self._limits.max_untrusted:
            self._untrusted.popitem(last=False)
