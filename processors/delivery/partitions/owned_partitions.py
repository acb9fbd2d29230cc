"""The partitions of a worker, in the ways in which they are looked up. The loop's thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hookstream.processors.delivery.engine.model import Dispatches

    from .owned_partition import OwnedPartition


class OwnedPartitions:
    """Each is added when it begins and dropped when it is given away or lost."""

    __slots__ = ("by_engine", "by_index", "leaving", "order")

    def __init__(self) -> None:
        """Own nothing."""
        self.by_index: dict[int, OwnedPartition] = {}
        self.by_engine: dict[Dispatches, OwnedPartition] = {}
        self.order: list[OwnedPartition] = []
        """In which they are served."""
        self.leaving: set[OwnedPartition] = set()
        """Of which nothing more is read or sent."""

    def add(self, partition: OwnedPartition) -> None:
        """Begin to serve it."""
        self.by_index[partition.index] = partition
        self.by_engine[partition.engine] = partition
        self.order.append(partition)

    def drop(self, partition: OwnedPartition) -> None:
        """Serve it no more."""
        partition.gone = True
        self.by_index.pop(partition.index, None)
        self.by_engine.pop(partition.engine, None)
        self.order.remove(partition)
        self.leaving.discard(partition)
