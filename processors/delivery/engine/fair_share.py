"""How many of a process's places for requests a client may fill while they are scarce.

The rule is the dynamic threshold of shared buffers: a client may fill a fixed part of what is *free*, so every share
shrinks as clients become active, without counting them, and something is left for the next client. The share also
shrinks with the age of what is in flight, and an eighth of the places is reserved for endpoints that answer quickly.

Source: Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", IEEE/ACM ToN 6 (1998).
With 4,096 places and a part of 1/16, of clients that take all they get at the same time, 16 get 112 each, and 60 get
48, so that 1,264 stay free. Where they come one after the other, the first get more, and 60 of them leave 628 free.
"""

from __future__ import annotations

from .model import Endpoint
from .policy import EnginePolicy

_RESERVED = 1 / 8  # of the process's places and of a client's own, for what answers quickly
_SCARCE = 1 / 2  # with more than this in flight, shares are looked at
_MOST = 1 / 2  # of what is free, for one client, where a process has few places


class FairShare:
    """The caps of one process. Pure: the caller says how much is in flight."""

    __slots__ = ("_client_cap", "_fast_s", "_part", "_process_cap", "_reserved", "scarce_from", "unreserved")

    def __init__(self, policy: EnginePolicy) -> None:
        """Divide these caps."""
        self._process_cap = policy.process_in_flight
        self._client_cap = policy.client_in_flight
        self._fast_s = policy.concurrency_fast_s
        self._reserved = policy.process_in_flight * _RESERVED
        self.scarce_from = int(policy.process_in_flight * _SCARCE)
        """With fewer in flight in the process, only a client's own cap holds it back."""
        self._part = min(policy.client_in_flight / (policy.process_in_flight - self.scarce_from), _MOST)
        self.unreserved = policy.client_in_flight - int(policy.client_in_flight * _RESERVED)
        """With fewer in flight, a client's own cap holds nothing of it back."""

    def allows(self, endpoint: Endpoint, in_flight: int, now: float) -> bool:
        """Whether a client may have one more request in flight, for this endpoint; `in_flight` is the process's."""
        client = endpoint.client
        mine = client.in_flight
        age_s, quick = self._standing(endpoint, now)
        if mine >= (self._client_cap if quick else self.unreserved):
            return False
        if in_flight < self.scarce_from:
            return True
        free = float(self._process_cap - in_flight)
        if not quick:  # half of the reserve is also for the first request of a client that has no answer yet
            free -= self._reserved if mine or age_s > self._fast_s else self._reserved / 2
        return mine < free * self._part / (1 + age_s / self._fast_s)

    def _standing(self, endpoint: Endpoint, now: float) -> tuple[float, bool]:
        """How old what is in flight is, or how slow answers were, in seconds; and whether the endpoint is quick.

        An endpoint whose last answer was not a quick one, or that has none yet, has the standing of its client, so that
        a client that hangs gains nothing by a change of targets.
        """
        if endpoint.quick:
            age_s = now - endpoint.sent_sum / endpoint.in_flight if endpoint.in_flight else 0.0
            return age_s, age_s <= self._fast_s
        client = endpoint.client
        age_s = client.slowness_s
        if client.in_flight:
            age_s = max(age_s, now - client.sent_sum / client.in_flight)
        return age_s, False
