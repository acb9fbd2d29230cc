"""Both databases, and the API on them, for suites that have to hold on each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.subscriptions_api import Api

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=["sqlite", "postgresql"])
def any_database_url(request: pytest.FixtureRequest) -> str:
    """SQLAlchemy URL of an empty database, once on SQLite and once on PostgreSQL."""
    fixture = {"sqlite": "sqlite_url", "postgresql": "database_url"}[request.param]
    url: str = request.getfixturevalue(fixture)
    return url


@pytest.fixture
def api(any_database_url: str) -> Iterator[Api]:
    """The API on an empty database, once on each kind."""
    made = Api(any_database_url)
    yield made
    made.close()


@pytest.fixture
def on_sqlite(sqlite_url: str) -> Iterator[Api]:
    """The API for what no database has a part in."""
    made = Api(sqlite_url)
    yield made
    made.close()
