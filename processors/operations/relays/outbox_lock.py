"""The lock that lets one relay at a time send the outbox of a database; the kernel or the server frees a dead one's."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from hookstream.producers.outbox import OUTBOX, require_supported

_LOCK_CLASS = 0x686F6F6B  # "hook"; the object is the table, so that two schemas of a database have two relays
_TRY_LOCK = text(
    "SELECT pg_try_advisory_lock(:class, (CAST(CAST(CAST(:table AS regclass) AS oid) AS bigint) - 2147483648)::int)"
)
_BACKEND = text("SELECT pg_backend_pid()")
_LOOKS = 5
_UNLOCK = text("SELECT pg_advisory_unlock_all()")
_SQLITE_FILE = text("SELECT file FROM pragma_database_list WHERE name = 'main'")


@dataclass(frozen=True, slots=True)
class OutboxLock:
    """A held lock, and the connection to use while it is held: on PostgreSQL the lock lives and dies with it."""

    connection: Connection
    file: int | None

    def release(self) -> None:
        """Let another relay have it. The connection is thrown away: where it cannot unlock, its end does."""
        with suppress(SQLAlchemyError):
            if self.connection.dialect.name == "postgresql":
                self.connection.execute(_UNLOCK)
        self.connection.invalidate()
        self.connection.close()
        if self.file is not None:
            os.close(self.file)


def lock_outbox(engine: Engine) -> OutboxLock | None:
    """Give the lock, or None while another relay has it.

    PostgreSQL: an advisory lock of the session, so a pooler between us has to pool sessions (`shares_sessions`).
    SQLite: a lock on a file beside the database; an in-memory database has one process, and needs none.

    Raises:
        SQLAlchemyError: the database cannot be asked.
        UnsupportedDatabaseError: neither PostgreSQL nor SQLite.
    """
    connection = engine.connect()
    file: int | None = None
    try:
        if require_supported(connection) == "postgresql":
            asked = {"class": _LOCK_CLASS, "table": OUTBOX.name}
            held = bool(connection.execute(_TRY_LOCK, asked).scalar())
        else:
            path = connection.execute(_SQLITE_FILE).scalar_one()
            file = _lock_file(f"{path}-outbox-lock") if path else None
            held = not path or file is not None
        connection.rollback()
    except BaseException:
        connection.close()
        raise
    if held:
        return OutboxLock(connection, file)
    connection.close()
    return None


def shares_sessions(engine: Engine) -> bool:
    """Whether something between us hands a session from one connection to another, as poolers of transactions do.

    There the lock of a session belongs to no connection: it outlives its connection, and every other one may get it,
    too.

    Raises:
        SQLAlchemyError: the database cannot be asked.
    """
    if engine.dialect.name != "postgresql":
        return False
    with engine.connect() as first, engine.connect() as second:
        # One question at a time: what it leaves free is given to the next. Others that use the pooler may take it once.
        looks = ((_session(first), _session(first), _session(second)) for _ in range(_LOOKS))
        return any(mine != again or again == other for mine, again, other in looks)


def _session(connection: Connection) -> int:
    number: int = connection.execute(_BACKEND).scalar_one()
    connection.rollback()
    return number


def _lock_file(path: str) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
