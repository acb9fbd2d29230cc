"""Which targets a deployment allows: asked when a hook is registered, and again whenever a worker sends to one."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Protocol

from .errors import InvalidTargetError
from .target_url import IpAddress, Target, TargetUrl, parse_target_url

_LOOPBACK = ipaddress.IPv4Address("127.0.0.1")


class AddressPredicate(Protocol):
    """Which addresses a delivery may connect to; the address guard of the delivery worker."""

    def permits(self, ip: IpAddress, /) -> bool:
        """Whether a connection to the address may be made."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetPolicy:
    """What this deployment accepts as a target; no ports mean any."""

    addresses: AddressPredicate
    require_https: bool = False
    ports: frozenset[int] = frozenset()

    def check(self, url: TargetUrl) -> None:
        """Refuse a target that deliveries may not be sent to; the addresses of a name are vetted when it is resolved.

        Raises:
            InvalidTargetError: with the reason, and without the URL.
        """
        if self.require_https and not url.secure:
            raise InvalidTargetError("must be an https:// URL")
        if self.ports and url.port not in self.ports:
            allowed = ", ".join(map(str, sorted(self.ports)))
            raise InvalidTargetError(f"must have one of the ports that are allowed here: {allowed}")
        address = url.address
        if address is None and (url.host == "localhost" or url.host.endswith(".localhost")):
            address = _LOOPBACK  # RFC 6761: always
        if address is not None and not self.addresses.permits(address):
            raise InvalidTargetError("has an address in a private, special or forbidden range")


def normalise_target(text: str, policy: TargetPolicy) -> Target:
    """Check that deliveries can and may go there, and give the URL in its one form.

    Raises:
        InvalidTargetError: with the reason, and without the URL, whose query may hold a secret.
    """
    url = parse_target_url(text)
    policy.check(url)
    return url.text
