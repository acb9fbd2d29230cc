"""How an endpoint is doing: breaker, quarantine, probes, Retry-After, adaptive concurrency, the five-day clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hookstream.schemas.delivery import Delivery

from .policy import EnginePolicy
from .retry_schedule import probe_pause_s

_SMOOTHING = 0.1


class EndpointHealth:
    """What is known of one endpoint. Times are monotonic seconds, but for `failing_since_ms`, which is stored.

    `breaker_open`: quarantined, only probes are sent. `retry_after_until`: nothing is sent before (Retry-After).
    """

    __slots__ = (
        "_policy",
        "_random",
        "_usual_limit",
        "breaker_open",
        "busy_streak",
        "failed_at",
        "failing",
        "failing_several",
        "failing_since_ms",
        "failures",
        "latency_s",
        "limit",
        "paused",
        "probe_at",
        "probes",
        "resource",
        "retried_at_ms",
        "retry_after_until",
        "several_resources",
        "skip_before_ms",
        "skipped",
        "succeeded",
    )

    def __init__(self, policy: EnginePolicy, random: Callable[[], float]) -> None:
        """Start healthy."""
        self._policy = policy
        self._random = random
        self.breaker_open = False
        self.probe_at = 0.0
        self.probes = 0  # failed ones since the quarantine began
        self.retry_after_until = 0.0
        self.busy_streak = 0
        # Of what failed since the endpoint's last success: the first resource, whether there were others, how often,
        # and when it began.
        self.failing: str | None = None
        self.failing_several = False
        self.failures = 0
        self.failed_at = 0.0
        self.failing_since_ms = 0
        self.succeeded: str | None = None  # the resource of the last success
        self.resource: str | None = None  # the first resource seen
        self.several_resources = False
        self.limit = float(policy.concurrency_start)
        self._usual_limit = self.limit  # while failures in a row have lowered it
        self.latency_s = 0.0
        self.paused = False  # by operators' settings: nothing is sent
        self.skip_before_ms = 0  # by operators' settings: what is pending since earlier goes to the dead letters
        self.skipped: Mapping[str, int] = {}  # by operators' settings: single deliveries, and when each was skipped
        self.retried_at_ms = 0  # the last request to try at once that was followed

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
        if self.failures:
            self.failing, self.failing_several, self.failures = None, False, 0
            self.limit = self._usual_limit
        self.failing_since_ms = self.probes = self.busy_streak = 0
        self.latency_s += (duration_s - self.latency_s) * _SMOOTHING
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
        if not self.failures:
            self.failing, self.failed_at = resource, now
            self._usual_limit = self.limit
        elif resource != self.failing:
            self.failing_several = True
        self.failures += 1
        if self.breaker_open:
            return False
        self.limit = max(self.limit / 2, 1.0)
        if self.several_resources and not self.failing_several:
            return False
        lasting = now - self.failed_at >= self._policy.breaker_after_s  # so it is not the first
        return lasting or self.failures >= self._policy.breaker_in_a_row

    def record_at_fault(self, resource: str) -> bool:
        """Whether a rejection means the record and not the endpoint: the endpoint's other resources succeed."""
        others_failed = self.failing_several or self.failing not in (None, resource)
        return self.succeeded is not None and self.several_resources and not others_failed

    def clock_failure(self, wall_ms: int) -> None:
        """Start the five-day clock if it does not run."""
        if not self.failing_since_ms:
            self.failing_since_ms = wall_ms

    def quarantine(self, now: float) -> None:
        """Open the breaker; after the quarantine the endpoint starts with few requests at once."""
        self.breaker_open = True
        self.probes = 0
        self.limit = self._usual_limit = min(self.limit, self._policy.concurrency_start)
        self.schedule_probe(now)

    def probe_failed(self, now: float) -> None:
        """Count a probe that did not succeed, and set the time of the next."""
        self.probes += 1
        self.schedule_probe(now)

    def schedule_probe(self, now: float) -> None:
        """Set the time of the next probe, without counting a failed one."""
        self.probe_at = now + self._spread(probe_pause_s(self.probes, self._policy))

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
        """Halve the concurrency: the endpoint answers slowly while others wait for a place."""
        self.limit = max(self.limit / 2, 1.0)

    @property
    def skips_some(self) -> bool:
        """Whether an operator skips any delivery."""
        return bool(self.skip_before_ms or self.skipped)

    def skips(self, delivery: Delivery) -> bool:
        """Whether an operator skips a delivery; one that was resent from the dead letters since is not meant."""
        since = delivery.owed_since_ms
        return since < self.skip_before_ms or since < self.skipped.get(delivery.id, 0)

    def waits(self, now: float) -> bool:
        """Whether nothing may be sent, or nothing but a probe."""
        return self.breaker_open or self.paused or now < self.retry_after_until

    def unremarkable(self, now: float) -> bool:
        """Whether there is nothing to store: pauses and skips are in the operators' settings."""
        waits = self.breaker_open or self.retry_after_until > now
        return not (waits or self.failing_since_ms or self.busy_streak or self.retried_at_ms)

    def _spread(self, seconds: float) -> float:
        return seconds * (1 + self._policy.jitter * (2 * self._random() - 1))
