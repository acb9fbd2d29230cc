"""A moment by which something has to be there: made once, and shared by every step of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Self


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in monotonic time, and the clock that it is read on."""

    ends_s: float
    monotonic_s: Callable[[], float] = monotonic

    @classmethod
    def after(cls, within_s: float, monotonic_s: Callable[[], float] = monotonic) -> Self:
        """So many seconds from now."""
        return cls(monotonic_s() + within_s, monotonic_s)

    @property
    def over(self) -> bool:
        """Whether it has come."""
        return self.monotonic_s() >= self.ends_s

    @property
    def remaining_s(self) -> float:
        """What is left, at least 0."""
        return max(0.0, self.ends_s - self.monotonic_s())

    def sooner(self, within_s: float) -> Self:
        """This one, or so many seconds from now, whichever comes first."""
        return type(self)(min(self.ends_s, self.monotonic_s() + within_s), self.monotonic_s)

    def later(self, within_s: float) -> Self:
        """This one, or so many seconds from now, whichever comes last."""
        return type(self)(max(self.ends_s, self.monotonic_s() + within_s), self.monotonic_s)
