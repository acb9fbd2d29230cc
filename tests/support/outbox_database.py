"""PostgreSQL with the outbox of a service, in one process: rows in SQLite in memory, all else as PostgreSQL has it.

A transaction reads what is committed, keeps what it changes, and writes it when it commits. A lock is a session's: the
server may end a session while its process does not know, or keep one, and its lock, that its process has lost. Who asks
the server something waits, and others go on. A relay's connections are as SQLAlchemy's: one that has lost its session
gets another with its next statement, and one that is closed leaves its session to the next. A service's transaction has
the ids of its rows before it commits.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

from sqlalchemy import Engine, Insert, Select, StaticPool, TextClause, create_engine, select
from sqlalchemy.exc import OperationalError, ResourceClosedError

from hookstream.producers.outbox import OUTBOX, create_tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.support.outbox_world import Committed, OutboxWorld, Process

_DIALECT = SimpleNamespace(name="postgresql")
_ROWS = select(OUTBOX.c.event_id, OUTBOX.c.id, OUTBOX.c.parked)


class Found(list[Any]):
    """What a statement gives."""

    def all(self) -> list[Any]:
        """All of its rows."""
        return self

    def scalar(self) -> Any:
        """The first value of the first row."""
        return self[0][0] if self else None


@dataclass(eq=False)
class ServerSession:
    """A session, as the server has it."""

    owner: Process
    open: bool = True
    given_up: bool = False
    """Its client has ended it."""
    unreachable: bool = False
    """Its client has lost it, and the server does not know yet."""


@cache
def _engine() -> Engine:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    create_tables(engine)
    return engine


class OutboxDatabase:
    """The server of one world, its outbox empty at first."""

    def __init__(self, world: OutboxWorld) -> None:
        self.world = world
        self.rows: dict[str, tuple[int, str | None]] = {}
        """By event id: the row's id, and why it is parked."""
        self.relay_lock: ServerSession | None = None
        self.resource_locks: dict[int, ServiceTransaction] = {}
        self.sessions: list[ServerSession] = []
        self.last_id = 0
        with _engine().begin() as connection:
            connection.execute(OUTBOX.delete())

    def connect(self, owner: Process) -> ServerSession:
        """Begin a session."""
        self.world.interleave(owner)
        if self.world.fails(0.02):
            raise _error("no connection")
        session = ServerSession(owner)
        self.sessions.append(session)
        return session

    def end(self, session: ServerSession) -> None:
        """End a session, and free its lock."""
        session.open = False
        if session in self.sessions:
            self.sessions.remove(session)
        if self.relay_lock is session:
            self.relay_lock = None

    def end_sessions(self, owner: Process) -> None:
        """A process is dead, or has been silent for too long, or the server gives its place to another."""
        for session in [*self.sessions]:
            if session.owner is owner:
                self.end(session)

    def notice(self) -> None:
        """See which sessions have no client any more."""
        for session in [*self.sessions]:
            if session.unreachable:
                self.end(session)

    def read(self, statement: Select[Any]) -> Found:
        """Give what is committed."""
        with _engine().connect() as connection:
            return Found(connection.execute(statement).all())

    def write(self, statements: Sequence[Any]) -> None:
        """Commit."""
        with _engine().begin() as connection:
            for statement in statements:
                connection.execute(statement)
            self.rows = {row.event_id: (row.id, row.parked) for row in connection.execute(_ROWS)}


class ServiceTransaction:
    """A service's transaction. It gives up where another one has the resource: it would wait for a commit."""

    dialect = _DIALECT

    def __init__(self, database: OutboxDatabase) -> None:
        self.events: list[Committed] = []
        self.rows: list[dict[str, Any]] = []
        self._database = database
        self._inserts: list[Insert] = []

    def execute(self, statement: Any) -> None:
        """Insert a row, or lock a resource."""
        database, values = self._database, statement.compile(_engine()).params
        if isinstance(statement, Insert):
            database.last_id += 1
            self.rows.append({**values, "id": database.last_id})
            self._inserts.append(statement.values(id=database.last_id))
            return
        (number,) = values.values()
        if database.resource_locks.setdefault(number, self) is not self:
            raise _error("canceling statement due to lock timeout")

    def end(self, *, commit: bool) -> None:
        """Commit or roll back."""
        locks = self._database.resource_locks
        for number in [number for number, holder in locks.items() if holder is self]:
            del locks[number]
        if commit and self._inserts:
            self._database.write(self._inserts)


