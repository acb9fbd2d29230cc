"""The event loop's side as the poll thread sees it: each method is called in that thread and acts in the loop's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from confluent_kafka import TopicPartition

if TYPE_CHECKING:
    from hookstream.processors.delivery.group.inbox import AssignedPartition

    from .partition_handover import PartitionHandover
    from .turns import Turns


class LoopBridge:
    """The poll thread's `Loop`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        handover: PartitionHandover,
        turns: Turns,
        failed: Callable[[Exception], None],
    ) -> None:
        """Act in this loop; `failed` is called there."""
        self._loop = loop
        self._handover = handover
        self._turns = turns
        self._failed = failed

    def assigned(self, partitions: Sequence[AssignedPartition]) -> None:
        """Take partitions over as soon as the table has been read far enough."""
        self._loop.call_soon_threadsafe(self._handover.take_over, partitions)

    def arrived(self) -> None:
        """Look into the inboxes."""
        self._loop.call_soon_threadsafe(self._turns.wake)

    def release(self, partitions: Collection[int]) -> list[TopicPartition]:
        """Finish partitions and return their last commits; blocks the calling thread under the drain's deadline."""
        return asyncio.run_coroutine_threadsafe(self._handover.give_away(partitions), self._loop).result()

    def lost(self, partitions: Collection[int]) -> None:
        """Drop partitions; returns when nothing more is sent for them."""
        asyncio.run_coroutine_threadsafe(self._handover.drop_all(partitions), self._loop).result()

    def failed(self, error: Exception) -> None:
        """End the worker."""
        self._loop.call_soon_threadsafe(self._failed, error)
