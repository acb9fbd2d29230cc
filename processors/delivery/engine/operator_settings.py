"""Following endpoint settings: pause, skip, try now."""

from __future__ import annotations

from typing import Protocol

from hookstream.schemas.control import EndpointSettings, target_digest

from .isolation import Isolation
from .ledger import Ledger
from .model import Endpoint
from .probes import Probes

# A retry that was asked for longer ago than this is not followed.
_RETRY_KEPT_MS = 24 * 3600 * 1000


class SettingsTable(Protocol):
    """The worker's copy of the `control` topic."""

    def get(self, client: str, target_digest: bytes) -> EndpointSettings | None:
        """Return the present settings for an endpoint."""
        ...


class OperatorSettings:
    """Applies settings to endpoints. Each is absolute: applying it twice changes nothing."""

    def __init__(self, ledger: Ledger, isolation: Isolation, probes: Probes, table: SettingsTable | None) -> None:
        """Work on a ledger; an endpoint is given its settings when it is made."""
        self._ledger = ledger
        self._isolation = isolation
        self._probes = probes
        self._table = table
        if table is not None:
            ledger.tracked.preparations.append(self.follow)

    def changed(self, client: str, digest: bytes) -> None:
        """Follow settings that have just changed in the table."""
        for endpoint in list(self._ledger.tracked.endpoints.values()):
            if endpoint.client_id == client and target_digest(endpoint.target) == digest:
                self.follow(endpoint)

    def follow(self, endpoint: Endpoint) -> None:
        """Apply the present settings to an endpoint."""
        if self._table is None:
            return
        wanted = self._table.get(endpoint.client_id, target_digest(endpoint.target))
        if wanted is None:
            return
        health, ledger = endpoint.health, self._ledger
        endpoint.skips.drained_before_ms = max(endpoint.skips.drained_before_ms, wanted.skip_before_ms)
        self._skip_single(endpoint, wanted)
        if wanted.retry_at_ms > max(health.retried_at_ms, ledger.wall_ms - _RETRY_KEPT_MS):
            health.retried_at_ms = wanted.retry_at_ms
            self._try_now(endpoint)
        if wanted.paused:
            health.paused = True
            self._isolation.serve_from_backlog(endpoint, breaker_open=False)
        elif health.paused:
            health.paused = False
            ledger.touched[endpoint] = None
            if health.breaker_open:
                self._probes.wait_for_next(endpoint)
        ledger.changes += 1
        ledger.ready.wake_lanes(endpoint)

    def forget_old(self) -> None:
        """Forget retries that are too old to be followed again."""
        oldest_ms = self._ledger.wall_ms - _RETRY_KEPT_MS
        for endpoint in self._ledger.tracked.endpoints.values():
            if 0 < endpoint.health.retried_at_ms < oldest_ms:
                endpoint.health.retried_at_ms = 0
                self._ledger.changes += 1

    def _skip_single(self, endpoint: Endpoint, wanted: EndpointSettings) -> None:
        """Take over which single deliveries are skipped; catch-up then looks at the first record of each cursor."""
        skipped = {skip.delivery_id: skip.at_ms for skip in wanted.skipped}
        if skipped == endpoint.skips.single:
            return
        endpoint.skips.single = skipped
        for hook in endpoint.hooks.values():
            for backlog in hook.backlogs:
                for cursor in backlog.cursors():
                    cursor.first_may_be_skipped = True

    def _try_now(self, endpoint: Endpoint) -> None:
        """Make everything due now: the endpoint, its next probe, and its resources."""
        health, now = endpoint.health, self._ledger.now
        health.retry_after_until = 0.0
        health.probe_times.due = min(health.probe_times.due, now)
        for hook in endpoint.hooks.values():
            for backlog in hook.backlogs:
                for resource, clock in backlog.clocks.items():
                    backlog.clocks[resource] = clock.due_at(min(clock.due, now))
        self._ledger.touched[endpoint] = None
