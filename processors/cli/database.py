"""The database of a deployment, for commands that work on it directly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from hookstream.processors.errors import SettingsError
from hookstream.processors.settings import variable
from hookstream.subscriptions.database import (
    Sessions,
    check_database,
    connect_arguments,
    lone_connection,
    open_database,
    open_sessions,
)
from hookstream.subscriptions.errors import DatabaseUnavailableError, SchemaRevisionError
from hookstream.subscriptions.migrations import check_revision


def engine_for(url: str) -> Engine:
    """An engine; nothing is connected yet.

    Raises:
        SettingsError: the URL is none, or no driver for it is installed.
    """
    try:
        return open_database(url)
    except DatabaseUnavailableError as exc:
        message = f"{variable('database_url')}: {exc}"
        raise SettingsError(message) from exc


def service_engine(url: str) -> Engine:
    """An engine on a producing service's own database; nothing is connected yet.

    Raises:
        SettingsError: as above.
    """
    try:
        parsed = make_url(url)
        arguments = connect_arguments(parsed) if parsed.get_backend_name() == "postgresql" else {}
        return create_engine(parsed, pool_pre_ping=True, hide_parameters=True, connect_args=arguments)
    except (SQLAlchemyError, ModuleNotFoundError) as exc:
        message = f"{variable('database_url')}: not a database URL that can be used ({type(exc).__name__})"
        raise SettingsError(message) from None


def database_question(engine: Engine) -> Callable[[], object]:
    """A question that shows whether the database of an engine answers; nothing is connected yet.

    Raises, when it is asked:
        DatabaseUnavailableError: no answer.
    """
    own = lone_connection(engine)
    return lambda: check_database(own)


@contextmanager
def migrated_database(url: str) -> Iterator[Sessions]:
    """Sessions on a database of this release's schema.

    Raises:
        DatabaseError: it does not answer, or is at another schema revision.
    """
    engine = engine_for(url)
    try:
        if _is_missing_file(engine):  # asking SQLite would make it
            message = "there is no such database yet: hookstream migrate"
            raise SchemaRevisionError(message)
        check_revision(engine)
        yield open_sessions(engine)
    finally:
        engine.dispose()


def _is_missing_file(engine: Engine) -> bool:
    path = engine.url.database if engine.dialect.name == "sqlite" else None
    return (
        path is not None and path not in ("", ":memory:") and not path.startswith("file:") and not Path(path).exists()
    )
