"""The target URL, parsed once: where to connect and the bytes every request to it starts with.

Hosts are written in many ways (`0x7f.1`, `017700000001`, full-width digits, `127%2e0.0.1`, `EXAMPLE.com.`); each is
brought to the one form that the address guard judges, the socket connects to and the certificate is compared with, so
that no two of them can read it differently. What has no such form is refused.

Source: WHATWG URL, "host parsing" and "ends in a number checker"; RFC 9112 section 3.2 (host header).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote, unquote_to_bytes, urlsplit

import idna

from .errors import TargetCredentialsError, TargetError

MAX_URL_CHARACTERS = 2048
_DEFAULT_PORTS = {"http": 80, "https": 443}
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(\?[^#]*)?(?:#.*)?")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")  # a backslash is a slash to browsers and a name to others
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_AS_IT_IS = "!$%&'()*+,-./:;=?@[]_~"  # characters of path and query that are not percent-encoded (again)
_MAX_HOST_CHARACTERS = 253
_IPV4_PARTS = 4


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Target:
    """Where a request goes. `origin` names the connection pool; `head` ends where the content length follows.

    `host` is a normalised name or address without brackets; `address` is set when it is an address.
    """

    origin: str
    secure: bool
    host: str
    port: int
    address: IPv4Address | IPv6Address | None
    head: bytes

    def __repr__(self) -> str:
        """Leave path and query out: they may hold a secret."""
        return f"Target({self.origin})"

    @property
    def authority(self) -> str:
        """`host:port`, with brackets around an IPv6 address: what CONNECT asks for."""
        return f"{_bracketed(self.host)}:{self.port}"


def parse_target(url: str) -> Target:
    """Parse a target URL; pure, no lookup.

    Raises:
        TargetCredentialsError: user or password in the URL.
        TargetError: anything else that is not an http or https URL of at most 2,048 characters with a usable host.
    """
    match = _URL.fullmatch(url) if len(url) <= MAX_URL_CHARACTERS and not _FORBIDDEN.search(url) else None
    if match is None:
        raise TargetError(
            f"the target is not a URL of at most {MAX_URL_CHARACTERS} characters without spaces or backslashes"
        )
    scheme, authority, path, query = match[1].lower(), match[2], match[3] or "/", match[4] or ""
    if scheme not in _DEFAULT_PORTS:
        raise TargetError("the target's scheme is neither http nor https")
    if "@" in authority:
        raise TargetCredentialsError("the target holds credentials")
    host, address, port_digits = _split_authority(authority)
    port = _parse_port(port_digits) if port_digits else _DEFAULT_PORTS[scheme]
    shown = _bracketed(host) if port == _DEFAULT_PORTS[scheme] else f"{_bracketed(host)}:{port}"
    try:
        location = quote(path + query, safe=_AS_IT_IS)
    except UnicodeError as error:  # a lone surrogate
        raise TargetError("the target's path is not Unicode") from error
    return Target(
        origin=f"{scheme}://{_bracketed(host)}:{port}",
        secure=scheme == "https",
        host=host,
        port=port,
        address=address,
        head=f"POST {location} HTTP/1.1\r\nhost: {shown}\r\ncontent-length: ".encode("ascii"),
    )


def host_shown(url: str) -> str:
    """Return the host of a target, for logs and traces; empty where it is no target. Never raises."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _split_authority(authority: str) -> tuple[str, IPv4Address | IPv6Address | None, str]:
    """Split into normalised host, its address if it is one, and the digits of the port."""
    if authority.startswith("["):
        literal, bracket, rest = authority[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise TargetError("the target's host is not a bracketed IPv6 address")
        address = _parse_ipv6(literal)
        return str(address), address, rest[1:]
    name, _, port = authority.partition(":")
    host, ipv4 = normalise_host(name)
    return host, ipv4, port


def _parse_ipv6(literal: str) -> IPv6Address:
    if "%" in literal:
        raise TargetError("the target's address has a zone, which means nothing outside its machine")
    try:
        return IPv6Address(literal)
    except ValueError as error:
        raise TargetError("the target's host is not an IPv6 address") from error


def _parse_port(digits: str) -> int:
    port = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= len("65535") else 0
    if not 1 <= port <= 65535:  # noqa: PLR2004 (what a port is)
        raise TargetError("the target's port is not between 1 and 65535")
    return port


def normalise_host(name: str) -> tuple[str, IPv4Address | None]:
    """Bring a host name to its one form: decoded, mapped, lower case, ASCII, no trailing dot, IPv4 in dotted decimal.

    Raises:
        TargetError: neither a name that DNS can hold nor an IPv4 address.
    """
    try:
        host = unquote_to_bytes(name).decode("utf-8").lower()
        if not host.isascii():
            host = idna.encode(host, uts46=True).decode("ascii").lower()
    except (UnicodeError, idna.IDNAError) as error:
        raise TargetError("the target's host is not an internationalised name") from error
    host = host.removesuffix(".")
    labels = host.split(".")
    if len(host) > _MAX_HOST_CHARACTERS or not all(_LABEL.fullmatch(label) for label in labels):
        raise TargetError("the target's host is not a host name")
    if not _NUMBER.fullmatch(labels[-1]):
        return host, None
    address = _parse_ipv4(labels)
    return str(address), address


def _parse_ipv4(parts: list[str]) -> IPv4Address:
    """Read an IPv4 address as the C library does: one to four parts, each decimal, octal or hexadecimal."""
    try:
        numbers = [_parse_number(part) for part in parts]
        *leading, last = numbers
        if len(parts) > _IPV4_PARTS or any(number > 255 for number in leading):  # noqa: PLR2004 (a byte)
            raise ValueError
        if last >= 256 ** (_IPV4_PARTS - len(leading)):
            raise ValueError
    except ValueError as error:
        raise TargetError("the target's host ends in a number but is no IPv4 address") from error
    return IPv4Address(last + sum(number << 8 * (3 - place) for place, number in enumerate(leading)))


def _parse_number(part: str) -> int:
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    if not part.isdigit():
        raise ValueError
    return int(part, 8 if part.startswith("0") else 10)
