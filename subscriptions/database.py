"""One transaction at a time, on PostgreSQL or SQLite; no other module knows the difference, or SQLAlchemy's errors.

On PostgreSQL nothing outlives its transaction: no setting of the session, no prepared statement, no lock. So a pooler
that gives each transaction another session, such as PgBouncer in transaction mode, may stand between us.

Writers of one row come one after another on both: PostgreSQL locks the row that is selected for update; SQLite locks
the file when a writing transaction begins (BEGIN IMMEDIATE), so that what was read cannot change before the write.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from time import monotonic
from typing import TypeAlias, TypeVar, cast

from sqlalchemy import (
    ARRAY,
    URL,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Select,
    create_engine,
    event,
    func,
    make_url,
    select,
    text,
    tuple_,
)
from sqlalchemy import cast as cast_in_sql
from sqlalchemy.exc import DBAPIError, IntegrityError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import InstrumentedAttribute, Session, sessionmaker
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_random

from .errors import DatabaseRefusedError, DatabaseUnavailableError, SchemaRevisionError

Sessions: TypeAlias = sessionmaker[Session]
NowMs: TypeAlias = Callable[[], int]
"""Wall time in Unix milliseconds."""

_Result = TypeVar("_Result")
_Row = TypeVar("_Row")
_Value = TypeVar("_Value", str, int)

_DATABASE_NOW_MS = {
    "postgresql": text("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS bigint)"),
    "sqlite": text("SELECT CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER)"),
}

_READ_ONLY = "hookstream_read_only"
_PRIVATE_FILE = 0o600

# A request rather fails with 503 than hangs behind a lock; the relay holds one for as long as Kafka takes.
_LOCK_TIMEOUT_S = 10
# A process suspended inside a transaction must not hold its rows for ever. Longer than any publish may take.
_IDLE_IN_TRANSACTION_S = 60
_CONNECT_TIMEOUT_S = 5
# Two processes may insert the same row; one of them begins again and then sees it. Twice in a row is a defect.
_ATTEMPTS = 5
# PostgreSQL: no such database, wrong password, not let in, no right, no schema to create in, a standby.
_REFUSED = frozenset({"3D000", "28P01", "28000", "42501", "3F000", "25006"})
_LONGEST_REASON = 300
# PostgreSQL's words for invalid_catalog_name, invalid_password and invalid_authorization_specification, and PgBouncer's
# for those and for what it never does. Of a server that speaks another language they are waited for, with its words.
_REFUSALS = re.compile(
    r'(database|role) "[^"]*" does not exist|no such (database|user)|authentication failed|no password supplied'
    r"|no pg_hba\.conf entry|not permitted to log in|unsupported startup parameter|statement pooling mode"
)
# Instructions of SQLite's machine between two looks at the clock: some hundred microseconds.
_SQLITE_STEPS = 10_000
# PostgreSQL: undefined table, undefined column.
_MISSING = frozenset({"42P01", "42703"})


def open_database(url: str) -> Engine:
    """An engine with the locking that this package relies on. No connection is made yet.

    Raises:
        DatabaseUnavailableError: the URL is none that SQLAlchemy understands; its text, which may hold a password,
            is not repeated.
    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return _sqlite(url)
        if parsed.get_backend_name() != "postgresql":
            raise NoSuchModuleError(parsed.get_backend_name())
        return _postgresql(parsed)
    except (SQLAlchemyError, ModuleNotFoundError) as exc:
        msg = f"not a database URL that can be used ({type(exc).__name__}); needs postgresql+psycopg:// or sqlite:///"
        raise DatabaseUnavailableError(msg) from None


def _postgresql(url: URL) -> Engine:
    engine = create_engine(
        url,
        pool_pre_ping=True,
        hide_parameters=True,  # an error's text must not hold what was written
        pool_timeout=_LOCK_TIMEOUT_S,
        connect_args=connect_arguments(url),
    )
    limits = {
        "lock_timeout": f"{_LOCK_TIMEOUT_S}s",
        "idle_in_transaction_session_timeout": f"{_IDLE_IN_TRANSACTION_S}s",
        # Where PostgreSQL guesses many rows, it compiles and starts processes for longer than our questions take.
        "jit": "off",
        "max_parallel_workers_per_gather": "0",
    }
    # As options of the connection they would be refused by PgBouncer, and lost between two transactions.
    given = str(url.query.get("options", ""))
    wanted = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in limits.items() if name not in given)
    if wanted:

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql(f"SELECT {wanted}")

    return engine


