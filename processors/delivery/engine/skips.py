"""Which deliveries to an endpoint go to the dead letters unsent, because an operator said so."""

from __future__ import annotations

from collections.abc import Mapping

from hookstream.schemas.delivery import Delivery


class Skips:
    """What endpoint settings skip of one endpoint: drained, or single deliveries. Times are Unix milliseconds."""

    __slots__ = ("drained_before_ms", "single")

    def __init__(self) -> None:
        """Skip nothing."""
        self.drained_before_ms = 0  # what is pending since earlier
        self.single: Mapping[str, int] = {}  # single deliveries, and when each was skipped

    @property
    def some(self) -> bool:
        """Whether any delivery is skipped."""
        return bool(self.drained_before_ms or self.single)

    def covers(self, delivery: Delivery) -> bool:
        """Whether a delivery is skipped; one that was resent from the dead letters since is not meant."""
        since = delivery.owed_since_ms
        return since < self.drained_before_ms or since < self.single.get(delivery.id, 0)
