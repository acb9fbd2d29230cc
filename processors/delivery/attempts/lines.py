"""One wide line of log for an attempt that failed or changed something, and never more lines than an operator can read.

A steady state is silent, and a dead endpoint is one: its failures give a few lines at once, then one in ten seconds,
with the number of those left out. The `attempts` topic has every one, and the metrics count them. All endpoints
together are bounded, too, so that a bad day does not fill the disk. Never a payload, a secret, or more of a target than
its host: integrators keep tokens in paths. Belongs to the event loop's thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from hookstream.processors.delivery.engine.model import Post
from hookstream.processors.delivery.http.exchange import Answer
from hookstream.processors.delivery.http.target import host_shown
from hookstream.schemas.attempt import AttemptResult
from hookstream.schemas.delivery import DeadLetterReason, Delivery

ENDPOINT_BURST, ENDPOINT_EVERY_S = 5, 10.0
PROCESS_BURST, PROCESS_PER_S = 200, 20.0
# Endpoints of which the last lines are remembered.
_REMEMBERED = 4_096

log = structlog.get_logger("hookstream.deliver")


class _Bucket:
    """Lines that may be written now. `left_out` counts those that might not, since the last that was."""

    __slots__ = ("_burst", "_per_s", "_refilled_at", "_tokens", "left_out")

    def __init__(self, burst: float, per_s: float, now: float) -> None:
        self._burst = self._tokens = burst
        self._per_s = per_s
        self._refilled_at = now
        self.left_out = 0

    def has(self, now: float) -> bool:
        self._tokens = min(self._burst, self._tokens + (now - self._refilled_at) * self._per_s)
        self._refilled_at = now
        return self._tokens >= 1.0

    def take(self) -> int:
        self._tokens -= 1.0
        left_out, self.left_out = self.left_out, 0
        return left_out


class AttemptLines:
    """Logs what became of attempts, within bounds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing was logged yet."""
        self._clock = clock
        self._process = _Bucket(PROCESS_BURST, PROCESS_PER_S, clock())
        self._endpoints: dict[tuple[str, str], _Bucket] = {}

    def failed(self, post: Post, result: AttemptResult, answer: Answer) -> None:
        """Log an attempt that failed, unless enough of its endpoint were logged."""
        self._tell_attempt(post, result, answer, "attempt failed", bounded=True)

    def quarantined(self, post: Post, result: AttemptResult, answer: Answer) -> None:
        """Log the failure that put an endpoint into quarantine."""
        self._tell_attempt(post, result, answer, "attempt failed; its endpoint is quarantined", bounded=False)

    def recovered(self, post: Post, result: AttemptResult, answer: Answer) -> None:
        """Log the answer that ended a quarantine: a 2xx, or one that refused a delivery."""
        what = "delivered" if result is AttemptResult.DELIVERED else "refused"
        self._tell_attempt(post, result, answer, f"{what}; its endpoint has recovered", bounded=False)

    def dead_lettered(self, delivery: Delivery, reason: DeadLetterReason, status: int | None) -> None:
        """Log a delivery that Kafka has among the dead letters now."""
        bucket = self._bucket(delivery.client, f"dead letter: {reason}")
        if (left_out := self._admit(bucket, bounded=True)) is not None:
            log.warning(
                "a delivery was dead-lettered",
                reason=reason.value,
                delivery=delivery.id,
                hook=delivery.hook_id,
                client=delivery.client,
                event_name=delivery.event,
                resource=delivery.resource,
                status=status,
                left_out=left_out,
            )

    def _tell_attempt(self, post: Post, result: AttemptResult, answer: Answer, what: str, *, bounded: bool) -> None:
        bucket = self._bucket(post.endpoint.client_id, post.endpoint.target)
        left_out = self._admit(bucket, bounded=bounded)
        if left_out is None:
            return
        delivery = post.pending.delivery
        log.info(
            what,
            delivery=delivery.id,
            hook=delivery.hook_id,
            client=delivery.client,
            event_name=delivery.event,
            resource=delivery.resource,
            host=host_shown(post.endpoint.target),
            attempt=post.number,
            probe=post.probe,
            result=str(result),
            status=answer.status,
            seconds=round(answer.duration_s, 3),
            quarantined=post.endpoint.health.breaker_open,
            left_out=left_out,
        )

    def _admit(self, bucket: _Bucket, *, bounded: bool) -> int | None:
        """Give the number of lines left out before this one, or None where it is left out itself."""
        now = self._clock()
        if (bounded and not bucket.has(now)) or not self._process.has(now):
            bucket.left_out += 1
            return None
        self._process.take()
        return bucket.take()

    def _bucket(self, client: str, what: str) -> _Bucket:
        bucket = self._endpoints.get((client, what))
        if bucket is None:
            bucket = self._endpoints[client, what] = _Bucket(ENDPOINT_BURST, 1 / ENDPOINT_EVERY_S, self._clock())
            if len(self._endpoints) > _REMEMBERED:
                del self._endpoints[next(iter(self._endpoints))]
        return bucket