def connect_arguments(url: URL) -> dict[str, object]:
    """What connections to PostgreSQL have beside what their URL says; what it says is left to it."""
    arguments: dict[str, object] = {"connect_timeout": _CONNECT_TIMEOUT_S}
    if url.get_driver_name() == "psycopg":
        arguments["prepare_threshold"] = None  # what one session prepared is unknown to a pooler's next one
    return {name: value for name, value in arguments.items() if name not in url.query}


def _sqlite(url: str) -> Engine:
    engine = create_engine(
        url, hide_parameters=True, connect_args={"timeout": _LOCK_TIMEOUT_S, "check_same_thread": False}
    )

    @event.listens_for(engine, "do_connect")
    def _private(_dialect: object, _record: object, arguments: Sequence[str], _options: object) -> None:
        _make_private(arguments[0])

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous = FULL")  # what was acknowledged survives a power cut
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        deferred = connection.get_execution_options().get(_READ_ONLY, False)
        connection.exec_driver_sql("BEGIN" if deferred else "BEGIN IMMEDIATE")

    return engine


def _make_private(path: str) -> None:
    """Make a database file that only its owner reads, where there is none: SQLite would make it as the umask says.

    Its journals get the file's own mode. A mode that an operator gave it stays.
    """
    if path == ":memory:" or path.startswith("file:"):
        return
    with suppress(OSError):  # that it exists; or what SQLite is about to say better
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE_FILE))


@retry(
    retry=retry_if_exception_type(sqlite3.OperationalError),
    stop=stop_after_delay(_LOCK_TIMEOUT_S),
    wait=wait_random(0.01, 0.1),
    reraise=True,
)
def _write_ahead(connection: sqlite3.Connection) -> None:
    """Let readers wait for no writer.

    Of several that switch a new file over at once, SQLite refuses all but one, however long they would wait.
    """
    connection.execute("PRAGMA journal_mode = WAL")


def open_sessions(engine: Engine) -> Sessions:
    """Sessions on that engine, for `transact` and `reading`."""
    return sessionmaker(engine, expire_on_commit=False)


def transact(sessions: Sessions, work: Callable[[Session], _Result]) -> _Result:
    """Run `work` in one writing transaction and commit it; run it again where it lost a race for a new row.

    Raises:
        DatabaseUnavailableError: no connection, or a lock was held for too long.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with translated(), sessions.begin() as session:
                return work(session)
        except IntegrityError:
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError  # pragma: no cover  # the loop returns or raises


def one_of(session: Session, column: InstrumentedAttribute[_Value], values: Collection[_Value]) -> ColumnElement[bool]:
    """A condition that a column is one of these texts or numbers, with one parameter for any number of them.

    `IN` has a parameter for each: ten thousand take longer to be written into the statement than to be looked up.
    """
    if session.get_bind().dialect.name == "sqlite":
        each = func.json_each(json.dumps(list(values))).table_valued("value")
        return column.in_(select(each.c.value))
    return column == func.any(cast_in_sql(list(values), ARRAY(column.type)))


def one_of_pairs(
    session: Session,
    columns: tuple[InstrumentedAttribute[str], InstrumentedAttribute[str]],
    pairs: Collection[tuple[str, str]],
) -> ColumnElement[bool]:
    """A condition that two columns are one of these pairs; on PostgreSQL with two parameters for any number of them."""
    if session.get_bind().dialect.name == "sqlite":
        return tuple_(*columns).in_(list(pairs))
    arrays = [
        cast_in_sql([pair[at] for pair in pairs], ARRAY(column.type, dimensions=1)) for at, column in enumerate(columns)
    ]
    each = func.unnest(*arrays).table_valued(*(Column(column.name, column.type) for column in columns)).render_derived()
    return tuple_(*columns).in_(select(*each.c))


def transact_due(sessions: Sessions, due: Select[_Row], work: Callable[[Sequence[_Row]], int]) -> int:
    """Do `work` on the rows that are due, locked in one transaction; give its number. Rows that others lock are left.

    Whether there are any is asked without a lock first: mostly there are none, and a writer would wait for the lock.
    It is asked in the order of `due`, which an index has: PostgreSQL would look for any row in the whole table where it
    takes many to be due.

    Raises:
        DatabaseUnavailableError: as `transact`.
    """
    with reading(sessions) as session:
        if session.scalar(due.limit(1)) is None:
            return 0
    locked = due.with_for_update(skip_locked=True)
    return transact(sessions, lambda session: work(session.scalars(locked).all()))


def database_now_ms(session: Session) -> int:
    """What time it is by the database's clock, in Unix ms: for times that processes of several machines compare.

    It is asked anew each time, also within a transaction.
    """
    return int(session.execute(_DATABASE_NOW_MS[session.get_bind().dialect.name]).scalar_one())


@contextmanager
def reading(sessions: Sessions, *, within_s: float | None = None) -> Iterator[Session]:
    """A transaction that writes nothing, and on SQLite waits for no writer. `within_s` bounds every query in it.

    Raises:
        DatabaseUnavailableError: no connection, or a query took too long.
    """
    with translated(), sessions() as session:
        connection = session.connection(execution_options={_READ_ONLY: True})
        with _bounded(connection, within_s):
            yield session


@contextmanager
def _bounded(connection: Connection, within_s: float | None) -> Iterator[None]:
    """Let the database give up a query that takes longer."""
    if within_s is None:
        yield
    elif connection.dialect.name == "sqlite":
        driver = cast("sqlite3.Connection", connection.connection.dbapi_connection)
        ends_s = monotonic() + within_s
        driver.set_progress_handler(lambda: monotonic() > ends_s, _SQLITE_STEPS)
        try:
            yield
        finally:
            driver.set_progress_handler(None, 0)
    else:
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {int(within_s * 1000)}")
        yield


@contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's errors about connection, locks, time and schema into ours; others pass, for they are defects.

    Raises:
        DatabaseUnavailableError: instead of those; the message says what the server said.
        DatabaseRefusedError: the server would say it again: there is no such database, or the password is wrong.
        SchemaRevisionError: a table or column is missing.
    """
    try:
        yield
    except IntegrityError:
        raise
    except PoolTimeoutError as exc:
        msg = "no connection to the database became free in time"
        raise DatabaseUnavailableError(msg) from exc
    except DBAPIError as exc:
        if _is_about_the_schema(exc):
            msg = "the database lacks a table or column that this release needs: hookstream migrate"
            raise SchemaRevisionError(msg) from exc
        if not (_is_about_the_server(exc) or _is_refused(exc)):
            raise
        raise _unavailable(exc) from exc