class SimulatedEngine:
    """A relay's engine, with its pool."""

    dialect = _DIALECT

    def __init__(self, database: OutboxDatabase, owner: Process) -> None:
        self.database, self.owner = database, owner
        self.idle: list[ServerSession] = []

    def connect(self) -> SimulatedConnection:
        """Give a connection."""
        return SimulatedConnection(self)

    def take(self) -> ServerSession:
        """Give a session that is left, or a new one."""
        return self.idle.pop() if self.idle else self.database.connect(self.owner)


class SimulatedConnection:
    """A relay's connection."""

    dialect = _DIALECT

    def __init__(self, engine: SimulatedEngine) -> None:
        self._engine, self._database, self._world = engine, engine.database, engine.database.world
        self._session: ServerSession | None = engine.take()
        self._changes: list[Any] | None = None
        self._begun = False
        self._closed = False

    @contextmanager
    def begin(self) -> Iterator[None]:
        """A transaction, which begins at the server with its first statement."""
        self._connect()
        changes: list[Any] = []
        self._changes, self._begun = changes, False
        try:
            yield
            if self._begun:
                self._commit(changes)
        finally:
            self._changes = None

    def execute(self, statement: Any, _parameters: object = None) -> Found:
        """Ask for the lock, free it, read at once, or write with the commit."""
        if self._changes is None:
            self._connect()
        session = self._ask()
        self._begun = True
        if isinstance(statement, TextClause):
            return self._lock(statement.text, session)
        self._world.uses_outbox(session)
        if isinstance(statement, Select):
            return self._database.read(statement)
        assert self._changes is not None, "what is written outside of a transaction is rolled back"
        self._changes.append(statement)
        return Found()

    def rollback(self) -> None:
        """End a transaction that began with its first statement."""
        self._world.interleave(self._engine.owner)
        self._reach()

    def invalidate(self) -> None:
        """End the session."""
        if self._session is not None:
            self._session.given_up = True
            self._database.end(self._session)
            self._session = None

    def close(self) -> None:
        """Leave the session to the next connection."""
        self._closed = True
        if self._session is not None:
            self._engine.idle.append(self._session)
            self._session = None

    def _connect(self) -> None:
        if self._closed:
            raise ResourceClosedError("this connection is closed")
        if self._session is None:
            self._session = self._engine.take()

    def _commit(self, changes: list[Any]) -> None:
        session = self._ask()
        if changes:
            self._database.write(changes)
            self._world.relay_committed()
        if self._world.fails(0.03):
            self._database.end(session)
            self._lose("the connection was lost while it committed")

    def _lock(self, text: str, session: ServerSession) -> Found:
        database = self._database
        if "pg_advisory_unlock_all" in text:
            if database.relay_lock is session:
                database.relay_lock = None
            return Found([(None,)])
        assert "pg_try_advisory_lock" in text
        if database.relay_lock is None:
            database.relay_lock = session
        if self._world.fails(0.01):
            session.unreachable = True
            self._lose("no answer")
        return Found([(database.relay_lock is session,)])

    def _ask(self) -> ServerSession:
        """Wait for the server, which may fail."""
        world = self._world
        world.interleave(self._engine.owner)
        session = self._reach()
        if world.fails(0.02):
            fault = world.random.choice(("ended", "unreachable", "cancelled"))
            if fault == "cancelled":
                raise _error("canceling statement due to statement timeout")
            if fault == "ended":
                self._database.end(session)
            session.unreachable = fault == "unreachable"
            self._lose("no answer")
        return session

    def _reach(self) -> ServerSession:
        if self._session is None or not self._session.open:
            self._lose("the server ended this session")
        return self._session

    def _lose(self, why: str) -> NoReturn:
        """Notice that the session is gone; what the pool has left is not used any more."""
        self._session = None
        for session in self._engine.idle:
            self._database.end(session)
        self._engine.idle.clear()
        raise _error(why)


def _error(what: str) -> OperationalError:
    return OperationalError("a statement", {}, Exception(what))
