"""Whose turn it is: ready endpoints of all partitions of a process, round robin, live before replays, under one cap."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from .lanes import LIVE, REPLAY

if TYPE_CHECKING:
    from .lanes import Endpoint, Post, StreamIndex
    from .policy import EnginePolicy

_SLOW = 2.0
_SMOOTHING = 0.01


class Dispatcher:
    """The round robin of one process.

    An endpoint stands in it at most once a stream. One that cannot send when its turn comes (its own limit, the cap of
    its client, waiting) leaves it; whatever lifts that brings it back.
    """

    __slots__ = ("_policy", "_ready", "in_flight", "latency_s")

    def __init__(self, policy: EnginePolicy) -> None:
        """Start with nothing ready."""
        self._policy = policy
        self._ready: tuple[deque[Endpoint], deque[Endpoint]] = (deque(), deque())
        self.in_flight = 0
        self.latency_s = 0.0

    def offer(self, endpoint: Endpoint, stream: StreamIndex) -> None:
        """Give an endpoint its place in the round robin."""
        if not endpoint.dispatched[stream]:
            endpoint.dispatched[stream] = True
            self._ready[stream].append(endpoint)

    def next(self) -> Post | None:
        """Return the next request to make, or None: nothing is ready, or the process is at its cap."""
        if self.in_flight >= self._policy.process_in_flight:
            return None
        for stream in (LIVE, REPLAY):
            ready = self._ready[stream]
            while ready:
                endpoint = ready.popleft()
                endpoint.dispatched[stream] = False
                post = endpoint.engine.take(endpoint, stream)
                if post is not None:
                    self.in_flight += 1
                    if endpoint.ready[stream]:
                        self.offer(endpoint, stream)
                    return post
        return None

    def answered(self, endpoint: Endpoint, duration_s: float) -> None:
        """Free the place of a request; at the cap, an endpoint much slower than the rest gives places up."""
        at_cap = self.in_flight >= self._policy.process_in_flight
        self.in_flight -= 1
        self.latency_s += (duration_s - self.latency_s) * _SMOOTHING
        if at_cap and duration_s > _SLOW * self.latency_s:
            endpoint.health.shrink()

    def abandoned(self) -> None:
        """Free the place of a request whose answer nobody waits for any more."""
        self.in_flight -= 1