def _unavailable(exc: DBAPIError) -> DatabaseUnavailableError:
    """What the server said, or the driver of the server. Neither repeats a query, or a password."""
    primary = getattr(getattr(exc.orig, "diag", None), "message_primary", None)
    said = " ".join(str(primary or exc.orig).split()).removeprefix("connection failed: ")[:_LONGEST_REASON]
    if _is_refused(exc) or _REFUSALS.search(said):  # while connecting, the driver has no SQLSTATE
        return DatabaseRefusedError(f"the database refuses us: {said}")
    return DatabaseUnavailableError(f"the database does not serve us: {said}")


def _is_about_the_schema(exc: DBAPIError) -> bool:
    return getattr(exc.orig, "sqlstate", None) in _MISSING or str(exc.orig).startswith(
        ("no such table", "no such column")
    )


def _is_refused(exc: DBAPIError) -> bool:
    return getattr(exc.orig, "sqlstate", None) in _REFUSED


def _is_about_the_server(exc: DBAPIError) -> bool:
    """Connection lost or refused, lock not had, deadlock, server shutting down: `OperationalError` of both drivers."""
    return exc.connection_invalidated or any(kind.__name__ == "OperationalError" for kind in type(exc.orig).__mro__)


@contextmanager
def connected(engine: Engine) -> Iterator[Connection]:
    """A connection that writes nothing, for questions about the database itself.

    Raises:
        DatabaseUnavailableError: no connection.
    """
    with translated(), engine.connect().execution_options(**{_READ_ONLY: True}) as connection:
        yield connection


def check_database(engine: Engine) -> None:
    """Ask the database for an answer.

    Raises:
        DatabaseUnavailableError: there was none.
    """
    with connected(engine) as connection:
        connection.execute(text("SELECT 1"))


def lone_connection(engine: Engine) -> Engine:
    """An engine on the same database with one connection of its own, to ask whether it answers.

    The pool of the other one may be in use to the last connection by requests that wait for locks. An answer that a
    broken network keeps back is given up after a while.
    """
    if engine.dialect.name != "postgresql":
        return engine
    arguments = connect_arguments(engine.url)
    if engine.url.get_driver_name() == "psycopg":
        arguments.setdefault("tcp_user_timeout", _CONNECT_TIMEOUT_S * 1000)
    return create_engine(engine.url, hide_parameters=True, pool_size=1, max_overflow=0, connect_args=arguments)
