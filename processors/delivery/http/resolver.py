"""Host names to addresses, remembered for half a minute, in threads that a slow name server cannot use up.

What is remembered is never trusted: the address guard vets every answer again, and the connection goes to the vetted
address itself, so a name that changes from a public to a private address between two looks gains nothing.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from .errors import ResolveError

TTL_S = 30.0  # getaddrinfo does not tell the record's own; shorter than what operators wait after a DNS change
FAILURE_TTL_S = 5.0
MAX_REMEMBERED = 10_000

_THREADS = 32
_SUSPECT_THREADS = 8


class Resolver(Protocol):
    """Turns a host name into addresses."""

    async def resolve(self, host: str) -> tuple[str, ...]:
        """Return at least one address, in the order to try them.

        Raises:
            ResolveError: the name has no address, or the name servers failed.
        """


class SystemResolver:
    """Asks the machine's own resolver (`getaddrinfo`), in threads of its own.

    uvloop's `getaddrinfo` has four threads for the whole process and the default executor six: four names whose
    servers do not answer would hold up every other name for ten seconds. Here, a name that failed last time is looked
    up among the suspects, so that it can only delay other failing names.
    """

    def __init__(self) -> None:
        """Threads start when they are first needed."""
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="resolve")
        self._suspect_threads = ThreadPoolExecutor(_SUSPECT_THREADS, thread_name_prefix="resolve-suspect")
        self._suspects: OrderedDict[str, None] = OrderedDict()

    async def resolve(self, host: str) -> tuple[str, ...]:
        """Return the machine's answer, in its order of preference (RFC 6724)."""
        threads = self._suspect_threads if host in self._suspects else self._threads
        # Suspect until proven: a lookup that hangs is a failure that has not been reported yet.
        self._suspects[host] = None
        if len(self._suspects) > MAX_REMEMBERED:
            self._suspects.popitem(last=False)
        try:
            answer = await asyncio.get_running_loop().run_in_executor(threads, _look_up, host)
        except (OSError, UnicodeError) as error:
            raise ResolveError(f"the host {host} has no address") from error
        self._suspects.pop(host, None)
        return answer

    def close(self) -> None:
        """Forget lookups that have not begun; do not wait for those that have."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._suspect_threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str) -> tuple[str, ...]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class RememberingResolver:
    """Remembers answers and failures for a short time; one lookup a name at a time, however many ask."""

    def __init__(self, inner: Resolver, clock: Callable[[], float] = time.monotonic) -> None:
        """Wrap a resolver; `clock` is monotonic seconds."""
        self._inner = inner
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, tuple[str, ...]]] = OrderedDict()  # no addresses: a failure
        self._asking: dict[str, asyncio.Task[tuple[str, ...]]] = {}

    async def resolve(self, host: str) -> tuple[str, ...]:
        """Return what is known, or ask; a caller that gives up does not end the lookup for the others."""
        known = self._known.get(host)
        if known is not None and self._clock() < known[0]:
            addresses = known[1]
        else:
            lookup = self._asking.get(host)
            if lookup is None:
                lookup = self._asking[host] = asyncio.create_task(self._ask(host))
            addresses = await asyncio.shield(lookup)
        if not addresses:
            raise ResolveError(f"the host {host} has no address")
        return addresses

    async def _ask(self, host: str) -> tuple[str, ...]:
        try:
            addresses = await self._inner.resolve(host)
        except ResolveError:
            addresses = ()
        finally:
            del self._asking[host]
        self._known[host] = (self._clock() + (TTL_S if addresses else FAILURE_TTL_S), addresses)
        self._known.move_to_end(host)
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
        return addresses
