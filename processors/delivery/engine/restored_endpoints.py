"""What a restored state says of endpoints to which no hook has led yet.

A state names an endpoint by its digest, so the endpoint is made when a hook leads to it: that of a backlog cursor at
once, any other when a delivery of it is read. Until then its rows go on into every state that is written, or a second
restart would forget since when the endpoint fails, and that the end of its quarantine is still to be told.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from .model import LIVE, StreamIndex
from .partition_state import StoredHealth, StoredTold

EndpointKey: TypeAlias = tuple[str, bytes]
"""Client and digest of the target."""

# Longer than anything that a row may be needed for; after it, no hook leads to the endpoint any more.
_KEPT_MS = 30 * 24 * 3600 * 1000


class RestoredEndpoints:
    """The rows of endpoints that are still to be made."""

    def __init__(self) -> None:
        """Hold nothing."""
        self._health: tuple[dict[EndpointKey, StoredHealth], dict[EndpointKey, StoredHealth]] = ({}, {})
        self._told: dict[EndpointKey, StoredTold] = {}

    def keep_health(self, stream: StreamIndex, row: StoredHealth) -> None:
        """Keep how an endpoint was doing, as the state of one stream says it."""
        self._health[stream][row.client, row.target_digest] = row

    def keep_told(self, row: StoredTold) -> None:
        """Keep what was told of an endpoint, and is to be told."""
        self._told[row.client, row.target_digest] = row

    def take_health(self, key: EndpointKey) -> tuple[StoredHealth | None, StoredHealth | None]:
        """Return the rows of an endpoint that was just made, live and replay, and forget them."""
        live, replay = self._health
        return live.pop(key, None), replay.pop(key, None)

    def take_told(self, key: EndpointKey) -> StoredTold | None:
        """Return what was told of an endpoint that was just made, and forget it."""
        return self._told.pop(key, None)

    def health(self, stream: StreamIndex, wall_ms: int) -> Iterator[StoredHealth]:
        """What the next state of one stream says of the health of these endpoints."""
        for row in self._health[stream].values():
            newest_ms = max(row.retry_after_until_ms, row.failing_since_ms, row.probe_at_ms, row.retried_at_ms)
            if wall_ms - newest_ms < _KEPT_MS:
                yield row

    def told(self, stream: StreamIndex, wall_ms: int) -> Iterator[StoredTold]:
        """What the next state says was told of these endpoints; that of the live stream holds it."""
        if stream != LIVE:
            return
        for row in self._told.values():
            told_ms = max(row.told_ms, row.ended_ms, row.expiring_told_ms, row.dead_told_ms)
            if wall_ms - max(row.quarantined_ms, row.dead_at_ms, told_ms) < _KEPT_MS:
                yield row
