"""No target reaches inside: every special-purpose address is refused, however it is written or wrapped."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookstream.processors.delivery.http.address_guard import AddressGuard, IPAddress
from hookstream.processors.delivery.http.errors import BlockedAddressError

# Transcribed from the IANA registries of special-purpose addresses, apart from the table in the code.
REGISTRY_IPV4 = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.0.0/29",
    "192.0.0.8/32",
    "192.0.0.9/32",
    "192.0.0.10/32",
    "192.0.0.170/32",
    "192.0.0.171/32",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "240.0.0.0/4",
    "255.255.255.255/32",
    "224.0.0.0/4",
]
REGISTRY_IPV6 = [
    "::1/128",
    "::/128",
    "64:ff9b:1::/48",
    "100::/64",
    "100:0:0:1::/64",
    "2001::/23",
    "2001::/32",
    "2001:1::1/128",
    "2001:1::2/128",
    "2001:1::3/128",
    "2001:2::/48",
    "2001:3::/32",
    "2001:4:112::/48",
    "2001:10::/28",
    "2001:20::/28",
    "2001:30::/28",
    "2001:db8::/32",
    "2002::/16",
    "2620:4f:8000::/48",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
    "::/96",
    "::ffff:0:0:0/96",
]
GUARD = AddressGuard()


def inside(network: IPv4Network | IPv6Network) -> st.SearchStrategy[IPAddress]:
    """Any address of a block, its ends first."""
    first, last = int(network.network_address), int(network.broadcast_address)
    make = IPv4Address if network.version == 4 else IPv6Address
    return st.one_of(st.sampled_from([first, last]), st.integers(first, last)).map(make)


BLOCKED_IPV4 = st.sampled_from(REGISTRY_IPV4).map(IPv4Network).flatmap(inside)
BLOCKED_IPV6 = st.sampled_from(REGISTRY_IPV6).map(IPv6Network).flatmap(inside)


def mapped(address: int) -> IPv6Address:
    return IPv6Address(0xFFFF << 32 | address)


def nat64(address: int) -> IPv6Address:
    return IPv6Address(int(IPv6Address("64:ff9b::")) | address)


@given(BLOCKED_IPV4)
def test_every_special_ipv4_address_is_refused_in_every_form(address: IPAddress) -> None:
    assert not GUARD.permits(address)
    assert not GUARD.permits(mapped(int(address)))
    assert not GUARD.permits(nat64(int(address)))
    assert not GUARD.permits(IPv6Address(int(address)))  # IPv4-compatible
    assert not GUARD.permits(IPv6Address(0xFFFF << 48 | int(address)))  # IPv4-translated
    assert not GUARD.permits(IPv6Address(0x2002 << 112 | int(address) << 80 | 1))  # 6to4
    assert not GUARD.permits(IPv6Address(0x20010000 << 96 | int(address) ^ 0xFFFF_FFFF))  # Teredo
    assert not GUARD.permits(IPv6Address(int(IPv6Address("64:ff9b:1::")) | int(address)))  # local NAT64


@given(BLOCKED_IPV6)
def test_every_special_ipv6_address_is_refused(address: IPAddress) -> None:
    assert not GUARD.permits(address)


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_no_permitted_ipv4_address_is_other_than_global(address: IPv4Address) -> None:
    if GUARD.permits(address):
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_reserved


@given(st.integers(0, 2**128 - 1).map(IPv6Address))
def test_no_permitted_ipv6_address_is_other_than_global(address: IPv6Address) -> None:
    if GUARD.permits(address):
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_site_local


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
        "128.0.0.0", "168.63.129.15", "169.253.255.255", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255",
        "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", "2001:200::1", "2600::1",
        "2606:4700:4700::1111",
        "2a00:1450:4001:82a::200e", "64:ff9b::808:808", "::ffff:8.8.8.8", "3ffe::1",
    ],
)  # fmt: skip
def test_public_addresses_are_permitted_up_to_the_edges_of_the_blocks(address: str) -> None:
    assert GUARD.permits(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "168.63.129.16",  # Azure
        "169.254.169.254",  # most clouds
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle
        "fd00:ec2::254",  # AWS over IPv6
        "fe80::1%eth0",
        "fe80::1%1",
        "::ffff:127.0.0.1",
        "64:ff9b::a00:1",
        "2002:7f00:1::",
        "4000::1",
    ],
)
def test_metadata_and_zoned_addresses_are_refused(address: str) -> None:
    with pytest.raises(BlockedAddressError):
        GUARD.vet([address])


def test_one_blocked_address_refuses_the_host() -> None:
    for answer in (["8.8.8.8", "127.0.0.1"], ["127.0.0.1", "8.8.8.8"], ["8.8.8.8", "::1"]):
        with pytest.raises(BlockedAddressError):
            GUARD.vet(answer)


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(BlockedAddressError):
        GUARD.vet(["localhost"])


def test_vetted_addresses_keep_their_order_and_lose_their_mapping() -> None:
    assert GUARD.vet(["2600::1", "::ffff:8.8.8.8", "1.1.1.1"]) == (
        ip_address("2600::1"),
        ip_address("8.8.8.8"),
        ip_address("1.1.1.1"),
    )


def test_allowed_networks_are_exempt_and_nothing_beside_them() -> None:
    guard = AddressGuard([ip_network("10.1.0.0/16"), ip_network("fd00:1::/32")])
    for permitted in ("10.1.0.0", "10.1.255.255", "::ffff:10.1.2.3", "64:ff9b::a01:203", "fd00:1::5", "8.8.8.8"):
        assert guard.permits(ip_address(permitted)), permitted
    for refused in ("10.0.255.255", "10.2.0.0", "::ffff:10.2.0.0", "64:ff9b::a02:0", "fd00:2::5", "127.0.0.1"):
        assert not guard.permits(ip_address(refused)), refused


def test_denied_networks_are_refused_whatever_allows_them_and_in_every_form() -> None:
    guard = AddressGuard([ip_network("10.0.0.0/8")], [ip_network("10.1.0.0/16"), ip_network("8.8.0.0/16")])
    for permitted in ("10.2.0.0", "64:ff9b::a02:1", "9.9.9.9", "64:ff9b::909:909"):
        assert guard.permits(ip_address(permitted)), permitted
    for refused in ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203", "8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::808:808"):
        assert not guard.permits(ip_address(refused)), refused
    denied_ipv6 = AddressGuard(denied_networks=[ip_network("2600::/16"), ip_network("64:ff9b::/96")])
    for refused in ("2600::1", "64:ff9b::808:808"):
        assert not denied_ipv6.permits(ip_address(refused)), refused
    assert AddressGuard([ip_network("64:ff9b::/96")], [ip_network("8.8.8.8/32")]).permits(ip_address("64:ff9b::a01:1"))
    with pytest.raises(BlockedAddressError):
        guard.vet(["9.9.9.9", "8.8.8.8"])
