"""The hooks, endpoints and clients of which a partition's engine holds something: finding, making, forgetting them."""

from __future__ import annotations

from collections.abc import Callable

from .hook_table import HookTable
from .model import Backlog, Client, Dispatches, Endpoint, TrackedHook
from .policy import EnginePolicy

# Of one client: a hook that is moved back finds its endpoint as it was, and one that is moved all the time leaves few.
_KEPT_WITHOUT_HOOKS = 32


class TrackedHooks:
    """Every hook that is tracked, with the endpoint that serves it. Both streams share them."""

    def __init__(
        self, *, policy: EnginePolicy, table: HookTable, dispatches: Dispatches, random: Callable[[], float]
    ) -> None:
        """Start with nothing known of any hook; `dispatches` is the engine that serves the endpoints."""
        self.table = table
        self.hooks: dict[int, TrackedHook] = {}
        self.of_key: dict[tuple[str, str], dict[int, TrackedHook]] = {}
        self.endpoints: dict[tuple[str, str], Endpoint] = {}
        self.clients: dict[str, Client] = {}
        self.preparations: list[Callable[[Endpoint], None]] = []  # what a new endpoint inherits: health, settings
        self._policy = policy
        self._dispatches = dispatches
        self._random = random

    def hook(self, hook_id: int, subscription_key: tuple[str, str]) -> TrackedHook:
        """Return what is held of a hook, made on first use from the table's row."""
        hook = self.hooks.get(hook_id)
        if hook is None:
            hook = self.hooks[hook_id] = TrackedHook(hook_id, subscription_key, (Backlog(), Backlog()))
            self.of_key.setdefault(subscription_key, {})[hook_id] = hook
            row = hook.newest_row = self.table.get(*subscription_key)
            if row is not None and row.id == hook_id:
                hook.row = row
                self.attach(hook, self.endpoint(subscription_key[0], row.target))
        return hook

    def endpoint(self, client_id: str, target: str) -> Endpoint:
        """Return an endpoint, made on first use."""
        key = (client_id, target)
        endpoint = self.endpoints.get(key)
        if endpoint is None:
            client = self.clients.get(client_id)
            if client is None:
                client = self.clients[client_id] = Client()
            endpoint = Endpoint(self._dispatches, client_id, target, client, self._policy, self._random)
            self.endpoints[key] = endpoint
            for prepare in self.preparations:
                prepare(endpoint)
        return endpoint

    def attach(self, hook: TrackedHook, endpoint: Endpoint) -> None:
        """Serve a hook at an endpoint."""
        if hook.endpoint is not None:
            left = hook.endpoint
            left.hooks.pop(hook.id, None)
            if not left.hooks:
                left.client.blocked.pop(left, None)  # or a client that is retargeted all the time would keep them all
        hook.endpoint = endpoint
        endpoint.hooks[hook.id] = hook

    def forget_idle(self, now: float) -> None:
        """Drop hooks and endpoints of which nothing has to be remembered."""
        self._forget_idle_hooks()
        self._forget_idle_endpoints(now)
        for client_id in self.clients.keys() - {endpoint.client_id for endpoint in self.endpoints.values()}:
            del self.clients[client_id]

    def _forget_idle_hooks(self) -> None:
        for hook in list(self.hooks.values()):
            idle = not hook.in_flight and hook.disabled_under is None and not hook.throttled
            if idle and all(backlog.empty for backlog in hook.backlogs):
                del self.hooks[hook.id]
                of_key = self.of_key[hook.subscription_key]
                del of_key[hook.id]
                if not of_key:
                    del self.of_key[hook.subscription_key]
                if hook.endpoint is not None:
                    hook.endpoint.hooks.pop(hook.id, None)

    def _forget_idle_endpoints(self, now: float) -> None:
        left: dict[str, list[Endpoint]] = {}
        for endpoint in list(self.endpoints.values()):
            if endpoint.hooks or endpoint.lanes or endpoint.in_flight or any(endpoint.dispatched):
                continue
            if endpoint.health.unremarkable(now) and endpoint.told.empty and not any(endpoint.from_backlog):
                self._forget(endpoint)
            else:
                left.setdefault(endpoint.client_id, []).append(endpoint)
        for endpoints in left.values():
            for endpoint in endpoints[:-_KEPT_WITHOUT_HOOKS]:
                self._forget(endpoint)

    def _forget(self, endpoint: Endpoint) -> None:
        del self.endpoints[endpoint.client_id, endpoint.target]
        endpoint.client.blocked.pop(endpoint, None)
