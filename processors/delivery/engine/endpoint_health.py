"""How an endpoint is doing: breaker, quarantine, Retry-After, adaptive concurrency, the five-day clock."""

from __future__ import annotations

from collections.abc import Callable

from .policy import EnginePolicy
from .probe_times import ProbeTimes


class FailuresInARow:
    """What failed at an endpoint since its last success."""

    __slots__ = ("began_at", "count", "resource", "several")

    def __init__(self, resource: str, now: float) -> None:
        """Begin at `now`, in monotonic seconds."""
        self.resource = resource  # the first that failed
        self.several = False  # whether others failed too
        self.count = 0
        self.began_at = now


class EndpointHealth:
    """What is known of one endpoint. Times are monotonic seconds, but for `failing_since_ms`, which is stored.

    `breaker_open`: quarantined, only probes are sent. `retry_after_until`: nothing is sent before (Retry-After).
    """

    __slots__ = (
        "_policy",
        "_usual_limit",
        "breaker_open",
        "busy_streak",
        "failing_since_ms",
        "failures",
        "limit",
        "paused",
        "probe_times",
        "resource",
        "retried_at_ms",
        "retry_after_until",
        "several_resources",
        "succeeded",
    )

    def __init__(self, policy: EnginePolicy, random: Callable[[], float]) -> None:
        """Start healthy."""
        self._policy = policy
        self.breaker_open = False
        self.probe_times = ProbeTimes(policy, random)
        self.retry_after_until = 0.0
        self.busy_streak = 0
        self.failures: FailuresInARow | None = None
        self.failing_since_ms = 0
        self.succeeded: str | None = None  # the resource of the last success
        self.resource: str | None = None  # the first resource seen
        self.several_resources = False
        self.limit = float(policy.concurrency_start)
        self._usual_limit = self.limit  # while failures in a row have lowered it
        self.paused = False  # by endpoint settings: nothing is sent
        self.retried_at_ms = 0  # by endpoint settings: the last request to try at once that was followed

    def note_resource(self, resource: str) -> None:
        """Remember whether the endpoint has more than one resource: a single one may open the breaker alone."""
        if self.resource is None:
            self.resource = resource
        elif resource != self.resource:
            self.several_resources = True

    def succeed(self, resource: str, duration_s: float, in_flight: int) -> bool:
        """Note a 2xx; return whether it ended a quarantine."""
        ended, self.breaker_open = self.breaker_open, False
        self.succeeded = resource
        if self.failures is not None:
            self.failures = None
            self.limit = self._usual_limit
        self.failing_since_ms = self.busy_streak = 0
        self.probe_times.failed = 0
        if duration_s > self._policy.concurrency_fast_s:
            self.shrink()
        elif in_flight + 1 >= self.limit < self._policy.concurrency_max:
            self.limit = min(self.limit + 1 / self.limit * 4, self._policy.concurrency_max)
        return ended

    def fail(self, resource: str, *, now: float, wall_ms: int) -> bool:
        """Note a failure; return whether it opens the breaker.

        A flaky endpoint is not down: one failure holds its resource only. The breaker opens when every attempt failed,
        on two resources or on the only one, for `breaker_after_s` or `breaker_in_a_row` times. Until then each failure
        halves the concurrency, so that an endpoint that is down gets few requests; a success restores it.
        """
        self.clock_failure(wall_ms)
        failures = self.failures
        if failures is None:
            failures = self.failures = FailuresInARow(resource, now)
            self._usual_limit = self.limit
        elif resource != failures.resource:
            failures.several = True
        failures.count += 1
        if self.breaker_open:
            return False
        self.limit = max(self.limit / 2, 1.0)
        if self.several_resources and not failures.several:
            return False
        lasting = now - failures.began_at >= self._policy.breaker_after_s  # so it is not the first
        return lasting or failures.count >= self._policy.breaker_in_a_row

    def record_at_fault(self, resource: str) -> bool:
        """Whether a rejection means the record and not the endpoint: the endpoint's other resources succeed."""
        failures = self.failures
        others_failed = failures is not None and (failures.several or failures.resource != resource)
        return self.succeeded is not None and self.several_resources and not others_failed

    def clock_failure(self, wall_ms: int) -> None:
        """Start the five-day clock if it does not run."""
        if not self.failing_since_ms:
            self.failing_since_ms = wall_ms

    def quarantine(self, now: float) -> None:
        """Open the breaker; after the quarantine the endpoint starts with few requests at once."""
        self.breaker_open = True
        self.probe_times.failed = 0
        self.limit = self._usual_limit = min(self.limit, self._policy.concurrency_start)
        self.probe_times.schedule(now)

    def busy(self, retry_after_s: float | None, *, now: float, wall_ms: int) -> float:
        """Note a 429, or a 503 with Retry-After; return how long the whole endpoint waits."""
        policy = self._policy
        self.clock_failure(wall_ms)
        if now >= self.retry_after_until or not self.busy_streak:  # what was in flight is one refusal
            self.busy_streak += 1
        floor = min(policy.busy_first_s * 2.0 ** min(self.busy_streak - 1, 30), policy.busy_max_s)
        wait = min(max(retry_after_s or 0.0, floor), policy.retry_after_max_s)
        self.retry_after_until = max(self.retry_after_until, now + wait)
        return wait

    def shrink(self) -> None:
        """Halve the concurrency, since the endpoint answers slowly, but not below `concurrency_slow`.

        Where places are scarce, the shares of clients go by the age of what is in flight, see `FairShare`.
        """
        self.limit = max(self.limit / 2, min(self.limit, self._policy.concurrency_slow))

    def waits(self, now: float) -> bool:
        """Whether nothing may be sent, or nothing but a probe."""
        return self.breaker_open or self.paused or now < self.retry_after_until

    def unremarkable(self, now: float) -> bool:
        """Whether there is nothing to store: pauses and skips are in endpoint settings."""
        waits = self.breaker_open or self.retry_after_until > now
        return not (waits or self.failing_since_ms or self.busy_streak or self.retried_at_ms)
