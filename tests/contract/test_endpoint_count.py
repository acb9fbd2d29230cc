"""The number of endpoints, on SQLite and on PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert

from hookstream.schemas.event import ClientId
from hookstream.subscriptions.database import Sessions, open_database, open_sessions, reading, transact
from hookstream.subscriptions.endpoint_count import EndpointCount, count_endpoints
from hookstream.subscriptions.migrations import migrate
from hookstream.subscriptions.models import SubscriptionRow

if TYPE_CHECKING:
    from collections.abc import Iterator

# Clients have one to three hooks; of every second of those with two, and of every fortieth, all are disabled.
CLIENTS = 3_000


def hooks() -> Iterator[dict[str, object]]:
    """Rows of hooks; between them are ids of others that were replaced."""
    hook_id = 0
    for client in range(CLIENTS):
        count = client % 3 + 1
        for event in range(count):
            hook_id += 1 + (hook_id % 7 == 0)
            disabled = (count == 2 and client % 2 == 0) or client % 40 == 0 or (count == 3 and event == 1)
            yield {
                "client": str(client), "event": f"lead.{event}", "hook_id": hook_id, "target": f"https://{client}",
                "state": "disabled" if disabled else "enabled", "revision": 1, "secrets": (), "created_at_ms": 1,
                "updated_at_ms": 1,
            }  # fmt: skip


DISABLED = sum(client % 40 == 0 or (client % 3 == 1 and client % 2 == 0) for client in range(CLIENTS))


@pytest.fixture
def sessions(any_database_url: str) -> Iterator[Sessions]:
    migrate(any_database_url)
    engine = open_database(any_database_url)
    made = open_sessions(engine)
    rows = [*hooks(), {**next(hooks()), "client": "gone", "hook_id": 10**6, "state": "deleted"}]
    transact(made, lambda session: session.execute(insert(SubscriptionRow), rows))
    yield made
    engine.dispose()


def count(sessions: Sessions, client: ClientId | None = None) -> EndpointCount:
    """Ask."""
    with reading(sessions) as session:
        return count_endpoints(session, client)


def test_few_endpoints_are_counted(sessions: Sessions) -> None:
    """Every endpoint counts once, however many hooks share it; one with an enabled hook is not disabled."""
    assert count(sessions) == (CLIENTS, DISABLED, True)
    assert count(sessions, ClientId("4")) == (1, 1, True)


def test_many_endpoints_are_estimated(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample of the hooks gives their number within some per cent, and that of the disabled ones within some more."""
    monkeypatch.setattr("hookstream.subscriptions.endpoint_count.COUNTED", 1_000)
    monkeypatch.setattr("hookstream.subscriptions.endpoint_count.COUNTED_DISABLED", 1_000)
    monkeypatch.setattr("hookstream.subscriptions.endpoint_count.SAMPLE", 1_000)
    found, disabled, exact = count(sessions)
    assert not exact
    assert found == pytest.approx(CLIENTS, rel=0.05)
    assert disabled == pytest.approx(DISABLED, rel=0.2)
    assert count(sessions, ClientId("4")) == (1, 1, True)


def test_few_disabled_ones_of_many_endpoints_are_counted(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """An estimate from a sample would miss most of them."""
    monkeypatch.setattr("hookstream.subscriptions.endpoint_count.COUNTED", 1_000)
    monkeypatch.setattr("hookstream.subscriptions.endpoint_count.COUNTED_DISABLED", 4_000)
    monkeypatch.setattr("hookstream.subscriptions.endpoint_count.SAMPLE", 10)
    assert count(sessions).disabled == DISABLED
