"""Operators' settings for one endpoint: absolute, so that a restart repeats nothing and compaction loses nothing."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from .event import ClientId
from .ids import is_id

DIGEST_BYTES = 8
MAX_ENDPOINT_ID_CHARS = 3060 + 17  # twelve for a character of four bytes, and the digest
_ENDPOINT_ID = re.compile(r"([A-Za-z0-9._~-]{1,4000})-([0-9a-f]{16})", re.ASCII)
# What stands before a byte of a client in an endpoint's name; `%` would be decoded on its way in a URL.
_ESCAPE = "~"
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedDelivery:
    """One delivery that goes to the dead letters, with who said so, why, and when (the brokers' time).

    One that is resent from there later is pending since then, and is not meant.
    """

    delivery_id: str
    at_ms: int
    asked_by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSettings:
    """Everything that operators want of one endpoint (client, target) at present; each row replaces the one before.

    `target_digest` stands for the target, whose URL may carry a secret. `paused`: nothing is sent. `skip_before_ms`
    (source append time): what is pending since earlier goes to the dead letters. `skipped`: single deliveries that do.
    `retry_at_ms`: when an operator last asked to try at once; a worker remembers the last one it followed. `asked_by`
    and `reason` are the last change's, `drained_by` and `drain_reason` those of `skip_before_ms`. A higher `revision`
    is later.
    """

    client: ClientId
    target_digest: bytes
    paused: bool = False
    skip_before_ms: int = 0
    retry_at_ms: int = 0
    skipped: tuple[SkippedDelivery, ...] = ()
    asked_by: str = ""
    reason: str = ""
    drained_by: str = ""
    drain_reason: str = ""
    revision: int = 0

    @property
    def endpoint(self) -> str:
        """The endpoint's name wherever people and programs name it."""
        return endpoint_id(self.client, self.target_digest)

    def why_skipped(self, delivery_id: str) -> str:
        """Who wanted a delivery in the dead letters, and why, in one line."""
        for skip in self.skipped:
            if skip.delivery_id == delivery_id:
                return f"skipped by {skip.asked_by}: {skip.reason}"
        return f"drained by {self.drained_by}: {self.drain_reason}"

    @property
    def key(self) -> bytes:
        """Kafka key: the endpoint."""
        return f"{self.client}|{self.target_digest.hex()}".encode()


def endpoint_id(client: ClientId, digest: bytes) -> str:
    """The name of an endpoint, `<client>-<hex digits of the target's digest>`.

    It stands in paths of URLs as it is: of the client, bytes other than letters, digits, `.`, `_` and `-` are written
    as `~` and two hexadecimal digits.
    """
    return f"{client if client.isdigit() and client.isascii() else _escaped(client)}-{digest.hex()}"


def parse_endpoint_id(text: str) -> tuple[ClientId, bytes] | None:
    """Client and target digest of an endpoint's name, None where it is none."""
    found = _ENDPOINT_ID.fullmatch(text)
    if found is None:
        return None
    try:
        client = ClientId(_unescaped(found[1]))
    except ValueError:
        return None
    digest = bytes.fromhex(found[2])
    return (client, digest) if is_id(client) and endpoint_id(client, digest) == text else None


def _escaped(text: str) -> str:
    return "".join(chr(byte) if chr(byte) in _PLAIN else f"{_ESCAPE}{byte:02X}" for byte in text.encode())


def _unescaped(text: str) -> str:
    """Give the text back.

    Raises:
        ValueError: it is none that was escaped.
    """
    first, *rest = text.split(_ESCAPE)
    return b"".join([first.encode(), *(bytes.fromhex(part[:2]) + part[2:].encode() for part in rest)]).decode()


def target_digest(target: str) -> bytes:
    """Eight bytes that stand for a target wherever its URL, which may carry a secret in its query, has no place."""
    return hashlib.blake2b(target.encode(), digest_size=DIGEST_BYTES).digest()
