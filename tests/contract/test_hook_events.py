"""Notices about hooks in the database, on SQLite and on PostgreSQL: written with their cause, told once, in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import HookId, HookNotice, NoticeKind, Revision
from hookstream.schemas.notices import Notice, NoticeName, event_of_notice
from hookstream.subscriptions.database import transact
from hookstream.subscriptions.errors import NotPublishedError
from hookstream.subscriptions.models import DisabledReason
from hookstream.subscriptions.notices import publish_notices
from hookstream.subscriptions.repository import HookRepository
from tests.support.subscriptions_api import Api

if TYPE_CHECKING:
    from collections.abc import Sequence

CLIENT = 434


@dataclass
class Topic:
    """Takes notices, or does not acknowledge them."""

    told: list[Notice] = field(default_factory=list)
    refuses: bool = False

    def publish(self, notices: Sequence[Notice]) -> None:
        """Take them; what is not acknowledged may be there nevertheless."""
        self.told += notices
        if self.refuses:
            msg = "no acknowledgement"
            raise NotPublishedError(msg)


def made(api: Api, event: str = "lead.new", **fields: str) -> int:
    """Register a hook."""
    found: int = api.integrator(CLIENT).create(event=event, **fields).json()["hook"]["id"]
    return found


def ask(api: Api, hook_id: int, action: str) -> None:
    """Enable or disable a hook as its integrator does."""
    body = {"backlog": "resume"} if action == "enable" else None
    assert api.integrator(CLIENT)("POST", f"/hooks/{hook_id}/{action}", body).status_code == 200


def published(api: Api) -> list[Notice]:
    """Relay everything that is there."""
    topic = Topic()
    while publish_notices(api.sessions, topic, limit=2):
        pass
    return topic.told


def test_disabling_and_enabling_are_told_once_each_and_in_order(api: Api) -> None:
    """Each change of a hook's state is one notice; what changes nothing is none."""
    hook_id = made(api)
    for action in ("enable", "disable", "disable", "enable", "enable", "disable"):
        ask(api, hook_id, action)
    told = published(api)
    assert [notice.name for notice in told] == [
        NoticeName.HOOK_DISABLED,
        NoticeName.HOOK_ENABLED,
        NoticeName.HOOK_DISABLED,
    ]
    assert {(notice.client, notice.hook_id, notice.hook_event) for notice in told} == {("434", hook_id, "lead.new")}
    assert [notice.reason for notice in told] == ["requested", None, "requested"]
    assert len({event_of_notice(notice).id for notice in told}) == 3
    assert published(api) == []


@pytest.mark.parametrize("reason", [DisabledReason.GONE, DisabledReason.FAILING])
def test_what_a_worker_observed_is_told_with_its_reason_and_time(api: Api, reason: DisabledReason) -> None:
    """A hook that a worker disabled is told once, however often the worker repeats it."""
    seen = HookNotice(
        hook_id=HookId(made(api)),
        client=ClientId(str(CLIENT)),
        event=EventName("lead.new"),
        revision=Revision(1),
        kind=NoticeKind.GONE,
        observed_at_ms=api.clock.now_ms - 500,
    )
    for _ in range(2):
        transact(
            api.sessions,
            lambda session: HookRepository(session, "worker", api.clock.now_ms).disable_observed(seen, reason),
        )
    (notice,) = published(api)
    assert (notice.reason, notice.at_ms) == (reason.value, api.clock.now_ms - 500)


def test_a_notice_that_is_not_acknowledged_is_told_again_under_its_id(api: Api) -> None:
    """As after a kill -9 between the acknowledgement and the deletion of the row."""
    ask(api, made(api), "disable")
    topic = Topic(refuses=True)
    with pytest.raises(NotPublishedError):
        publish_notices(api.sessions, topic, limit=10)
    (again,) = published(api)
    assert event_of_notice(again) == event_of_notice(topic.told[0])


def test_nothing_is_told_about_an_endpoint_that_gets_notices(api: Api) -> None:
    """Neither of a hook for notices, nor of another one that has the same target."""
    target = "https://example.com/notices"
    of_notices = made(api, NoticeName.HOOK_DISABLED.value, target=target)
    beside, apart = made(api, "lead.new", target=target), made(api, "lead.deleted")
    for hook_id in (of_notices, beside, apart):
        ask(api, hook_id, "disable")
        ask(api, hook_id, "enable")
    assert [notice.hook_id for notice in published(api)] == [apart, apart]


def test_a_change_that_is_rolled_back_is_not_told(api: Api) -> None:
    """The notice is written in the transaction of its cause."""
    hook_id = made(api)
    with api.sessions() as session:
        HookRepository(session, "a", api.clock.now_ms).disable(hook_id, client=None)
        session.rollback()
    assert published(api) == []
