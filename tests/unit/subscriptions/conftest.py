"""What several tests of this folder need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hookstream.subscriptions.database import Sessions, open_database, open_sessions

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def sessions() -> Iterator[Sessions]:
    """Sessions of an empty database in memory."""
    engine = open_database("sqlite://")
    yield open_sessions(engine)
    engine.dispose()
