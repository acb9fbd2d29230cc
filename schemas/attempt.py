"""The attempt: one HTTP request of one delivery."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .bounded import YEAR_10000_MS, long_of
from .delivery import DeliveryId
from .event import ClientId, EventName, client_of_key
from .hook import HookId, Revision
from .trace_context import Headers


class AttemptResult(StrEnum):
    """How one request ended."""

    DELIVERED = "delivered"  # 2xx
    GONE = "gone"  # 410
    BUSY = "busy"  # 429, or 503 with Retry-After
    REJECTED = "rejected"  # 400, 404, 405, 413, 415, 422: this record, not this endpoint
    REDIRECTED = "redirected"  # 3xx, never followed
    ERROR_STATUS = "error-status"  # any other status
    TIMEOUT = "timeout"
    CONNECT_FAILED = "connect-failed"
    TLS_FAILED = "tls-failed"
    DNS_FAILED = "dns-failed"
    BLOCKED = "blocked"  # the address guard: no connection was made
    BROKEN_ANSWER = "broken-answer"  # reset, bad framing, too many headers
    INTERNAL_ERROR = "internal-error"  # an exception of our own code while this request was made or judged


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One record of `attempts`. `number` counts from 1.

    `answer` is the start of the body: at most 20 kB, of a 2xx 1 kB, and less where the worker could not keep so much.
    """

    delivery_id: DeliveryId
    hook_id: HookId
    hook_revision: Revision
    client: ClientId
    event: EventName
    namespace: str
    concept_id: str
    partition: int
    offset: int
    number: int
    probe: bool
    replay: str | None
    started_at_ms: int
    duration_ms: float
    result: AttemptResult
    status: int | None
    answer: bytes = b""

    @property
    def key(self) -> bytes:
        """Kafka key: one client, one partition."""
        return self.client.encode()


GAP_HEADER = "hookstream-attempts-dropped"
# Of one record. Nine thousand million such records fit into the sum that a database keeps.
_MAX_DROPPED = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptGap:
    """So many attempts of a client that a worker could not record, until `at_ms` (Unix).

    In `attempts` it is a record without a value, under the client's key; the number and the time stand in a header.
    """

    client: ClientId
    attempts: int
    at_ms: int

    @property
    def key(self) -> bytes:
        """Kafka key: that of the client's attempts."""
        return self.client.encode()

    @property
    def header(self) -> bytes:
        """Value of the header."""
        return b"%d:%d" % (self.attempts, self.at_ms)


def gap_of(key: bytes | None, headers: Headers) -> AttemptGap | None:
    """The gap that a record without a value is about; None where it is about none."""
    for name, value in headers.items() if isinstance(headers, dict) else headers or ():
        if name == GAP_HEADER and isinstance(value, bytes):
            attempts, _, at_ms = value.partition(b":")
            client = client_of_key(key)
            count = long_of(attempts, at_most=_MAX_DROPPED)
            when = long_of(at_ms, at_most=YEAR_10000_MS - 1)
            if client is not None and count is not None and when is not None:
                return AttemptGap(client=client, attempts=count, at_ms=when)
    return None
