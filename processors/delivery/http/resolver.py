"""The machine's own resolver, in a thread a look-up: a thread that hangs holds up no other, nor the end of the process.

How many may run at once, and for whom, is decided by `look_ups`; what they found is remembered by `known_names`.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from .errors import ResolveError, ShortageError


class Resolver(Protocol):
    """Turns a host name into addresses."""

    async def resolve(self, host: str) -> tuple[str, ...]:
        """Return at least one address, in the order to try them.

        Raises:
            ResolveError: the name has no address, or the name servers failed.
            ShortageError: this machine has nothing to look it up with.
        """


class SystemResolver:
    """Asks the machine's own resolver (`getaddrinfo`).

    uvloop's `getaddrinfo` has four threads for the whole process and the default executor six: four names whose
    servers do not answer would hold up every other name for ten seconds. A pool of our own would be joined when the
    interpreter ends, so that such a name would hold up a process that has been asked to stop.
    """

    async def resolve(self, host: str) -> tuple[str, ...]:
        """Return the machine's answer, in its order of preference (RFC 6724)."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[tuple[str, ...]] = loop.create_future()

        def hand_over(give: Callable[[], None]) -> None:
            with suppress(RuntimeError):  # the loop has ended: no caller waits
                loop.call_soon_threadsafe(lambda: None if answer.done() else give())

        def look_up() -> None:
            try:
                found = _look_up(host)
            except Exception as error:  # noqa: BLE001 - raised again where it is waited for
                failure = error
                hand_over(lambda: answer.set_exception(failure))
            else:
                hand_over(lambda: answer.set_result(found))

        try:
            threading.Thread(target=look_up, name="resolve", daemon=True).start()
        except RuntimeError as error:  # the machine has no more threads
            raise ShortageError(f"no look-up of a name: {error}") from error
        try:
            return await answer
        except (OSError, UnicodeError) as error:
            raise ResolveError(f"the host {host} has no address") from error


def _look_up(host: str) -> tuple[str, ...]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
