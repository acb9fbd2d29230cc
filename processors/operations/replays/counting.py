"""What a replay would send, and how long it would take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from hookstream.processors.tables.subscription_table import SubscriptionTable
from hookstream.schemas.hook import HookId
from hookstream.subscriptions.replays import NewReplay, ReplayCount

from .pacing import EndpointKey
from .selection import Counted

# Of a count, the hooks with the most deliveries.
_HOOKS_KEPT = 1_000


class Counting:
    """Counts what is wanted, by hook and by endpoint."""

    def __init__(self, table: SubscriptionTable) -> None:
        """Start at zero; `table` knows the targets and the rate limits of the hooks."""
        self._table = table
        self._found: Counter[Counted] = Counter()

    def add(self, wanted: Iterable[Counted]) -> None:
        """Count deliveries."""
        self._found.update(wanted)

    def result(self, asked: NewReplay) -> ReplayCount:
        """What was counted, with an estimate for the rates that were asked for."""
        hooks: Counter[HookId] = Counter()
        endpoints: Counter[EndpointKey] = Counter()
        limited = 0.0
        for (client, event, hook_id), count in self._found.items():
            row = self._table.get(client, event)
            hooks[hook_id] += count
            endpoints[client, "" if row is None else row.target] += count
            if row is not None and row.rate_limit_per_s is not None:
                limited = max(limited, count / row.rate_limit_per_s)
        deliveries = hooks.total()
        busiest = max(endpoints.values(), default=0)
        estimate_s = max(deliveries / asked.rate_per_s, busiest / asked.endpoint_rate_per_s, limited)
        return ReplayCount(
            deliveries=deliveries,
            hooks=dict(hooks.most_common(_HOOKS_KEPT)),
            hook_count=len(hooks),
            estimate_s=estimate_s,
        )
