"""An event loop in a thread of its own, and the end of a server: both leave no socket open.

A socket that is left open is told as a warning of whichever test runs when it is collected, not of the one that left
it.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from typing import TYPE_CHECKING, TypeVar

from tests.support.wait import WITHIN_S, eventually_async

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


async def stop_listening(server: asyncio.Server) -> None:
    """Close a server after what it has accepted was handed to its protocol: later, asyncio drops it unclosed."""
    for listener in server.sockets:
        asyncio.get_running_loop().remove_reader(listener.fileno())
    for _ in range(3):  # in one turn each, an accepted socket gets a task, a transport and its protocol
        await asyncio.sleep(0)
    server.close()


class LoopThread:
    """Runs coroutines that other threads hand in, until it is closed."""

    def __init__(self, name: str) -> None:
        """Start the thread."""
        self._selector = selectors.DefaultSelector()
        self.loop = asyncio.SelectorEventLoop(self._selector)
        self._thread = threading.Thread(target=self.loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[object, object, T]) -> T:
        """Run a coroutine in the loop and return what it returns."""
        # A little longer than what the coroutine itself waits for, so that it says what did not come.
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(WITHIN_S + 1.0)

    def close(self) -> None:
        """End every task and wait until every socket is closed; whoever opened a server has closed it before."""
        if self.loop.is_closed():
            return
        self.call(self._end_all())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    async def _end_all(self) -> None:
        only_this = asyncio.current_task()

        async def is_empty() -> bool:
            tasks = asyncio.all_tasks() - {only_this}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            return len(self._selector.get_map()) == 1  # the loop's own, by which other threads wake it

        await eventually_async(is_empty, every_s=0.0, describe="no connection is open")
        for _ in range(2):  # a transport closes its socket in a turn after the one in which it leaves the selector
            await asyncio.sleep(0)
