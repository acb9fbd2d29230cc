"""Slows a whole process down while every request fails by an exception of our own code. Sans-I/O.

Such a bug is no endpoint's fault. Without a brake each endpoint would be asked until it is quarantined, and a process
that ended instead would be started again, do the same, and take its partitions to the next one. Braked, the process
stays in its group, commits what is settled, and sends a few requests a second: the first whose answer could be judged
shows that the code works, and ends it.

One client must not be able to slow others down by answers that our code cannot take, so requests of several clients
have to fail with none between them that worked; or, where nothing has worked since the start, as many of any client.
What an attacker with that many clients gains is a quarter of a second's delay for the next healthy request.
"""

from __future__ import annotations

FAILURES = 20
CLIENTS = 3
TRIAL_EVERY_S = 0.25


class Brake:
    """Takes how requests ended, says whether the next may be sent. Times are monotonic seconds."""

    __slots__ = ("_clients", "_failures", "_next_trial_at", "_worked", "on")

    def __init__(self) -> None:
        """Start open, with nothing known."""
        self.on = False
        self._worked = False
        self._failures = 0
        self._clients: set[str] = set()
        self._next_trial_at = 0.0

    def failed(self, client: str) -> bool:
        """Note an internal error of a client's request; return whether it is the one that puts the brake on."""
        self._failures += 1
        if len(self._clients) < CLIENTS:
            self._clients.add(client)
        if self.on or self._failures < FAILURES or (self._worked and len(self._clients) < CLIENTS):
            return False
        self.on = True
        return True

    def worked(self) -> bool:
        """Note that an answer could be judged; return whether that releases the brake."""
        self._worked = True
        if not self._failures:
            return False
        self._failures = 0
        self._clients.clear()
        released, self.on = self.on, False
        return released

    def admits(self, now: float) -> bool:
        """Whether one request may be sent now; while the brake is on that counts as a trial."""
        if not self.on:
            return True
        if now < self._next_trial_at:
            return False
        self._next_trial_at = now + TRIAL_EVERY_S
        return True
