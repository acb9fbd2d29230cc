"""Two transactions of which the second begins while the first holds what it has locked: in this order, every time."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import text

from hookstream.subscriptions.database import Sessions, reading, transact
from tests.support.wait import WITHIN_S, eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session

T = TypeVar("T")

# Backends of this database alone: each test has one of its own.
_WAITING = text(
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()"
)


@dataclass
class Second:
    """What the second transaction did: whether it waited for the first, and how it ended."""

    waited: bool
    future: Future[object]

    def result(self) -> object:
        """What it gave; its error is raised."""
        return self.future.result(WITHIN_S)


def one_after_the_other(sessions: Sessions, first: Callable[[Session], object], second: Callable[[], object]) -> Second:
    """Do `first` in a transaction, and before it commits, in another thread, `second`, until it ends or waits.

    PostgreSQL only: it is asked whether anybody waits for a lock.
    """
    with ThreadPoolExecutor(1) as pool:

        def work(session: Session) -> Second:
            first(session)
            session.flush()
            return begun(sessions, pool, second)

        return transact(sessions, work)


def begun(sessions: Sessions, pool: ThreadPoolExecutor, call: Callable[[], object]) -> Second:
    """Begin a call, and go on when it has ended or waits for a lock."""
    future: Future[object] = pool.submit(call)
    eventually(lambda: future.done() or _a_transaction_waits(sessions))
    return Second(waited=not future.done(), future=future)


def _a_transaction_waits(sessions: Sessions) -> bool:
    with reading(sessions) as session:
        return bool(session.scalar(_WAITING))
