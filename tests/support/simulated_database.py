"""A database whose transactions overlap, in one process: rows in SQLite in memory, locks as PostgreSQL holds them.

SQLite has one writer at a time; here a transaction reads what is committed, keeps what it changes, and writes it when
it commits. A row selected for update is locked until then: whoever skips locked rows passes it, whoever waits for it
gives up, as after a lock time-out. So a world can let others go on in the middle of a transaction, end a session of a
process that it suspends, and lose the answer of a commit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import Engine, Select, inspect, select

from hookstream.subscriptions.database import Sessions, open_database, open_sessions
from hookstream.subscriptions.errors import DatabaseUnavailableError
from hookstream.subscriptions.models import Base, CounterRow
from hookstream.subscriptions.repository import HOOK_ID_COUNTER

_T = TypeVar("_T")


class Owner(Protocol):
    """A process of the world."""

    @property
    def alive(self) -> bool:
        """Whether it was not killed."""
        ...


class Listener(Protocol):
    """The world, as the database knows it."""

    def begins(self, owner: Owner) -> None:
        """A transaction begins; it may raise instead."""
        ...

    def commits(self, owner: Owner) -> None:
        """A transaction is about to commit; others may go on first."""
        ...

    def committed(self, owner: Owner, rows: Sequence[Any]) -> None:
        """A transaction has written these; raise where its process does not hear of it."""
        ...


class Rows(list[_T], Generic[_T]):
    """What a query gives."""

    def all(self) -> list[_T]:
        """All of them."""
        return self

    def one(self) -> _T:
        """The only one."""
        (found,) = self
        return found


@cache
def _engine() -> Engine:
    engine = open_database("sqlite://")
    Base.metadata.create_all(engine)
    return engine


class SimulatedDatabase:
    """The tables of one world, empty at first. `world` hears who begins, is about to commit, and has committed."""

    def __init__(self, world: Listener) -> None:
        self.real: Sessions = open_sessions(_engine())
        self.world = world
        self.locks: dict[Any, SimulatedSession] = {}
        self.open: list[SimulatedSession] = []
        with self.real.begin() as session:
            for table in reversed(Base.metadata.sorted_tables):
                session.execute(table.delete())
            session.add(CounterRow(name=HOOK_ID_COUNTER, value=0))

    def sessions(self, owner: Owner) -> Any:  # Sessions, as far as they are used
        """The sessions of one process."""
        return _Sessions(self, owner)

    def end_sessions(self, owner: Owner) -> None:
        """The server ends what a process has under way, for it is dead or has been silent for too long."""
        for session in [*self.open]:
            if session.owner is owner:
                session.lose()


class _Sessions:
    """In place of a `sessionmaker`."""

    def __init__(self, database: SimulatedDatabase, owner: Owner) -> None:
        self._database, self._owner = database, owner

    @contextmanager
    def begin(self) -> Iterator[SimulatedSession]:
        """A writing transaction."""
        self._database.world.begins(self._owner)
        session = SimulatedSession(self._database, self._owner)
        try:
            yield session
            session.commit()
        finally:
            session.lose()

    @contextmanager
    def __call__(self) -> Iterator[SimulatedSession]:
        """A transaction that only reads."""
        self._database.world.begins(self._owner)
        session = SimulatedSession(self._database, self._owner)
        try:
            yield session
        finally:
            session.lose()


class SimulatedSession:
    """One transaction."""

    def __init__(self, database: SimulatedDatabase, owner: Owner) -> None:
        self.owner = owner
        self._database = database
        self._lost = False
        self._seen: dict[Any, Any] = {}
        self._new: list[Any] = []
        database.open.append(self)

    def lose(self) -> None:
        """It ends, and nothing of it stays."""
        self._lost = True
        locks = self._database.locks
        for key in [key for key, holder in locks.items() if holder is self]:
            del locks[key]
        if self in self._database.open:
            self._database.open.remove(self)

    def commit(self) -> None:
        """Write everything, or nothing."""
        self._check()
        self._database.world.commits(self.owner)
        self._check()
        changed = [*(row for row in self._seen.values() if inspect(row).modified), *self._new]
        with self._database.real.begin() as session:
            session.add_all(changed)
        self._database.world.committed(self.owner, changed)

    def connection(self, **_: object) -> None:
        """There is nothing to set on it."""

    def get_bind(self) -> Engine:
        """What dialect it is."""
        return _engine()

    def add(self, row: object) -> None:
        """Insert it with the commit."""
        self._new.append(row)

    def flush(self) -> None:
        """Nothing is seen before the commit."""

    def get(self, kind: Any, key: object, *, with_for_update: bool = False) -> Any:
        """Read one row."""
        parts = key if isinstance(key, tuple) else (key,)
        columns = inspect(kind).primary_key
        found = select(kind).where(*(column == part for column, part in zip(columns, parts, strict=True)))
        return self.scalar(found.with_for_update() if with_for_update else found)

    def scalar(self, statement: Any) -> Any:
        """The first one."""
        return next(iter(self.scalars(statement)), None)

    def scalars(self, statement: Any) -> Rows[Any]:
        """Read what is committed, and lock it where it is for update; other statements are done at once."""
        self._check()
        if not isinstance(statement, Select):
            with self._database.real.begin() as session:
                return Rows(session.scalars(statement).all())
        lock = statement._for_update_arg
        with self._database.real() as session:
            found = Rows(session.scalars(statement if lock is None else statement.limit(None)).all())
            session.expunge_all()
        if lock is not None:
            return self._locked(found, skip=lock.skip_locked, limit=statement._limit)
        return Rows(self._kept(row) for row in found)

    def _kept(self, row: Any) -> Any:
        """The same row again where it was read before, as a session has it; what is changed in it is written."""
        state = inspect(row, raiseerr=False)
        return row if state is None else self._seen.setdefault(state.identity_key, row)

    def execute(self, statement: Any) -> Rows[Any]:
        """Do it at once."""
        self._check()
        with self._database.real.begin() as session:
            done = session.execute(statement)
            return Rows(done.all()) if isinstance(statement, Select) else Rows()

    def _locked(self, rows: Rows[Any], *, skip: bool, limit: int | None) -> Rows[Any]:
        locks, mine = self._database.locks, Rows[Any]()
        for row in rows:
            key = inspect(row).identity_key
            if locks.get(key, self) is not self:
                if skip:
                    continue
                message = "canceling statement due to lock timeout"
                raise DatabaseUnavailableError(message)
            if limit is None or len(mine) < limit:
                locks[key] = self
                mine.append(self._seen.setdefault(key, row))
        return mine

    def _check(self) -> None:
        if self._lost:
            message = "the server ended this session"
            raise DatabaseUnavailableError(message)
