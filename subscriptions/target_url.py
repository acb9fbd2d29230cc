"""Which URLs a hook may have, and the one form in which each is kept. Pure: nothing is resolved here.

Every odd spelling of a host is either brought to its plain form, so that the address check sees what a connection
would reach, or refused. Names are resolved, and their addresses vetted, when a delivery connects.

Source: RFC 3986; WHATWG URL, "host parsing" (what browsers and many clients make of `http://0x7f.1/`); UTS 46.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import NewType, Protocol, TypeAlias
from urllib.parse import quote, urlsplit

import idna

from .errors import InvalidTargetError

Target = NewType("Target", str)
"""A normalised URL: scheme and host in lower case, host plain, default port left out, path never empty, ASCII."""

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_TARGET_CHARS = 2048
_MAX_HOST_CHARS = 253
_MAX_PORT = 65535
_IPV4_PARTS = 4
_OCTET = 256
_DEFAULT_PORTS = {"http": 80, "https": 443}
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?]*)(?P<rest>.*)", re.DOTALL)
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]*))?")
_PORT = re.compile(r"[0-9]{1,5}")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
# What RFC 3986 allows in a path or query, and `%`: what is escaped stays as it is.
_KEPT = "/?:@!$&'()*+,;=-._~%"
_LOOPBACK = ipaddress.IPv4Address("127.0.0.1")


class AddressPredicate(Protocol):
    """Which addresses a delivery may connect to; the address guard of the delivery worker."""

    def permits(self, ip: IpAddress, /) -> bool:
        """Whether a connection to the address may be made."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetPolicy:
    """What this deployment accepts as a target."""

    addresses: AddressPredicate
    require_https: bool = False


def normalise_target(text: str, policy: TargetPolicy) -> Target:
    """Prove that deliveries can and may go there, and give the URL in its one form.

    Raises:
        InvalidTargetError: with the reason, and without the URL, whose query may hold a secret.
    """
    _check_text(text)
    match = _URL.fullmatch(text)
    scheme = match["scheme"].lower() if match else ""
    if match is None or scheme not in _DEFAULT_PORTS:
        raise InvalidTargetError("must be an absolute http:// or https:// URL")
    if policy.require_https and scheme != "https":
        raise InvalidTargetError("must be an https:// URL")
    if "@" in match["authority"]:
        raise InvalidTargetError("must not hold a user name or password")
    authority = _AUTHORITY.fullmatch(match["authority"])
    if authority is None:
        raise InvalidTargetError("has no valid host")
    host = _host(authority["host"], policy.addresses)
    port = _port(authority["port"], _DEFAULT_PORTS[scheme])
    target = f"{scheme}://{host}{port}{_rest(match['rest'])}"
    if len(target) > MAX_TARGET_CHARS:
        raise InvalidTargetError(f"must not be longer than {MAX_TARGET_CHARS} characters, escapes included")
    _check_agreement(target, host)
    return Target(target)


def _check_text(text: str) -> None:
    if len(text) > MAX_TARGET_CHARS:
        raise InvalidTargetError(f"must not be longer than {MAX_TARGET_CHARS} characters")
    if any(char <= " " or "\x7f" <= char <= "\xa0" or char.isspace() or not _encodable(char) for char in text):
        raise InvalidTargetError("must not hold spaces or control characters")
    if "\\" in text:
        raise InvalidTargetError("must not hold a backslash")
    if "#" in text:
        raise InvalidTargetError("must not hold a fragment")


def _encodable(char: str) -> bool:
    return not "\ud800" <= char <= "\udfff"


def _port(text: str | None, default: int) -> str:
    if not text:
        return ""
    if not _PORT.fullmatch(text) or not 1 <= int(text) <= _MAX_PORT:
        raise InvalidTargetError(f"must have a port from 1 to {_MAX_PORT}")
    return "" if int(text) == default else f":{int(text)}"


def _rest(rest: str) -> str:
    path = rest if rest.startswith("/") else f"/{rest}"
    return quote(path, safe=_KEPT)


def _host(text: str, addresses: AddressPredicate) -> str:
    """The host in its plain form; an address, in whatever spelling, only where the predicate permits it."""
    if text.startswith("["):
        address = _ipv6(text[1:-1])
        _vet(address, addresses)
        return f"[{address.compressed}]"
    name = _name(text)
    literal = _ipv4(name)
    if literal is not None:
        _vet(literal, addresses)
        return str(literal)
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761: always loopback
        _vet(_LOOPBACK, addresses)
    return name


def _vet(address: IpAddress, addresses: AddressPredicate) -> None:
    if not addresses.permits(address):
        raise InvalidTargetError("has an address in a private or special range")


def _ipv6(text: str) -> ipaddress.IPv6Address:
    try:
        if "%" in text:
            raise ValueError
        return ipaddress.IPv6Address(text)
    except ValueError:
        raise InvalidTargetError("has no valid IPv6 address between its brackets") from None


def _name(text: str) -> str:
    """A host name in ASCII, lower case, without the dot that ends it."""
    try:
        name = text.lower() if text.isascii() else idna.encode(text, uts46=True, std3_rules=True).decode()
    except (idna.IDNAError, UnicodeError):
        raise InvalidTargetError("has a host name that cannot be encoded (IDNA)") from None
    name = name.lower().removesuffix(".")
    if not name:
        raise InvalidTargetError("has no host")
    if len(name) > _MAX_HOST_CHARS or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise InvalidTargetError("has a host name that is not valid")
    for label in name.split("."):
        _check_punycode(label)
    return name


def _check_punycode(label: str) -> None:
    """`xn--` labels are decoded by some clients: one that is not valid IDNA must not reach them."""
    if label.startswith("xn--"):
        try:
            idna.decode(label)
        except (idna.IDNAError, UnicodeError):
            raise InvalidTargetError("has a host name that cannot be decoded (IDNA)") from None


def _ipv4(name: str) -> ipaddress.IPv4Address | None:
    """The address that a name spells in decimal, octal or hex, in one to four parts; None where it is a name.

    Raises:
        InvalidTargetError: it ends in a number, as only addresses do, and is none.
    """
    labels = name.split(".")
    if not _NUMBER.fullmatch(labels[-1]):
        return None
    try:
        *high, low = [_number(label) for label in labels]
        if len(labels) > _IPV4_PARTS or any(part >= _OCTET for part in high):
            raise ValueError
        if low >= _OCTET ** (_IPV4_PARTS - len(high)):
            raise ValueError
    except ValueError:
        raise InvalidTargetError("has a host that ends in a number and is no IPv4 address") from None
    return ipaddress.IPv4Address(sum(part << (24 - 8 * index) for index, part in enumerate(high)) + low)


def _number(label: str) -> int:
    if label[:2] == "0x":
        return int(label[2:] or "0", 16)
    if label.startswith("0") and len(label) > 1:
        return int(label, 8)
    return int(label)


def _check_agreement(target: str, host: str) -> None:
    """The parser that the rest of the code uses sees the host that was vetted."""
    parts = urlsplit(target)
    if parts.hostname != host.strip("[]") or parts.username is not None or parts.fragment:
        raise InvalidTargetError("is read differently by different clients")
