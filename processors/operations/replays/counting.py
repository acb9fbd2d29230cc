"""What a replay would send, and how long it would take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hookstream.processors.tables.subscription_table import SubscriptionTable
from hookstream.schemas.hook import HookId
from hookstream.subscriptions.replays import NewReplay, ReplayCount

from .pacing import EndpointKey
from .selection import Selected

# Of a count, the hooks with the most deliveries.
_HOOKS_KEPT = 1_000


class Counting:
    """Counts what is wanted, by hook and by endpoint."""

    def __init__(self, table: SubscriptionTable) -> None:
        """Start at zero; `table` knows the rate limits of the hooks."""
        self._table = table
        self._hooks: Counter[HookId] = Counter()
        self._endpoints: Counter[EndpointKey] = Counter()
        self._limits: dict[HookId, float] = {}

    def add(self, wanted: Sequence[Selected]) -> None:
        """Count deliveries."""
        for each in wanted:
            delivery = each.delivery
            self._hooks[delivery.hook_id] += 1
            self._endpoints[each.endpoint] += 1
            row = self._table.get(delivery.client, delivery.event)
            if row is not None and row.rate_limit_per_s is not None:
                self._limits[delivery.hook_id] = row.rate_limit_per_s

    def result(self, asked: NewReplay) -> ReplayCount:
        """What was counted, with an estimate for the rates that were asked for."""
        deliveries = self._hooks.total()
        busiest = max(self._endpoints.values(), default=0)
        limited = max((self._hooks[hook] / rate for hook, rate in self._limits.items()), default=0.0)
        estimate_s = max(deliveries / asked.rate_per_s, busiest / asked.endpoint_rate_per_s, limited)
        return ReplayCount(
            deliveries=deliveries,
            hooks=dict(self._hooks.most_common(_HOOKS_KEPT)),
            hook_count=len(self._hooks),
            estimate_s=estimate_s,
        )
