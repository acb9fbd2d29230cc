"""Alembic migrations of the database of hookstream, for PostgreSQL and SQLite.

They run from the installed package, on a connection that the caller opened: no `alembic.ini`, no environment.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from hookstream.subscriptions.database import connected, open_database, translated
from hookstream.subscriptions.errors import SchemaRevisionError

# Two processes that migrate at once come one after another; the number is ours alone within a PostgreSQL database.
_ADVISORY_LOCK = 0x68_6F_6F_6B


def migrate(url: str, revision: str = "head") -> str:
    """Bring the database up to that schema revision, in one transaction, and give the revision's name. Idempotent.

    Raises:
        DatabaseUnavailableError: no connection, or a lock was held for too long.
    """
    return _run(url, lambda config: command.upgrade(config, revision))


def downgrade(url: str, revision: str) -> str:
    """Take the database back to an earlier schema revision, or to `base`, and give its name. What is dropped is lost.

    Raises:
        DatabaseUnavailableError: as above.
    """
    return _run(url, lambda config: command.downgrade(config, revision))


def _run(url: str, step: Callable[[Config], None]) -> str:
    engine = open_database(url)
    try:
        with translated(), engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            step(_config(connection))
            return _current(connection) or ""
    finally:
        engine.dispose()


def required_revision() -> str:
    """The schema revision that this release needs."""
    return ScriptDirectory.from_config(_config(None)).get_current_head() or ""


def current_revision(engine: Engine) -> str | None:
    """The schema revision that the database is at, None where it was never migrated.

    Raises:
        DatabaseUnavailableError: no connection.
    """
    with connected(engine) as connection:
        return _current(connection)


def check_revision(engine: Engine) -> None:
    """Check at start-up that the database is the one this release was written for.

    Raises:
        SchemaRevisionError: it is not; the message says what to do.
        DatabaseUnavailableError: no connection.
    """
    required, current = required_revision(), current_revision(engine)
    if current == required:
        return
    known = {script.revision for script in ScriptDirectory.from_config(_config(None)).walk_revisions()}
    if current is None or current in known:
        msg = (
            f"the database is at schema revision {current or 'none'}, this release needs {required}: hookstream migrate"
        )
    else:
        msg = f"the database is at schema revision {current}, which is newer than this release ({required}): upgrade it"
    raise SchemaRevisionError(msg)


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _config(connection: Connection | None) -> Config:
    config = Config()
    # Alembic interpolates `%`.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
