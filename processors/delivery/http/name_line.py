"""A line in which clients take turns, however much each of them wants."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


class NameLine(Generic[ItemT]):
    """What waits, by client; an item stands in a client's queue once."""

    def __init__(self) -> None:
        """Nothing waits."""
        self._queues: OrderedDict[str | None, OrderedDict[ItemT, None]] = OrderedDict()  # whose turn is next, first
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def longest(self) -> int:
        """The length of the longest client's queue."""
        return max(map(len, self._queues.values()), default=0)

    def length(self, client: str | None) -> int:
        """How much of a client waits."""
        return len(self._queues.get(client, ()))

    def holds(self, client: str | None, item: ItemT) -> bool:
        """Whether an item stands in a client's queue."""
        return item in self._queues.get(client, ())

    def push(self, client: str | None, item: ItemT) -> None:
        """Put an item at the end of a client's queue; nothing if it stands there."""
        queue = self._queues.setdefault(client, OrderedDict())
        self._size += item not in queue
        queue[item] = None

    def pop(self, may: Callable[[str | None], bool]) -> tuple[str | None, ItemT] | None:
        """Take the first item of the next client that may have one, or None."""
        for _ in range(len(self._queues)):
            client, queue = next(iter(self._queues.items()))
            self._queues.move_to_end(client)
            if may(client):
                item, _ = queue.popitem(last=False)
                self._taken(client, queue)
                return client, item
        return None

    def drop_last(self, client: str | None) -> ItemT:
        """Take out what a client asked for last.

        Raises:
            KeyError: nothing of it waits.
        """
        queue = self._queues[client]
        item, _ = queue.popitem()
        self._taken(client, queue)
        return item

    def drop_last_of_longest(self) -> ItemT:
        """Take out what the client of which most waits asked for last.

        Raises:
            ValueError: nothing waits.
        """
        return self.drop_last(max(self._queues, key=lambda client: len(self._queues[client])))

    def drop_all(self, client: str | None) -> list[ItemT]:
        """Take out everything of a client, in its order."""
        queue = list(self._queues.pop(client, ()))
        self._size -= len(queue)
        return queue

    def _taken(self, client: str | None, queue: OrderedDict[ItemT, None]) -> None:
        self._size -= 1
        if not queue:
            del self._queues[client]
