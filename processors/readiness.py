"""Checks that wait for an answer are made beside the event loop; `/readyz` shows what they found last."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from .lifecycle import StopSignal


class RepeatedCheck:
    """A check that blocks, repeated in one thread. Calling it gives the last answer at once, from any thread."""

    def __init__(
        self,
        check: Callable[[], str | None],
        *,
        every_s: float = 1.0,
        late_after_s: float = 10.0,
        monotonic_s: Callable[[], float] = monotonic,
    ) -> None:
        """`check` gives None where the component is ready, else a sentence; a later answer is none."""
        self._check = check
        self._every_s = every_s
        self._late_after_s = late_after_s
        self._monotonic_s = monotonic_s
        self._answer: str | None = "starting"
        self._asked_at: float | None = None

    def __call__(self) -> str | None:
        """What is known: the last answer, or that the present one is late."""
        asked_at = self._asked_at
        waited_s = 0.0 if asked_at is None else self._monotonic_s() - asked_at
        if waited_s > self._late_after_s:
            return f"no answer for {waited_s:.0f} s"
        return self._answer

    def run(self, stop: StopSignal) -> None:
        """Check until asked to stop."""
        while not stop.asked:
            self.once()
            stop.wait(self._every_s)

    def once(self) -> None:
        """Check now."""
        self._asked_at = self._monotonic_s()
        self._answer = self._check()
        self._asked_at = None
