"""When the next probe of a quarantined endpoint is due."""

from __future__ import annotations

from collections.abc import Callable

from .policy import EnginePolicy
from .retry_schedule import probe_pause_s


class ProbeTimes:
    """The times of one endpoint's probes, in monotonic seconds."""

    __slots__ = ("_policy", "_random", "due", "failed")

    def __init__(self, policy: EnginePolicy, random: Callable[[], float]) -> None:
        """Start with none failed."""
        self._policy = policy
        self._random = random
        self.due = 0.0
        self.failed = 0  # since the quarantine began

    def note_failure(self, now: float) -> None:
        """Count a probe that did not succeed, and set the time of the next."""
        self.failed += 1
        self.schedule(now)

    def schedule(self, now: float) -> None:
        """Set the time of the next probe, without counting a failed one."""
        pause_s = probe_pause_s(self.failed, self._policy)
        self.due = now + pause_s * (1 + self._policy.jitter * (2 * self._random() - 1))
