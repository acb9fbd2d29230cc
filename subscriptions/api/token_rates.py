"""How many requests a token may make: a bucket for each, that fills at a steady rate and holds a window's quota.

It is the generic cell rate algorithm: of each token only the time is kept at which its bucket will be full again. Each
process counts for itself, by a clock that no one sets. Source: ITU-T I.371, annex A.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, floor
from typing import Final

# Requests of a moment, after a rest, are allowed as many as fall into so many seconds: what other callers feel of a
# flood is this beginning, before it is refused.
WINDOW_S: Final = 2
# Tokens whose buckets are kept; of the one that was idle for longest, the bucket counts as full.
_MOST: Final = 10_000
# Of a request: far above what adding floating-point seconds loses, far below what anyone sees.
_ROUNDING: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests in a window of so many seconds, all at once or spread out."""

    quota: int
    window_s: int = WINDOW_S

    @classmethod
    def per_second(cls, requests: float) -> Rate | None:
        """A rate by the second, at least one request in the window; None, which is no limit, for 0."""
        return cls(max(1, round(requests * WINDOW_S))) if requests else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What the limiter says of one request, and of those after it. Seconds are whole, and at least one."""

    allowed: bool
    rate: Rate
    left: int
    # Until the bucket is full again; where nothing is left, until one more request is allowed.
    seconds: int


class TokenRates:
    """The buckets. May be used from any thread."""

    def __init__(self, monotonic_s: Callable[[], float], *, most: int = _MOST) -> None:
        """Every bucket is full."""
        self._monotonic_s = monotonic_s
        self._most = most
        self._lock = threading.Lock()
        self._full_at_s: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at_s)

    def take(self, caller: str, rate: Rate) -> Allowance:
        """Count a request of a caller, if it is allowed; one that is not costs nothing."""
        interval_s = rate.window_s / rate.quota
        slack_s = interval_s * _ROUNDING
        with self._lock:
            now_s = self._monotonic_s()
            until_full_s = max(0.0, self._full_at_s.get(caller, now_s) - now_s) + interval_s
            wait_s = until_full_s - rate.window_s
            if wait_s > slack_s:
                return Allowance(allowed=False, rate=rate, left=0, seconds=_whole(wait_s))
            self._full_at_s[caller] = now_s + until_full_s
            self._full_at_s.move_to_end(caller)
            if len(self._full_at_s) > self._most:
                self._full_at_s.popitem(last=False)
        left = floor(-wait_s / interval_s + _ROUNDING)
        return Allowance(
            allowed=True, rate=rate, left=left, seconds=_whole(until_full_s if left else wait_s + interval_s)
        )


def _whole(seconds: float) -> int:
    return max(1, ceil(seconds - _ROUNDING))
