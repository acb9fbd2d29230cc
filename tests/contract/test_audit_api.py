"""Who did what: every deed leaves a row, and who may read it reads it, on SQLite and on PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, insert, select, update

from hookstream.subscriptions.audit import delete_audit
from hookstream.subscriptions.database import reading, transact
from hookstream.subscriptions.models import AuditRow, ReplayRow, Role
from tests.support.deeds import deeds
from tests.support.subscriptions_api import Api, Caller
from tests.support.two_clients import OURS, THEIRS, Belongings, furnish

if TYPE_CHECKING:
    from collections.abc import Iterator


# Deeds that are none of the audit's, with the reason.
NOT_AUDITED = {
    ("POST", "/events"): "the log of events is their record, and no event waits for a database",
}
# Replays run once a replayer has counted them.
ELSEWHERE = {("PATCH", "/replays/{replay_id}")}


def rows(api: Api) -> list[AuditRow]:
    """The audit, the oldest row first."""
    with reading(api.sessions) as session:
        return list(session.scalars(select(AuditRow).order_by(AuditRow.id)))


def test_every_route_that_changes_something_is_audited(api: Api) -> None:
    """Each changing route leaves a row with the token's name and id, the client and the time, and never the token."""
    ours = furnish(api, OURS)
    operator = api.operator()
    for deed in deeds(ours.delivery_id):
        caller = operator if deed.role is Role.OPERATOR else ours.caller
        before = len(rows(api))
        method, template = deed.route
        answer = caller(method, template.format(**ours.path_values), deed.body, deed.headers)
        assert answer.status_code < 300, (deed, answer.text)
        (row,) = rows(api)[before:]
        assert (row.action, row.client, row.at_ms) == (deed.action, str(OURS), api.clock.now_ms), deed
        assert row.actor.startswith("token:"), deed
        assert row.actor.endswith(":test"), deed
        assert caller.token not in f"{row.actor} {row.detail}"
    known = {deed.route for deed in deeds("")} | NOT_AUDITED.keys() | ELSEWHERE
    assert known == set(changing_routes(api)), "a route that changes something needs a deed here, or a reason"


def test_running_and_pausing_a_replay_is_audited(api: Api) -> None:
    """What is done with a replay leaves a row, and a request that changes nothing leaves none."""
    ours = furnish(api, OURS)
    transact(api.sessions, lambda session: session.execute(update(ReplayRow).values(state="planned")))
    before = len(rows(api))
    for state in ("running", "running", "paused", "running"):
        answer = ours.caller("PATCH", f"/replays/{ours.replay_id}", {"replay": {"state": state}})
        assert answer.status_code == 200, answer.text
    assert [row.action for row in rows(api)[before:]] == ["replay.run", "replay.pause", "replay.run"]


def changing_routes(api: Api) -> Iterator[tuple[str, str]]:
    """Method and path of every route that may change something."""
    for route in api.app.state.api_routes:
        for method in route.methods - {"GET", "HEAD", "OPTIONS"}:
            yield method, route.path


def shown(caller: Caller, query: str = "") -> list[dict[str, Any]]:
    """Every row that a caller sees, page by page."""
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = caller("GET", f"/audit?{query}{cursor and f'&cursor={cursor}'}")
        assert answer.status_code == 200, answer.text
        found += answer.json()["audit"]
        cursor = answer.json()["next_cursor"]
    return found


@pytest.fixture
def both(api: Api) -> tuple[Belongings, Belongings]:
    """Two clients, and what was done for them."""
    return furnish(api, OURS), furnish(api, THEIRS)


def test_everyone_sees_what_is_theirs(api: Api, both: tuple[Belongings, Belongings]) -> None:
    """Operators see every row, integrators those of their client, and of operators no name; platforms see nothing."""
    ours, theirs = both
    everything = shown(api.operator())
    assert len(everything) == len(rows(api))
    assert [row["id"] for row in everything] == sorted((row["id"] for row in everything), reverse=True)
    own = shown(ours.caller)
    assert {row["client"]["id"] for row in own} == {OURS}
    assert not any(mark in str(own) for mark in theirs.marks)
    assert {(row["action"], row["actor"].partition(":")[0]) for row in own} == {
        ("token.create", "hookstream"),
        ("hook.create", "token"),
        ("replay.create", "token"),
        ("endpoint.pause", "operator"),
    }
    assert ours.caller("GET", f"/audit?client={THEIRS}").status_code == 403
    assert shown(ours.caller, f"client={OURS}") == own
    assert shown(ours.caller, f"hook={theirs.hook_id}") == []
    assert api.platform()("GET", "/audit").status_code == 403


