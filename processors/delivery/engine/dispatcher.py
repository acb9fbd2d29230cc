"""Whose turn it is: ready endpoints of all partitions of a process, round robin, live before replays, under caps."""

from __future__ import annotations

from collections import deque

from .fair_share import FairShare
from .model import LIVE, REPLAY, Client, Endpoint, Post, StreamIndex
from .policy import EnginePolicy


class Dispatcher:
    """The round robin of one process.

    An endpoint is in it at most once a stream. One whose last answer was quick goes before the others: thousands of
    requests to endpoints that never answered may be due at once, and each costs a connection. One that cannot send when
    its turn comes leaves it, and is offered again when the reason is gone. Where the reason is the share of its client,
    that may be the end of any request of the process: the clients that wait for a place take turns.
    """

    __slots__ = ("_freed", "_held", "_policy", "_quick", "_ready", "_recalls", "_scarce_from", "in_flight", "share")

    def __init__(self, policy: EnginePolicy) -> None:
        """Start with nothing ready."""
        self._policy = policy
        self._quick: tuple[deque[Endpoint], deque[Endpoint]] = (deque(), deque())
        self._ready: tuple[deque[Endpoint], deque[Endpoint]] = (deque(), deque())  # the others
        self._freed: dict[Client, None] = {}  # a request of theirs has ended: they come first
        self._held: dict[Client, None] = {}  # in the order of their turns
        self._recalls = 0  # requests that have ended since a client is held, less the turns given for them
        self.share = FairShare(policy)
        self._scarce_from = self.share.scarce_from
        self.in_flight = 0

    def offer(self, endpoint: Endpoint, stream: StreamIndex) -> None:
        """Give an endpoint its place in the round robin."""
        if not endpoint.dispatched[stream]:
            endpoint.dispatched[stream] = True
            (self._quick if endpoint.quick else self._ready)[stream].append(endpoint)

    def admits(self, endpoint: Endpoint, now: float) -> bool:
        """Whether the client of an endpoint may have one more request in flight; if not, the endpoint waits for that.

        Call it only while places are scarce: see `FairShare.unreserved`.
        """
        client = endpoint.client
        if self.share.allows(endpoint, self.in_flight, now):
            return True
        client.blocked[endpoint] = None
        if self.in_flight >= self._scarce_from:
            self._held[client] = None
        return False

    def next(self, *, quick_only: bool = False) -> Post | None:
        """Return the next request to make, or None: nothing is ready, or the process is at its cap.

        `quick_only`: to endpoints whose last answer was quick; the others keep their turns.
        """
        if self.in_flight >= self._policy.process_in_flight:
            return None
        for stream in (LIVE, REPLAY):
            ready = self._quick[stream] or (not quick_only and self._ready[stream])
            while ready:
                endpoint = ready.popleft()
                endpoint.dispatched[stream] = False
                post = endpoint.engine.take(endpoint, stream)
                if post is not None:
                    self.in_flight += 1
                    if endpoint.ready[stream]:
                        self.offer(endpoint, stream)
                    return post
                ready = self._quick[stream] or (not quick_only and self._ready[stream])
        if self._freed or (self._held and not quick_only):
            return self._recall(freed_only=quick_only)
        return None

    def ended(self) -> None:
        """Free the place of a request."""
        self.in_flight -= 1
        if self._held:
            self._recalls += 1

    def freed(self, client: Client) -> None:
        """Give a client whose endpoints wait for its share a turn: a request of its own has ended."""
        self._freed[client] = None

    def _recall(self, *, freed_only: bool) -> Post | None:
        """Give the clients that wait for their share another turn: those whose requests have ended, then the others.

        While places are scarce, there are no more turns than requests that have ended: a request that ends raises the
        shares of a few clients, and asking hundreds each time would cost more than the deliveries.
        """
        while self._freed or (
            self._held and not freed_only and (self._recalls > 0 or self.in_flight < self._scarce_from)
        ):
            if self._freed:
                client = next(iter(self._freed))
                del self._freed[client]
                self._held.pop(client, None)
            else:
                client = next(iter(self._held))
                del self._held[client]
                self._recalls = max(0, self._recalls - 1)
            post = self._take_blocked(client)
            if post is not None:
                return post
        return None

    def _take_blocked(self, client: Client) -> Post | None:
        """The next request of the endpoint that has waited longest for its client's share."""
        if not client.blocked:
            return None
        endpoint = next(iter(client.blocked))
        del client.blocked[endpoint]
        post = None
        for stream in (LIVE, REPLAY):
            if post is None:
                post = endpoint.engine.take(endpoint, stream)
            if post is not None and endpoint.ready[stream] and endpoint not in client.blocked:
                self.offer(endpoint, stream)
        if client.blocked and (client.in_flight < self.share.unreserved or self.in_flight >= self._scarce_from):
            self._held[client] = None
        if post is not None:
            self.in_flight += 1
        return post
