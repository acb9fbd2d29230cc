"""The operator's rules for targets, one value for the API that registers them and for the worker that sends to them."""

from __future__ import annotations

from dataclasses import dataclass

from hookstream.subscriptions.target_policy import TargetPolicy

from .address_guard import AddressGuard, IPNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRules:
    """What deliveries may be sent to, beside the addresses of the public internet; no ports mean any."""

    allowed_networks: tuple[IPNetwork, ...] = ()
    denied_networks: tuple[IPNetwork, ...] = ()
    allowed_ports: frozenset[int] = frozenset()
    require_https: bool = False

    def guard(self) -> AddressGuard:
        """Judge addresses by them."""
        return AddressGuard(self.allowed_networks, self.denied_networks)

    def policy(self) -> TargetPolicy:
        """Judge URLs by them."""
        return TargetPolicy(addresses=self.guard(), require_https=self.require_https, ports=self.allowed_ports)
