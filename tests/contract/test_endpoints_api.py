"""`/endpoints`: who is shown what, in which order, page by page, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from hookstream.schemas.attempt import AttemptGap, AttemptResult
from hookstream.schemas.control import endpoint_id, target_digest
from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import HookId
from hookstream.subscriptions import backlogs as endpoints
from hookstream.subscriptions.attempt_gaps import add_gaps
from hookstream.subscriptions.attempt_log import LoggedAttempt, write_attempts
from hookstream.subscriptions.backlogs import Backlogs, Endpoint, EndpointHook, HookBacklog, SeenHealth
from hookstream.subscriptions.database import transact
from tests.support.subscriptions_api import Api
from tests.support.values import ATTEMPT

TARGET = "https://example.com/hook?key=secret"


def name(client: int, target: str = TARGET) -> str:
    return endpoint_id(ClientId(str(client)), target_digest(target))


def register(api: Api, client: int, event: str = "lead.new", target: str = TARGET) -> HookId:
    answer = api.integrator(client).create(event, target)
    assert answer.status_code == 201, answer.text
    return HookId(answer.json()["hook"]["id"])


def owes(api: Api, hook: HookId, client: int, count: int, age_s: float, **fields: Any) -> None:
    """Let a hook be owed something since some time."""
    fields = {"event": "lead.new", "oldest_ms": api.clock() - int(age_s * 1000), **fields}
    numbers = HookBacklog(client=ClientId(str(client)), pending=count, **fields)
    api.backlogs.backlogs = replace(api.backlogs.backlogs, hooks={**api.backlogs.backlogs.hooks, hook: numbers})


def listed(api: Api, query: str = "", *, client: int | None = None) -> list[dict[str, Any]]:
    """All pages."""
    caller = api.operator() if client is None else api.integrator(client)
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        answer = caller("GET", f"/endpoints?{query}{cursor}")
        assert answer.status_code == 200, answer.text
        found += answer.json()["endpoints"]
        if answer.json()["next_cursor"] is None:
            return found
        cursor = f"&cursor={answer.json()['next_cursor']}"


def ids(endpoints: list[dict[str, Any]]) -> list[str]:
    return [endpoint["id"] for endpoint in endpoints]


def test_an_endpoint_shows_everything_that_is_known_of_it(api: Api) -> None:
    """Counts, ages, the next attempt, the last success and the last error, and its hooks, as one JSON object."""
    hook, other = register(api, 434), register(api, 434, "lead.updated")
    owes(api, hook, 434, 17, 90.5, exact=False, backlogged=True, replays=2)
    seen = SeenHealth(quarantined=True, probe_at_ms=api.clock() + 4_000, failing_since_ms=api.clock() - 95_000)
    api.backlogs.backlogs = replace(api.backlogs.backlogs, health={(ClientId("434"), target_digest(TARGET)): seen})
    results = (
        (1, AttemptResult.DELIVERED, 204),
        (2, AttemptResult.TIMEOUT, None),
        (3, AttemptResult.ERROR_STATUS, 503),
    )
    attempts = [
        replace(
            ATTEMPT, hook_id=hook, client=ClientId("434"), started_at_ms=at, number=at, result=result, status=status
        )
        for at, result, status in results
    ]
    log = [LoggedAttempt(attempt, attempt.started_at_ms) for attempt in attempts]
    transact(api.sessions, lambda session: write_attempts(session, log, ()))

    (shown,) = listed(api)
    assert shown == {
        "id": name(434),
        "client": {"id": 434},
        "target": TARGET,
        "state": "quarantined",
        "behind": 17,
        "behind_exact": False,
        "replays_behind": 2,
        "oldest_undelivered_at_ms": api.clock() - 90_500,
        "oldest_undelivered_age_seconds": 90.5,
        "next_attempt_at_ms": api.clock() + 4_000,
        "failing_since_ms": api.clock() - 95_000,
        "last_success_at_ms": 1,
        "last_error": {"at_ms": 3, "result": "error-status", "status": 503},
        "hooks": [
            {"id": hook, "event": "lead.new", "state": "enabled", "disabled_reason": None, "behind": 19},
            {"id": other, "event": "lead.updated", "state": "enabled", "disabled_reason": None, "behind": 0},
        ],
    }
    one = api.integrator(434)("GET", f"/endpoints/{shown['id']}")
    assert one.json() == {"endpoint": shown, "unknown": []}


def test_the_oldest_come_first_and_every_endpoint_once_whatever_the_page(api: Api) -> None:
    """Pages of any size show every endpoint once: those that owe something sorted, then the others."""
    hooks = {client: register(api, client) for client in range(1, 8)}
    register(api, 2, "lead.updated")  # the same target: the same endpoint
    register(api, 2, "lead.status", "https://example.com/other")
    for client, count, age_s in ((3, 5, 40), (6, 9, 400), (1, 7, 40)):
        owes(api, hooks[client], client, count, age_s)
    api.operator()("POST", f"/hooks/{hooks[7]}/disable")
    rest = [name(2), name(4), name(5), name(7), name(2, "https://example.com/other")]
    for limit in (1, 2, 3, 4, 100):
        assert ids(listed(api, f"limit={limit}")) == [name(6), name(1), name(3), *rest]
        assert ids(listed(api, f"limit={limit}&sort=behind")) == [name(6), name(1), name(3), *rest]
    owes(api, hooks[3], 3, 50, 1)
    assert ids(listed(api, "sort=behind"))[:3] == [name(3), name(6), name(1)]


def test_totals_count_every_endpoint_once_whatever_the_filters(api: Api) -> None:
    """By state, with the whole backlog; those that share a target count once, deleted hooks not, a client its own."""
    hooks = {client: register(api, client) for client in range(1, 7)}
    register(api, 2, "lead.updated")
    register(api, 2, "lead.status", "https://example.com/other")
    owes(api, hooks[1], 1, 5, 40, replays=2)
    owes(api, hooks[2], 2, 7, 10, backlogged=True, exact=False)
    owes(api, hooks[3], 3, 0, 1)
    api.operator()("POST", f"/hooks/{hooks[4]}/disable")
    api.operator()("POST", f"/hooks/{hooks[3]}/disable")
    api.operator()("DELETE", f"/hooks/{hooks[6]}")
    states = {"healthy": 2, "lagging": 1, "quarantined": 0, "catching-up": 1, "disabled": 2, "paused": 0}
    expected = {
        "endpoints": 6,
        "endpoints_exact": True,
        "states": states,
        "behind": 12,
        "behind_exact": False,
        "replays_behind": 2,
        "oldest_undelivered_at_ms": api.clock() - 40_000,
    }
    for query in ("", "&state=disabled", "&limit=1&sort=behind", "&min_age_seconds=30"):
        totals = api.operator()("GET", f"/endpoints?totals=true{query}").json()["totals"]
        assert totals.pop("trend")
        assert totals == expected
    assert api.operator()("GET", "/endpoints").json()["totals"] is None
    of_one = api.integrator(2)("GET", "/endpoints?totals=true").json()["totals"]
    assert (of_one["endpoints"], of_one["behind"], of_one["states"]["healthy"]) == (2, 7, 1)


def test_the_trend_of_many_attempts_is_estimated_from_a_sample(api: Api) -> None:
    """Old attempts are left out, and of ten thousand new ones the number is right within some per cent."""
    hook = register(api, 434)
    now_ms = api.clock()

    def attempt(number: int, at_ms: int) -> LoggedAttempt:
        result = AttemptResult.TIMEOUT if number % 10 == 0 else AttemptResult.DELIVERED
        made = replace(ATTEMPT, hook_id=hook, client=ClientId("434"), started_at_ms=at_ms, number=number, result=result)
        return LoggedAttempt(made, at_ms)

    old = [attempt(number, now_ms - 86_400_000 + number) for number in range(1, 3001)]
    new = [attempt(number, now_ms - 3_600_000 + number * 300) for number in range(1, 10_001)]
    for part in (old, new[:5000], new[5000:]):
        transact(api.sessions, lambda session, part=part: write_attempts(session, part, ()))  # type: ignore[misc]
    trend = api.operator()("GET", "/endpoints?totals=true").json()["totals"]["trend"]
    delivered, failed = (sum(step[kind] for step in trend) for kind in ("delivered", "failed"))
    assert abs(delivered - 9000) < 500
    assert abs(failed - 1000) < 500
    assert sum(step["delivered"] > 0 for step in trend) in (10, 11)


def test_attempts_of_an_endpoint_are_those_of_all_of_its_hooks(api: Api) -> None:
    """The newest first, page by page, with filters, and without the answers where they are not wanted."""
    first, second = register(api, 434), register(api, 434, "lead.updated")
    other = register(api, 434, "lead.status", "https://example.com/other")
    made = [
        replace(
            ATTEMPT,
            hook_id=hook,
            client=ClientId("434"),
            started_at_ms=at,
            number=at,
            result=AttemptResult.TIMEOUT if at % 3 == 0 else AttemptResult.DELIVERED,
            answer=b"yes",
        )
        for at, hook in enumerate((first, second, other, first, second, second), start=1)
    ]
    log = [LoggedAttempt(attempt, attempt.started_at_ms) for attempt in made]
    transact(api.sessions, lambda session: write_attempts(session, log, ()))
    path = f"/endpoints/{name(434)}/attempts"
    mine = api.integrator(434)
    found = mine("GET", path).json()["attempts"]
    assert [each["number"] for each in found] == [6, 5, 4, 2, 1]
    assert {each["answer"] for each in found} == {"yes"}
    page = mine("GET", f"{path}?limit=2&answers=false").json()
    assert [(each["number"], each["answer"]) for each in page["attempts"]] == [(6, ""), (5, "")]
    after = mine("GET", f"{path}?limit=500&answers=false&cursor={page['next_cursor']}").json()
    assert ([each["number"] for each in after["attempts"]], after["next_cursor"]) == ([4, 2, 1], None)
    assert [each["number"] for each in mine("GET", f"{path}?outcome=failed").json()["attempts"]] == [6]
    assert mine("GET", f"{path}?limit=101").status_code == 422
    for caller in (api.integrator(435), api.operator()):
        for gone in (name(435), name(434, "https://example.com/none"), "x"):
            assert caller("GET", f"/endpoints/{gone}/attempts").status_code == 404
    assert api.integrator(435)("GET", path).status_code == 404
    assert api.platform()("GET", path).status_code == 403


def test_filters_by_client_state_and_age(api: Api) -> None:
    """`client`, `state` and `min_age_seconds` show exactly what they say, and healthy ones have no age."""
    hooks = {client: register(api, client) for client in range(1, 6)}
    owes(api, hooks[1], 1, 5, 40)
    owes(api, hooks[2], 2, 5, 10, backlogged=True)
    owes(api, hooks[3], 3, 5, 500, disabled_under=1)
    api.operator()("POST", f"/hooks/{hooks[4]}/disable")
    expected = {"lagging": [1], "catching-up": [2], "disabled": [3, 4], "healthy": [5], "quarantined": [], "paused": []}
    for state, clients in expected.items():
        found = listed(api, f"limit=1&state={state}")
        assert [endpoint["client"]["id"] for endpoint in found] == clients
        assert {endpoint["state"] for endpoint in found} <= {state}
    assert ids(listed(api, "min_age_seconds=39.5")) == [name(3), name(1)]
    assert ids(listed(api, "min_age_seconds=0")) == [name(3), name(1), name(2)]
    assert ids(listed(api, "client=4")) == [name(4)]
    assert ids(listed(api, "client=4&state=healthy")) == []


def test_an_endpoint_with_a_backlog_is_judged_once_though_the_others_are_looked_for(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of which something is known are passed over while pages of the others are filled: no hook is read again."""
    for client in range(1, 6):
        owes(api, register(api, client), client, 3, 40 * client)
    register(api, 6)
    judged: list[ClientId] = []

    def judge(hooks: Sequence[EndpointHook], backlogs: Backlogs, *, paused: bool, now_ms: int) -> Endpoint:
        judged.append(hooks[0].client)
        return endpoints.judge(hooks, backlogs, paused=paused, now_ms=now_ms)

    monkeypatch.setattr("hookstream.subscriptions.api.endpoints.judge", judge)
    assert ids(listed(api, "state=healthy")) == [name(6)]
    assert judged == ["6"]


