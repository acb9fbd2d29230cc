"""The database's row of one replay, written by whoever holds its lease."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from sqlalchemy.orm import Session

from hookstream.subscriptions.database import transact
from hookstream.subscriptions.replays import ReplayWork

from .run_deps import RunDeps

_T = TypeVar("_T")


class LeasedRow:
    """Writes the row; every write checks the lease and renews it."""

    def __init__(self, deps: RunDeps, *, claimed_at: float) -> None:
        """Hold a lease since `claimed_at`, the clock's time from before the claim."""
        self._deps = deps
        self._lease_from = claimed_at

    @property
    def lease_used(self) -> float:
        """Which part of the lease is gone: 1.0 is all of it."""
        return (self._deps.clock() - self._lease_from) / (self._deps.lease.lasts_ms / 1000)

    def write(self, work: Callable[[ReplayWork], _T]) -> _T:
        """Do it in a transaction that checks the lease; its time counts from before.

        Raises:
            LeaseLostError: another process works on the replay.
            DatabaseError: nothing was written.
        """
        deps = self._deps
        began = deps.clock()
        done = transact(deps.sessions, partial(_with_work, work, deps))
        self._lease_from = began
        return done


def _with_work(work: Callable[[ReplayWork], _T], deps: RunDeps, session: Session) -> _T:
    return work(ReplayWork(session, deps.lease, deps.lease_now_ms(session)))
