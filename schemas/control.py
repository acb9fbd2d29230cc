"""Operators' settings for one endpoint: absolute, so that a restart repeats nothing and compaction loses nothing."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from .event import ClientId

DIGEST_BYTES = 8
_ENDPOINT_ID = re.compile(r"(0|[1-9][0-9]{0,18})-([0-9a-f]{16})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedDelivery:
    """One delivery that goes to the dead letters, with who said so, why, and when (the brokers' time).

    One that is resent from there later is owed since then, and is not meant.
    """

    delivery_id: str
    at_ms: int
    asked_by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSettings:
    """Everything that operators want of one endpoint (client, target) at present; each row replaces the one before.

    `target_digest` stands for the target, whose URL may carry a secret. `paused`: nothing is sent. `skip_before_ms`
    (source append time): what is owed since earlier goes to the dead letters. `skipped`: single deliveries that do.
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


def endpoint_id(client: int, digest: bytes) -> str:
    """The name of an endpoint, `<client>-<hex digits of the target's digest>`."""
    return f"{client}-{digest.hex()}"


def parse_endpoint_id(text: str) -> tuple[ClientId, bytes] | None:
    """Client and target digest of an endpoint's name, None where it is none."""
    found = _ENDPOINT_ID.fullmatch(text)
    if found is None or int(found[1]) >= 2**63:
        return None
    return ClientId(int(found[1])), bytes.fromhex(found[2])


def target_digest(target: str) -> bytes:
    """Eight bytes that stand for a target wherever its URL, which may carry a secret in its query, has no place."""
    return hashlib.blake2b(target.encode(), digest_size=DIGEST_BYTES).digest()
