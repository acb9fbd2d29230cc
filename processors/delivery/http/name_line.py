"""A line in which clients take turns, however much each of them wants."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


class NameLine(Generic[ItemT]):
    """What waits, by client; an item stands in a client's part once."""

    def __init__(self) -> None:
        """Nothing waits."""
        self._parts: OrderedDict[int | None, OrderedDict[ItemT, None]] = OrderedDict()  # whose turn is next, first
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def longest(self) -> int:
        """The length of the longest client's part."""
        return max(map(len, self._parts.values()), default=0)

    def length(self, client: int | None) -> int:
        """How much of a client waits."""
        return len(self._parts.get(client, ()))

    def holds(self, client: int | None, item: ItemT) -> bool:
        """Whether an item stands in a client's part."""
        return item in self._parts.get(client, ())

    def push(self, client: int | None, item: ItemT) -> None:
        """Put an item at the end of a client's part; nothing if it stands there."""
        part = self._parts.setdefault(client, OrderedDict())
        self._size += item not in part
        part[item] = None

    def pop(self, may: Callable[[int | None], bool]) -> tuple[int | None, ItemT] | None:
        """Take the first item of the next client that may have one, or None."""
        for _ in range(len(self._parts)):
            client, part = next(iter(self._parts.items()))
            self._parts.move_to_end(client)
            if may(client):
                item, _ = part.popitem(last=False)
                self._taken(client, part)
                return client, item
        return None

    def drop_last(self, client: int | None) -> ItemT:
        """Take out what a client asked for last.

        Raises:
            KeyError: nothing of it waits.
        """
        part = self._parts[client]
        item, _ = part.popitem()
        self._taken(client, part)
        return item

    def drop_last_of_longest(self) -> ItemT:
        """Take out what the client of which most waits asked for last.

        Raises:
            ValueError: nothing waits.
        """
        return self.drop_last(max(self._parts, key=lambda client: len(self._parts[client])))

    def drop_all(self, client: int | None) -> list[ItemT]:
        """Take out everything of a client, in its order."""
        part = list(self._parts.pop(client, ()))
        self._size -= len(part)
        return part

    def _taken(self, client: int | None, part: OrderedDict[ItemT, None]) -> None:
        self._size -= 1
        if not part:
            del self._parts[client]