def test_an_endpoint_that_operators_paused_is_shown_so(api: Api) -> None:
    """A pause is shown as one, with what is owed meanwhile and no next attempt, also where nothing is owed."""
    hook, _ = register(api, 1), register(api, 2)
    owes(api, hook, 1, 3, 60, due_ms=api.clock() + 1)
    for client in (1, 2):
        answer = api.operator()("POST", f"/endpoints/{name(client)}/pause", {"reason": "maintenance"})
        assert answer.status_code == 200, answer.text
    shown = [(each["id"], each["behind"], each["next_attempt_at_ms"]) for each in listed(api, "state=paused")]
    assert shown == [(name(1), 3, None), (name(2), 0, None)]


def test_integrators_see_their_own_client_alone(api: Api) -> None:
    """An integrator's list, and each endpoint by its name, is its client's; anything else is 403 or 404."""
    for client in (1, 2):
        owes(api, register(api, client), client, client, 60)
    assert ids(listed(api, client=1)) == [name(1)]
    mine = api.integrator(1)
    assert mine("GET", "/endpoints?client=2").status_code == 403
    for missing in (name(2), name(1, "https://example.com/none"), "1-nothing"):
        answer = mine("GET", f"/endpoints/{missing}")
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:hookstream:problem:endpoint-not-found")
    assert api.platform()("GET", "/endpoints").status_code == 403


