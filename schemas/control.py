"""The operators' wish for one endpoint: absolute, so that a restart repeats nothing and compaction loses nothing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from .event import ClientId


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointWish:
    """Everything that operators want of one endpoint (client, target) at present; each row replaces the one before.

    `target_digest` stands for the target, whose URL may carry a secret. `paused`: nothing is sent. `skip_before_ms`
    (source append time): what arrived earlier goes to the dead letters. `retry_at_ms`: when somebody last asked to
    try at once; a worker remembers the last one it followed. `asked_by` and `reason` are for the audit.
    """

    client: ClientId
    target_digest: bytes
    paused: bool = False
    skip_before_ms: int = 0
    retry_at_ms: int = 0
    asked_by: str = ""
    reason: str = ""

    @property
    def key(self) -> bytes:
        """Kafka key: the endpoint."""
        return f"{self.client}|{self.target_digest.hex()}".encode()


def target_digest(target: str) -> bytes:
    """Eight bytes that stand for a target wherever its URL, which may carry a secret in its query, has no place."""
    return hashlib.blake2b(target.encode(), digest_size=8).digest()
