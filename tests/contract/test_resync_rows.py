"""What a resync makes of rows that no database takes: one line about each, and every other row is lifted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from hookstream.schemas.event import EventName
from hookstream.schemas.hook import HookId, HookState, Revision
from hookstream.subscriptions.database import open_database, open_sessions, reading
from hookstream.subscriptions.migrations import migrate
from hookstream.subscriptions.models import SubscriptionRow
from hookstream.subscriptions.resync import lift_above, preview_lift
from tests.support.values import HOOK

if TYPE_CHECKING:
    from hookstream.schemas.hook import Hook
    from hookstream.subscriptions.publication import SubscriptionKey

GOOD = replace(HOOK, event=EventName("lead.status"), id=HookId(HOOK.id + 1))
FOREIGN = {
    "a NUL in the event": replace(HOOK, event=EventName("lead.\0")),
    "a NUL in the target": replace(HOOK, target="https://example.com/\0"),
    "the last revision": replace(HOOK, revision=Revision(2**63 - 1)),
    "the last id": replace(HOOK, id=HookId(2**63 - 1)),
    "an event that no index takes": replace(HOOK, event=EventName("lead." + "x" * 5000)),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_row_that_no_database_takes_is_reported_and_the_others_are_lifted(any_database_url: str, name: str) -> None:
    """A row of the topic that holds what no database takes is named in the report; it holds back no other row."""
    foreign: Hook = FOREIGN[name]
    migrate(any_database_url)
    engine = open_database(any_database_url)
    try:
        sessions = open_sessions(engine)
        seen: dict[SubscriptionKey, Hook] = {(row.client, row.event): row for row in (foreign, GOOD)}
        for lift in (preview_lift, lift_above):
            report = lift(sessions, seen, actor="test", now_ms=5)
            assert report.refused == ((foreign.client, foreign.event),)
            assert (report.seen, report.lifted, report.taken_over, report.closed) == (2, 1, 1, ())
        with reading(sessions) as session:
            row = session.scalars(select(SubscriptionRow)).one()
            assert (row.revision, row.state) == (Revision(GOOD.revision + 1), HookState(GOOD.state).value)
    finally:
        engine.dispose()
