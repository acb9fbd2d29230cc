"""A pooler of transactions between us and PostgreSQL, such as PgBouncer, and a URL with options of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from hookstream.processors.cli.console import CommandError
from hookstream.processors.cli.database import service_engine
from hookstream.processors.cli.roles.outbox_relay import check_outbox
from hookstream.producers.outbox import create_tables
from hookstream.schemas.event import ClientId
from hookstream.subscriptions.database import open_database, open_sessions, reading, transact
from hookstream.subscriptions.errors import DatabaseRefusedError
from hookstream.subscriptions.migrations import check_revision, migrate
from hookstream.subscriptions.models import Role
from hookstream.subscriptions.tokens import TokenRequest, issue_token, list_tokens
from tests.support.pooler import TransactionPooler
from tests.support.postgres import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

ROUNDS = 12  # a driver that prepares does so from the fifth time on


@pytest.fixture
def pooled_url(database_url: str) -> Iterator[str]:
    """A database behind a pooler of transactions."""
    with TransactionPooler(database_url) as pooler:
        yield pooler.url


def issue(session: Session) -> int:
    request = TokenRequest(role=Role.INTEGRATOR, client=ClientId("1"), name="x", expires_at_ms=None)
    return issue_token(session, request, actor="test", now_ms=1).info.id


def test_everything_works_where_each_transaction_has_another_session(pooled_url: str) -> None:
    migrate(pooled_url)
    engine = open_database(pooled_url)
    sessions = open_sessions(engine)
    try:
        check_revision(engine)
        made = [transact(sessions, issue) for _ in range(ROUNDS)]
        with reading(sessions) as session:
            assert [token.id for token in list_tokens(session)] == made
    finally:
        engine.dispose()


@pytest.mark.parametrize("fixture", ["pooled_url", "database_url"])
def test_a_lock_is_waited_for_within_limits_whatever_stands_between(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    engine = open_database(request.getfixturevalue(fixture))
    try:
        for _ in range(3):
            with engine.begin() as connection:
                limits = [
                    connection.execute(text(f"SHOW {name}")).scalar_one()
                    for name in ("lock_timeout", "idle_in_transaction_session_timeout")
                ]
                assert limits == ["10s", "1min"]
    finally:
        engine.dispose()


def test_the_relay_of_an_outbox_refuses_sessions_that_are_handed_round(pooled_url: str, database_url: str) -> None:
    for url in (database_url, pooled_url):
        engine = service_engine(url)
        try:
            if url == database_url:
                create_tables(engine)
                check_outbox(engine)
            else:
                with pytest.raises(CommandError, match="a pooler shares them here"):
                    check_outbox(engine)
        finally:
            engine.dispose()


def test_options_of_the_url_are_kept(database_url: str) -> None:
    with connect(database_url) as connection:
        connection.execute("CREATE SCHEMA hooks")
    url = f"{database_url}?options=-csearch_path%3Dhooks%20-clock_timeout%3D7s"
    migrate(url)
    engine = open_database(url)
    try:
        check_revision(engine)
        with engine.begin() as connection:
            assert connection.execute(text("SHOW lock_timeout")).scalar_one() == "7s"
    finally:
        engine.dispose()
    with connect(database_url) as connection:
        schemas = connection.execute(
            "SELECT DISTINCT schemaname FROM pg_tables WHERE tablename = 'subscription_keys'"
        ).fetchall()
    assert schemas == [("hooks",)]


def test_what_a_database_refuses_is_said_in_its_own_words(database_url: str, pooled_url: str) -> None:
    absent = f"{database_url}_absent"
    name = absent.rpartition("/")[2]
    for url, says in (
        (absent, f'FATAL: database "{name}" does not exist'),
        (f"{pooled_url}?options=-csearch_path%3Dhooks", "FATAL: unsupported startup parameter: options"),
        (f"{database_url}?options=-csearch_path%3Dabsent", "no schema has been selected to create in"),
    ):
        with pytest.raises(DatabaseRefusedError, match=f"^the database refuses us: .*{says}$"):
            migrate(url)