def test_an_endpoint_without_hooks_is_gone_and_one_that_the_database_lost_is_not(api: Api) -> None:
    """Deleting the hook takes its endpoint away; what is owed to a hook that has no row is shown without a target."""
    hook = register(api, 1)
    owes(api, hook, 1, 3, 60)
    assert api.operator()("DELETE", f"/hooks/{hook}").status_code == 204
    assert listed(api) == []
    owes(api, HookId(hook + 100), 1, 3, 60)
    (lost,) = listed(api)
    assert (lost["target"], lost["behind"], [each["id"] for each in lost["hooks"]]) == (None, 3, [hook + 100])


def test_what_cannot_be_told_is_said(api: Api) -> None:
    """A partition whose backlog is not known is named; without Kafka it is 503; a cursor that is not ours is 422."""
    api.backlogs.backlogs = Backlogs(unknown=["deliveries:3: its metadata is damaged"])
    assert api.operator()("GET", "/endpoints").json()["unknown"] == ["deliveries:3: its metadata is damaged"]
    api.backlogs.trouble = "Kafka does not answer"
    answer = api.operator()("GET", "/endpoints")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["type"] == "urn:hookstream:problem:owed-unknown"
    for cursor in ("x", "bzox", "cjotMQ"):
        assert api.operator()("GET", f"/endpoints?cursor={cursor}").status_code == 422


def test_whose_attempts_were_not_recorded_is_said_to_whom_it_concerns(api: Api) -> None:
    """Operators are told of every client, an integrator of its own."""
    gaps = [AttemptGap(client=ClientId(str(client)), attempts=client, at_ms=client * 1000) for client in (1, 2)]
    transact(api.sessions, lambda session: add_gaps(session, gaps))
    told = api.operator()("GET", "/endpoints").json()["unrecorded"]
    assert [(gap["client"]["id"], gap["attempts"], gap["last_at_ms"]) for gap in told] == [(2, 2, 2000), (1, 1, 1000)]
    told = api.integrator(1)("GET", "/endpoints").json()["unrecorded"]
    assert [gap["client"]["id"] for gap in told] == [1]


def test_the_reader_is_told_what_hooks_skip(api: Api) -> None:
    """Counting is given the `not_before` of every hook in question: what was skipped is not owed."""
    hook = register(api, 1)
    owes(api, hook, 1, 3, 60)
    answer = api.operator()("POST", f"/hooks/{hook}/enable", {"backlog": "skip"})
    assert answer.status_code == 200
    listed(api)
    assert api.backlogs.skips == {hook: api.broker_clock.ms}
