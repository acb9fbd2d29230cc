"""Fixtures for the tests of a producing service; pytest finds them by itself where hookstream is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hookstream.schemas.catalogue import Catalogue

    from .testing import FakeEventProducer


@pytest.fixture
def hookstream_catalogue() -> Catalogue:
    """The events that the fake knows. Override it with the service's own folder: `Catalogue.from_directory(...)`."""
    from hookstream.schemas.catalogue import Catalogue  # noqa: PLC0415 - tests without the fake do not load it

    return Catalogue.shipped()


@pytest.fixture
def fake_event_producer(hookstream_catalogue: Catalogue) -> FakeEventProducer:
    """An event producer without Kafka: `events` has what was produced, and `fail_next` makes the next ones fail."""
    from .testing import FakeEventProducer  # noqa: PLC0415 - as above

    return FakeEventProducer(catalogue=hookstream_catalogue)
