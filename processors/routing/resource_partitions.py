"""Notices a resource whose events come from two partitions of its topic, which keeps no order between them. Pure."""

from __future__ import annotations

from collections.abc import Hashable

# Some 10 MB. A resource that was not seen for so many others is forgotten, and counted as new.
KEPT = 50_000


class ResourcePartitions:
    """The last partition of each of the latest resources. One thread."""

    def __init__(self, kept: int = KEPT) -> None:
        """Know none yet."""
        self._kept = kept
        # By hash, which is smaller than a text; two of 50,000 have the same one once in some billion processes.
        self._partition_of: dict[int, int] = {}

    def moved(self, resource: Hashable, partition: int) -> bool:
        """Note where a resource's event came from; True where the one before came from another partition."""
        known, key = self._partition_of, hash(resource)
        before = known.pop(key, None)
        if before is None and len(known) >= self._kept:
            del known[next(iter(known))]
        known[key] = partition
        return before not in (None, partition)
