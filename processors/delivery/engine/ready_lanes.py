"""Lanes and endpoints that may have something to send are offered to the round robin of the process."""

from __future__ import annotations

from .dispatcher import Dispatcher
from .model import LIVE, REPLAY, Endpoint, Lane, TrackedHook

_STREAMS = (LIVE, REPLAY)


class ReadyLanes:
    """Offers the lanes of one partition."""

    __slots__ = ("_dispatcher",)

    def __init__(self, dispatcher: Dispatcher) -> None:
        """Offer to a dispatcher."""
        self._dispatcher = dispatcher

    def offer(self, lane: Lane) -> None:
        """Give a lane its turn, if it has anything to send."""
        if lane.in_flight:
            return
        endpoint = lane.endpoint
        for stream in _STREAMS:
            if (lane.windows[stream] or lane.buffers[stream]) and not lane.queued[stream]:
                lane.queued[stream] = True
                endpoint.ready[stream].append(lane)
                self._dispatcher.offer(endpoint, stream)

    def offer_resource(self, hook: TrackedHook, resource: str) -> None:
        """Give the lane of one resource of a hook its turn, at the hook's present endpoint."""
        if hook.endpoint is not None and (lane := hook.endpoint.lanes.get(resource)) is not None:
            self.offer(lane)

    def wake(self, endpoint: Endpoint) -> None:
        """Give an endpoint its turn again."""
        for stream in _STREAMS:
            self._dispatcher.offer(endpoint, stream)

    def wake_lanes(self, endpoint: Endpoint) -> None:
        """Give an endpoint and every lane of it their turns again."""
        for lane in list(endpoint.lanes.values()):
            self.offer(lane)
        self.wake(endpoint)
