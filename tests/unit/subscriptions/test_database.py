"""How databases are opened, and what is said when they do not serve us."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from hookstream.subscriptions.database import check_database, connect_arguments, open_database, translated
from hookstream.subscriptions.errors import DatabaseRefusedError, DatabaseUnavailableError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_database_file_is_made_for_its_owner_alone_and_one_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        (tmp_path / "theirs").touch(0o640)
        for name, mode in (("ours", 0o600), ("theirs", 0o640)):
            engine = open_database(f"sqlite:///{tmp_path / name}")
            check_database(engine)
            with engine.begin() as connection:
                connection.exec_driver_sql("CREATE TABLE t (x)")
                modes = {file.stat().st_mode & 0o777 for file in tmp_path.glob(f"{name}*")}
            engine.dispose()
            assert modes == {mode}
    finally:
        os.umask(before)


def test_a_database_in_memory_is_no_file(tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    engine = open_database("sqlite://")
    check_database(engine)
    engine.dispose()
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("postgresql+psycopg://h/d", {"connect_timeout": 5, "prepare_threshold": None}),
        ("postgresql+psycopg://h/d?connect_timeout=30&options=-csearch_path%3Dx", {"prepare_threshold": None}),
    ],
)
def test_what_a_url_says_is_left_to_it(url: str, kept: dict[str, object]) -> None:
    assert connect_arguments(make_url(url)) == kept


class Diagnosis:
    """What the server said, apart from the query."""

    message_primary = "canceling statement due to lock timeout"


class OperationalError(Exception):
    """As the driver's is called."""

    def __init__(self, text: str, *, sqlstate: str | None = None, diag: object = None) -> None:
        super().__init__(text)
        self.sqlstate = sqlstate
        self.diag = diag


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ('server at "h", port 1 failed: FATAL:  database "x" does not exist', True),
        ('server at "h", port 1 failed: FATAL:  password authentication failed for user "u"', True),
        ('server at "h", port 1 failed: FATAL:  no pg_hba.conf entry for host "h"', True),
        ('server at "h", port 1 failed: fe_sendauth: no password supplied', True),
        ('server at "h", port 1 failed: FATAL:  no such database: x', True),  # PgBouncer
        ('server at "h", port 1 failed: FATAL:  unsupported startup parameter: options', True),
        ('server at "h", port 1 failed: FATAL:  the database system is starting up', False),
        ('server at "h", port 1 failed: FATAL:  sorry, too many clients already', False),
        ('server at "h", port 1 failed: Connection refused\n\tIs the server running', False),
        ("consuming input failed: server closed the connection unexpectedly", False),
    ],
)
def test_why_a_database_does_not_serve_us_is_said_and_whether_waiting_helps(text: str, refused: bool) -> None:
    with pytest.raises(DatabaseUnavailableError) as caught, translated():
        raise DBAPIError(None, None, OperationalError(f"connection failed: connection to {text}"))
    assert isinstance(caught.value, DatabaseRefusedError) == refused
    said = str(caught.value)
    assert said.endswith(" ".join(text.split()))
    assert said.isprintable()


def test_the_server_s_own_sentence_is_said_and_not_the_query() -> None:
    failed = OperationalError("SENTINEL", sqlstate="55P03", diag=Diagnosis())
    with pytest.raises(DatabaseUnavailableError, match=r"canceling statement due to lock timeout$"), translated():
        raise DBAPIError("SELECT SENTINEL", None, failed)


def test_a_right_that_is_missing_is_no_defect_of_ours() -> None:
    class InsufficientPrivilegeError(Exception):
        sqlstate = "42501"
        diag = type("Diag", (), {"message_primary": "permission denied for table slots"})()

    with pytest.raises(DatabaseRefusedError, match="permission denied for table slots"), translated():
        raise DBAPIError("SELECT", None, InsufficientPrivilegeError("x"))