def test_rows_are_filtered(api: Api, both: tuple[Belongings, Belongings]) -> None:
    """Filters hold together: client, hook, actor, action and time."""
    ours, _ = both
    operator = api.operator()
    assert [row["action"] for row in shown(operator, f"hook={ours.hook_id}")] == ["hook.create"]
    assert {row["client"]["id"] for row in shown(operator, f"client={THEIRS}")} == {THEIRS}
    created = shown(operator, f"action=hook.create&client={OURS}")
    assert len(created) == 1
    actor = created[0]["actor"]
    token = actor.rpartition(":")[0]
    by_name, by_id = shown(operator, f"actor={actor}"), shown(operator, f"actor={token}")
    assert by_name == by_id
    assert {row["actor"] for row in by_id} == {actor}
    assert len(by_id) == 2
    assert shown(operator, f"actor={token}9") == shown(operator, "actor=no-one") == []
    api.clock.now_ms += 1000
    ours.caller("POST", f"/hooks/{ours.hook_id}/disable")
    assert [row["action"] for row in shown(operator, f"since_ms={api.clock.now_ms}")] == ["hook.disable"]
    assert "hook.disable" not in {row["action"] for row in shown(operator, f"until_ms={api.clock.now_ms}")}


def test_integrators_cannot_ask_for_the_names_of_others(api: Api, both: tuple[Belongings, Belongings]) -> None:
    """To an integrator every operator is `operator`: its rows are found by that, and not by its token or its name."""
    ours, theirs = both
    own = shown(ours.caller)
    for actor in ("operator", "hookstream"):
        assert shown(ours.caller, f"actor={actor}") == [row for row in own if row["actor"] == actor]
    pausing = [row for row in rows(api) if row.action == "endpoint.pause"]
    for hidden in (pausing[0].actor, pausing[0].actor.rpartition(":")[0], "test"):
        assert shown(ours.caller, f"actor={hidden}") == []
    mine = [row for row in own if row["actor"].startswith("token:")]
    assert shown(ours.caller, f"actor={mine[0]['actor']}") == mine
    assert shown(theirs.caller, f"actor={mine[0]['actor']}") == []


def test_pages_of_rows_of_one_moment_leave_out_none(api: Api, both: tuple[Belongings, Belongings]) -> None:
    """Following `next_cursor` gives every row once, also where many have the same time, and new ones come meanwhile."""
    ours, _ = both
    operator = api.operator()
    whole = shown(operator)
    page = operator("GET", "/audit?limit=3").json()
    ours.caller("POST", f"/hooks/{ours.hook_id}/disable")
    found = [*page["audit"], *shown(operator, f"limit=3&cursor={page['next_cursor']}")]
    assert found == whole
    for bad in ("x", "MQ", "LTEuMQ"):
        assert operator("GET", f"/audit?cursor={bad}").status_code == 422


@pytest.mark.parametrize("bad", ["%00", "x%00y", "%0a", "%1b"])
def test_no_filter_takes_what_no_row_can_hold(api: Api, bad: str) -> None:
    """A control character in a filter is refused: one of the databases would fail at it."""
    for name in ("actor", "action"):
        for caller in (api.operator(), api.integrator(OURS)):
            assert caller("GET", f"/audit?{name}={bad}").status_code == 422, name


def test_old_rows_are_deleted_in_batches(api: Api) -> None:
    """Rows before a time go, the oldest first, at most a batch in one transaction; the others stay."""
    old = [{"at_ms": ms, "actor": "x", "action": "a", "detail": {}} for ms in range(1, 26)]
    transact(api.sessions, lambda session: session.execute(insert(AuditRow), old))
    assert delete_audit(api.sessions, before_ms=20, limit=10) == 10
    assert [row.at_ms for row in rows(api)] == list(range(11, 26))
    assert delete_audit(api.sessions, before_ms=20, limit=10) == 9
    assert delete_audit(api.sessions, before_ms=20, limit=10) == 0
    with reading(api.sessions) as session:
        assert session.scalar(select(func.min(AuditRow.at_ms))) == 20
