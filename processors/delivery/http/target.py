"""A target as requests need it: where to connect, and the bytes that every request to it starts with.

Source: RFC 9112 section 3.2 (request target, host header).
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from hookstream.subscriptions.target_url import TargetUrl, parse_target_url


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes. `origin` names its connections; `head` ends where the content length follows."""

    url: TargetUrl
    origin: str
    head: bytes


def target_of(url: TargetUrl) -> Target:
    """Prepare what all requests to a URL have in common."""
    head = f"POST {url.location} HTTP/1.1\r\nhost: {url.host_header}\r\ncontent-length: "
    return Target(url, url.origin, head.encode("ascii"))


def parse_target(text: str) -> Target:
    """Read a URL and prepare requests to it.

    Raises:
        InvalidTargetError: it is none that deliveries can be sent to.
    """
    return target_of(parse_target_url(text))


def host_shown(url: str) -> str:
    """Return the host of a target, for logs and traces; empty where it is no target. Never raises."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
