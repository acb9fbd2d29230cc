"""`/replays`, on SQLite and on PostgreSQL."""

from __future__ import annotations

from typing import Any

import pytest

from hookstream.schemas.hook import HookId
from hookstream.subscriptions.database import transact
from hookstream.subscriptions.replays import (
    Lease,
    ReplayCount,
    ReplayId,
    ReplayProgress,
    ReplayWork,
    Stretch,
    Window,
)
from tests.support.subscriptions_api import TARGET, Api

NOW_MS = 1_700_000_000_000
LEASE = Lease(owner="a", lasts_ms=30_000)
WINDOW = Window(stretches=[Stretch(topic="events.lead", partition=0, start=0, end=90)], left_from_ms=NOW_MS - 5)
COUNT = ReplayCount(deliveries=83, hooks={HookId(1): 80, HookId(2): 3}, hook_count=2, estimate_s=0.8)


def asked(**fields: object) -> dict[str, object]:
    """Make a body."""
    return {"replay": {"from_ms": NOW_MS - 3_600_000, **fields}}


def counted(api: Api, replay_id: int) -> None:
    """Do what a replayer does first."""

    def count(work: ReplayWork) -> None:
        found = work.claim()
        assert found is not None
        assert found.id == replay_id
        work.fix_window(ReplayId(replay_id), WINDOW)
        work.counted(ReplayId(replay_id), ReplayProgress(scanned=90), COUNT)

    transact(api.sessions, lambda session: count(ReplayWork(session, LEASE, api.clock())))


def test_the_count_of_a_replay_names_client_event_and_target_of_its_hooks(api: Api) -> None:
    """Where the hook is there; of one that is gone, and in lists, the id alone is told."""
    assert api.integrator(434).create().json()["hook"]["id"] == 1
    operator = api.operator()
    replay = operator("POST", "/replays", asked()).json()["replay"]["id"]
    counted(api, replay)
    told = {"client": 434, "event": "lead.new", "target": TARGET}
    hooks = operator("GET", f"/replays/{replay}").json()["replay"]["count"]["hooks"]
    assert hooks == [{"id": 1, "deliveries": 80} | told, {"id": 2, "deliveries": 3} | dict.fromkeys(told)]
    (listed,) = operator("GET", "/replays").json()["replays"]
    assert [hook["target"] for hook in listed["count"]["hooks"]] == [None, None]


def test_a_replay_is_counted_shown_run_paused_and_cancelled(api: Api) -> None:
    """Nothing runs before it was counted and let run; what it found and how far it is can be seen all the time."""
    operator = api.operator()
    made = operator("POST", "/replays", asked(client=434, event="lead.new", only="undelivered"))
    assert made.status_code == 201, made.text
    replay: dict[str, Any] = made.json()["replay"]
    path = f"/replays/{replay['id']}"
    assert made.headers["location"] == path
    assert (replay["state"], replay["count"], replay["window"]) == ("counting", None, None)
    assert replay["to_ms"] == api.broker_clock.now_ms() + 1, "up to now, by the broker's clock"
    early = operator("PATCH", path, {"replay": {"state": "running"}})
    assert (early.status_code, early.json()["type"]) == (409, "urn:hookstream:problem:replay-state")
    counted(api, replay["id"])
    shown = operator("GET", path).json()["replay"]
    assert shown["state"] == "planned"
    assert shown["window"] == {"records": 90, "left_from_ms": NOW_MS - 5}
    assert shown["count"]["deliveries"] == 83
    assert [(hook["id"], hook["deliveries"]) for hook in shown["count"]["hooks"]] == [(1, 80), (2, 3)]
    for state in ("running", "running", "paused", "running"):
        answer = operator("PATCH", path, {"replay": {"state": state}})
        assert (answer.status_code, answer.json()["replay"]["state"]) == (200, state)
    assert operator("DELETE", path).status_code == 204
    assert operator("DELETE", path).status_code == 204
    assert operator("GET", path).json()["replay"]["state"] == "cancelled"
    assert operator("PATCH", path, {"replay": {"state": "running"}}).status_code == 409


def test_integrators_replay_their_own_clients_window(api: Api) -> None:
    """A client sees and steers its own; another's is not found, an operator's is seen and not steered."""
    own, other = api.integrator(434), api.integrator(9999)
    operator = api.operator()
    made = own("POST", "/replays", asked())
    replay = made.json()["replay"]
    assert (replay["client"], replay["created_by"]) == (434, None)
    path = f"/replays/{replay['id']}"
    for method, body in (("GET", None), ("PATCH", {"replay": {"state": "running"}}), ("DELETE", None)):
        assert other(method, path, body).status_code == 404
    assert other("POST", "/replays", asked(client=434)).status_code == 403
    again = own("POST", "/replays", asked())
    assert (again.status_code, again.json()["replay"]) == (409, {"id": replay["id"]})
    assert own("DELETE", path).status_code == 204
    assert own("POST", "/replays", asked()).status_code == 201
    theirs = operator("POST", "/replays", asked(client=434)).json()["replay"]
    assert own("GET", f"/replays/{theirs['id']}").status_code == 200
    assert own("DELETE", f"/replays/{theirs['id']}").status_code == 403
    everybodys = operator("POST", "/replays", asked()).json()["replay"]
    assert own("GET", f"/replays/{everybodys['id']}").status_code == 404
    listed = own("GET", "/replays?limit=2").json()
    assert listed["replays"][0]["id"] == theirs["id"]
    rest = own("GET", f"/replays?cursor={listed['next_cursor']}").json()
    assert [each["id"] for each in rest["replays"]] == [replay["id"]]
    assert rest["next_cursor"] is None
    assert [each["id"] for each in operator("GET", "/replays?state=cancelled").json()["replays"]] == [replay["id"]]


def test_a_hook_says_whose_window_it_is(api: Api) -> None:
    """A replay for a hook is for its client and its event; another client's hook is not found."""
    own, other = api.integrator(434), api.integrator(9999)
    hook = own("POST", "/hooks", {"hook": {"event": "lead.new", "target": "https://e.example/"}})
    hook_id = hook.json()["hook"]["id"]
    made = api.operator()("POST", "/replays", asked(hook_id=hook_id)).json()["replay"]
    assert (made["client"], made["event"], made["hook_id"]) == (434, "lead.new", hook_id)
    assert other("POST", "/replays", asked(hook_id=hook_id)).status_code == 404
    assert own("POST", "/replays", asked(hook_id=hook_id, event="lead.updated")).status_code == 422


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"from_ms": NOW_MS + 10_000_000}, "#/replay/from_ms"),
        ({"event": "lead.neu"}, "#/replay/event"),
        ({"namespace": "leads"}, "#/replay/namespace"),
        ({"namespace": "property", "event": "lead.new"}, "#/replay/namespace"),
        ({"concept_id": 7}, "#/replay/concept_id"),
        ({"rate_per_second": 0}, "#/replay/rate_per_second"),
        ({"rate_per_second": 5000}, "#/replay/rate_per_second"),
        ({"rate_per_second": 0.99}, "#/replay/rate_per_second"),
        ({"rate_per_second_per_endpoint": 0.5}, "#/replay/rate_per_second_per_endpoint"),
        ({"state": "running"}, "#/replay/state"),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_stands(api: Api, fields: dict[str, object], pointer: str) -> None:
    """422 names the field."""
    answer = api.integrator(434)("POST", "/replays", asked(**fields))
    assert answer.status_code == 422, answer.text
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]


def test_platform_tokens_have_no_business_here(api: Api) -> None:
    """A token that may publish may not replay."""
    assert api.platform()("POST", "/replays", asked()).status_code == 403
