"""What a worker's notice does to the row of a hook, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import select

from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import HookId, HookNotice, NoticeKind, Revision
from hookstream.subscriptions.database import reading, transact
from hookstream.subscriptions.models import AuditRow, DisabledReason, SubscriptionRow
from hookstream.subscriptions.repository import HookRepository
from tests.support.subscriptions_api import Api
from tests.support.wait import WITHIN_S

CLIENT = 434


def hook_and_notice(api: Api) -> tuple[int, HookNotice]:
    """Make a hook, and what a worker says that found its target gone."""
    hook_id = api.integrator(CLIENT).create().json()["hook"]["id"]
    notice = HookNotice(
        hook_id=HookId(hook_id),
        client=ClientId(str(CLIENT)),
        event=EventName("lead.new"),
        revision=Revision(1),
        kind=NoticeKind.GONE,
        observed_at_ms=api.clock.now_ms - 500,
    )
    return hook_id, notice


def apply(api: Api, notice: HookNotice, reason: DisabledReason = DisabledReason.GONE) -> bool:
    """Apply a notice in a transaction of its own."""
    return transact(
        api.sessions,
        lambda session: HookRepository(session, "worker", api.clock.now_ms).disable_observed(notice, reason),
    )


def stored_row(api: Api) -> tuple[str, str | None, int]:
    """Read what the row says: state, reason, revision."""
    with reading(api.sessions) as session:
        row = session.get_one(SubscriptionRow, (CLIENT, "lead.new"))
        return row.state, row.disabled_reason, row.revision


@pytest.mark.parametrize("reason", [DisabledReason.GONE, DisabledReason.FAILING])
def test_a_notice_disables_the_hook_that_it_saw(api: Api, reason: DisabledReason) -> None:
    """The hook is disabled under a higher revision, the reason is shown and audited, and the secret stays."""
    hook_id, notice = hook_and_notice(api)
    api.clock.now_ms += 1000
    assert apply(api, notice, reason)
    assert stored_row(api) == ("disabled", reason.value, 2)
    hook = api.integrator(CLIENT)("GET", f"/hooks/{hook_id}").json()["hook"]
    assert (hook["state"], hook["disabled_reason"], hook["updated_at_ms"]) == (
        "disabled",
        reason.value,
        api.clock.now_ms,
    )
    with reading(api.sessions) as session:
        row = session.scalars(select(AuditRow).where(AuditRow.action == "hook.disable")).one()
        assert (row.actor, row.hook_id, row.at_ms) == ("worker", hook_id, api.clock.now_ms)
        assert row.detail == {"revision": 2, "reason": reason.value, "observed_at_ms": notice.observed_at_ms}
        assert len(session.get_one(SubscriptionRow, (CLIENT, "lead.new")).secrets) == 1


def test_a_notice_is_applied_once(api: Api) -> None:
    """The same notice again is stale: whoever reads it twice changes nothing."""
    _, notice = hook_and_notice(api)
    assert apply(api, notice)
    assert not apply(api, notice)
    assert stored_row(api) == ("disabled", "gone", 2)


def test_of_two_processes_with_one_notice_one_applies_it(api: Api, any_database_url: str) -> None:
    """Two processes that apply one notice at the same moment disable the hook once."""
    _, notice = hook_and_notice(api)
    other = Api(any_database_url)
    together = threading.Barrier(6)

    def race(by: Api) -> bool:
        together.wait(WITHIN_S)
        return apply(by, notice)

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(race, [api, other] * 3)) == [False] * 5 + [True]
    assert stored_row(api) == ("disabled", "gone", 2)
    other.close()


def test_a_notice_of_another_row_is_ignored(api: Api) -> None:
    """What was seen under another revision, of another hook or of a key without a row, changes nothing."""
    hook_id, notice = hook_and_notice(api)
    api.integrator(CLIENT)("PATCH", f"/hooks/{hook_id}", {"hook": {"rate_limit_per_second": 5}})
    for stale in (
        notice,
        replace(notice, revision=Revision(3)),
        replace(notice, revision=Revision(2), hook_id=HookId(hook_id + 1)),
        replace(notice, revision=Revision(2), client=ClientId("435")),
        replace(notice, revision=Revision(2), event=EventName("lead.status")),
    ):
        assert not apply(api, stale)
    assert stored_row(api) == ("enabled", None, 2)
    assert apply(api, replace(notice, revision=Revision(2)))


def test_an_enable_after_the_observation_wins(api: Api) -> None:
    """A notice that comes after an enable is stale, whether the hook was disabled in the row by then or not."""
    hook_id, notice = hook_and_notice(api)
    caller = api.integrator(CLIENT)
    assert caller("POST", f"/hooks/{hook_id}/enable", {"backlog": "resume"}).status_code == 200
    assert not apply(api, notice)
    assert stored_row(api) == ("enabled", None, 2)
    assert apply(api, replace(notice, revision=Revision(2)))
    assert caller("POST", f"/hooks/{hook_id}/enable", {"backlog": "skip"}).status_code == 200
    assert not apply(api, replace(notice, revision=Revision(2)))
    assert stored_row(api) == ("enabled", None, 4)


def test_what_was_disabled_or_deleted_otherwise_stays_so(api: Api) -> None:
    """A notice neither changes the reason of a disabled hook nor brings back a deleted one."""
    hook_id, notice = hook_and_notice(api)
    caller = api.integrator(CLIENT)
    caller("POST", f"/hooks/{hook_id}/disable")
    assert not apply(api, replace(notice, revision=Revision(2)))
    assert stored_row(api) == ("disabled", "requested", 2)
    caller("DELETE", f"/hooks/{hook_id}")
    assert not apply(api, replace(notice, revision=Revision(3)))
    assert stored_row(api) == ("deleted", None, 3)
