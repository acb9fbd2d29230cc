"""Which addresses a target may have: those of the public internet and those an operator allows, but none he denies.

Refused is every block of the two IANA special-purpose registries, whether or not the registry calls it globally
reachable (no integrator's endpoint lives in an anycast relay or an AS112 sink), all multicast, and every IPv6 address
outside 2000::/3, the only space ever allocated for global unicast. That last rule covers what has no entry of its own:
IPv4-compatible (::/96), IPv4-translated (::ffff:0:0:0/96), site-local (fec0::/10) and whatever is assigned next.

Addresses that stand for an IPv4 address:
- IPv4-mapped (::ffff:0:0/96) is that IPv4 address, judged and connected to as such;
- NAT64's well-known prefix (64:ff9b::/96) is judged by the IPv4 address in it: behind DNS64 every IPv4-only host
  resolves to it;
- NAT64's local-use prefix (64:ff9b:1::/48), 6to4 (2002::/16) and Teredo (2001::/32) are refused whole. The position of
  the IPv4 address in the first depends on the local network, and no webhooks are served behind the other two.

Source: IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890 and successors); RFC 6052; RFC 4291.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from .errors import BlockedAddressError

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

BLOCKED_IPV4 = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",  # this network; 0.0.0.0 reaches the machine itself
        "10.0.0.0/8",  # private use
        "100.64.0.0/10",  # shared address space of carrier-grade NAT, and some clouds' metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # not in the registry: the platform address inside every Azure machine
        "169.254.0.0/16",  # link-local, most clouds' metadata
        "172.16.0.0/12",  # private use
        "192.0.0.0/24",  # IETF protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # automatic multicast tunnelling
        "192.88.99.0/24",  # 6to4 relays, deprecated
        "192.168.0.0/16",  # private use
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, limited broadcast
    )
)
GLOBAL_UNICAST_IPV6 = IPv6Network("2000::/3")
BLOCKED_IPV6 = tuple(
    IPv6Network(block)
    for block in (
        "2001::/23",  # IETF protocol assignments: Teredo, benchmarking, ORCHID, AS112, anycast services
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
NAT64 = IPv6Network("64:ff9b::/96")


class AddressGuard:
    """Judges addresses. No I/O: resolving is the caller's."""

    def __init__(self, allowed_networks: Iterable[IPNetwork] = (), denied_networks: Iterable[IPNetwork] = ()) -> None:
        """Take the operator's exemptions, and what is refused whatever else allows it.

        An IPv4 network also means the IPv4-mapped and NAT64 forms of its addresses.
        """
        self._allowed = tuple(allowed_networks)
        self._denied = tuple(denied_networks)

    def permits(self, address: IPAddress) -> bool:
        """Whether a connection to the address may be made."""
        address = unmapped(address)
        if self._denies(address):
            return False
        if any(address in network for network in self._allowed):
            return True
        if isinstance(address, IPv4Address):
            return not any(address in block for block in BLOCKED_IPV4)
        if address in NAT64:
            return self.permits(translated(address))
        return address in GLOBAL_UNICAST_IPV6 and not any(address in block for block in BLOCKED_IPV6)

    def vet(self, addresses: Iterable[str]) -> tuple[IPAddress, ...]:
        """Return the addresses to connect to, in the order given.

        One blocked address refuses the host, even beside permitted ones: a public name that also points inside is a
        mistake or an attack, and to use the rest would make the outcome depend on the order of a DNS answer.

        Raises:
            BlockedAddressError: one of them is not permitted, or is no address at all.
        """
        vetted = []
        for text in addresses:
            try:
                address = unmapped(ip_address(text))
            except ValueError as error:
                raise BlockedAddressError("the resolver answered with something that is no address") from error
            if not self.permits(address):
                raise BlockedAddressError(f"the target's address {address} is not one that targets may have")
            vetted.append(address)
        return tuple(vetted)

    def _denies(self, address: IPAddress) -> bool:
        if any(address in network for network in self._denied):
            return True
        return isinstance(address, IPv6Address) and address in NAT64 and self._denies(translated(address))


def translated(address: IPv6Address) -> IPv4Address:
    """Return the IPv4 address that an address of NAT64's well-known prefix stands for."""
    return IPv4Address(int(address) & 0xFFFF_FFFF)


def unmapped(address: IPAddress) -> IPAddress:
    """Return the IPv4 address that an IPv4-mapped IPv6 address is, and any other address as it is."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
