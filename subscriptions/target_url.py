"""The URL of a target: its one reading, for the API that accepts it and for the worker that connects to it.

Every odd spelling of a host is either brought to its plain form, so that the address check sees what a connection
would reach, or refused. Pure: names are resolved, and their addresses vetted, when a delivery connects. Which of these
URLs a deployment allows is another question: `target_policy`.

Source: RFC 3986; WHATWG URL, "host parsing" (what browsers and many clients make of `http://0x7f.1/`); UTS 46.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import NewType, TypeAlias
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


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class TargetUrl:
    """A target, read. `host` is a name or an address without brackets; `address` is set when it is an address.

    `location` is what a request line names: path and query, ASCII, never empty.
    """

    secure: bool
    host: str
    port: int
    address: IpAddress | None
    location: str

    def __repr__(self) -> str:
        """Leave path and query out: they may hold a secret."""
        return f"TargetUrl({self.origin})"

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        return "https" if self.secure else "http"

    @property
    def authority(self) -> str:
        """`host:port`, with brackets around an IPv6 address."""
        return f"{self._bracketed_host}:{self.port}"

    @property
    def origin(self) -> str:
        """Where connections go, the port always shown."""
        return f"{self.scheme}://{self.authority}"

    @property
    def host_header(self) -> str:
        """The authority without a default port, as requests and stored URLs show it."""
        return self._bracketed_host if self.port == _DEFAULT_PORTS[self.scheme] else self.authority

    @property
    def text(self) -> Target:
        """The URL in its one form."""
        return Target(f"{self.scheme}://{self.host_header}{self.location}")

    @property
    def _bracketed_host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def parse_target_url(text: str) -> TargetUrl:
    """Read a URL that deliveries can be sent to.

    Raises:
        InvalidTargetError: with the reason, and without the URL, whose query may hold a secret.
    """
    _check_text(text)
    match = _URL.fullmatch(text)
    scheme = match["scheme"].lower() if match else ""
    if match is None or scheme not in _DEFAULT_PORTS:
        raise InvalidTargetError("must be an absolute http:// or https:// URL")
    if "@" in match["authority"]:
        raise InvalidTargetError("must not hold a user name or password")
    authority = _AUTHORITY.fullmatch(match["authority"])
    if authority is None:
        raise InvalidTargetError("has no valid host")
    host, address = _host(authority["host"])
    url = TargetUrl(
        secure=scheme == "https",
        host=host,
        port=_port(authority["port"], _DEFAULT_PORTS[scheme]),
        address=address,
        location=_location(match["rest"]),
    )
    if len(url.text) > MAX_TARGET_CHARS:
        raise InvalidTargetError(f"must not be longer than {MAX_TARGET_CHARS} characters, escapes included")
    _check_agreement(url)
    return url


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


def _port(text: str | None, default: int) -> int:
    if not text:
        return default
    if not _PORT.fullmatch(text) or not 1 <= int(text) <= _MAX_PORT:
        raise InvalidTargetError(f"must have a port from 1 to {_MAX_PORT}")
    return int(text)


def _location(rest: str) -> str:
    return quote(rest if rest.startswith("/") else f"/{rest}", safe=_KEPT)


def _host(text: str) -> tuple[str, IpAddress | None]:
    """The host in its plain form, and the address that it is, in whatever spelling."""
    address: IpAddress | None
    if text.startswith("["):
        address = _ipv6(text[1:-1])
        return address.compressed, address
    name = _name(text)
    address = _ipv4(name)
    return (name if address is None else str(address)), address


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


def _check_agreement(url: TargetUrl) -> None:
    """The parser of the standard library, which others use, sees the same host."""
    parts = urlsplit(url.text)
    if parts.hostname != url.host or parts.username is not None or parts.fragment:
        raise InvalidTargetError("is read differently by different clients")
