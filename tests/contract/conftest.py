"""Both databases, for suites that have to hold on each."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["sqlite", "postgresql"])
def any_database_url(request: pytest.FixtureRequest) -> str:
    """SQLAlchemy URL of an empty database, once on SQLite and once on PostgreSQL."""
    fixture = {"sqlite": "sqlite_url", "postgresql": "database_url"}[request.param]
    url: str = request.getfixturevalue(fixture)
    return url
