"""What the API promises to integrators, platform services and operators, on SQLite and on PostgreSQL."""

from __future__ import annotations

import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest
from sqlalchemy import text, update

from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.event import EventName
from hookstream.subscriptions.api import ApiLimits
from hookstream.subscriptions.database import open_database, open_sessions, transact
from hookstream.subscriptions.models import Role, SubscriptionRow, TokenRow
from hookstream.subscriptions.secrets import MasterKey, SecretBox
from tests.support.asyncapi_schema import asyncapi_faults
from tests.support.repository import ROOT
from tests.support.subscriptions_api import TARGET, Api, Caller, assert_problem
from tests.support.wait import WITHIN_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.subscriptions_api import Answer

JSON = {"content-type": "application/json"}
SEED_BODY = {"hook": {"event": "lead.new", "target": "http://custom-platform.com/create-lead.php"}}
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
EVENT = {"event": "property.updated", "client": 9999, "concept": {"id": 888999, "sub_namespace": None}}


# --- hooks ------------------------------------------------------------------------------------------------------------


def test_create_as_the_seed_has_it(api: Api) -> None:
    """`POST /hooks` answers 201 with the hook in the seed's order of keys, and the secret behind them."""
    response = api.integrator(434)("POST", "/hooks", SEED_BODY)
    assert response.status_code == 201
    hook = response.json()["hook"]
    secret = hook["secret"]
    assert response.text == (
        f'{{"hook":{{"id":{hook["id"]},"event":"lead.new","target":"http://custom-platform.com/create-lead.php",'
        f'"client":{{"id":434}},"secret":"{secret}"}}}}'
    )
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert response.headers["location"] == f"/hooks/{hook['id']}"
    assert response.headers["cache-control"] == "no-store"
    assert api.changes, "the relay was not woken"


def test_the_secret_is_shown_once(api: Api) -> None:
    """No later answer holds the secret."""
    caller = api.integrator(434)
    hook = caller.create().json()["hook"]
    assert "secret" not in caller("GET", f"/hooks/{hook['id']}").text
    assert "secret" not in caller("GET", "/hooks").text


def test_get_tells_the_hook(api: Api) -> None:
    """`GET /hooks/{id}` tells everything about a hook but its secret."""
    caller = api.integrator(434)
    hook_id = caller.create().json()["hook"]["id"]
    assert caller("GET", f"/hooks/{hook_id}").json() == {
        "hook": {
            "id": hook_id,
            "event": "lead.new",
            "target": TARGET,
            "client": {"id": 434},
            "state": "enabled",
            "disabled_reason": None,
            "not_before_ms": None,
            "rate_limit_per_second": None,
            "created_at_ms": api.clock.now_ms,
            "updated_at_ms": api.clock.now_ms,
            "effective": False,
        }
    }


def test_a_second_hook_for_the_event_is_a_conflict(api: Api) -> None:
    """One endpoint per event and client: the second gets 409 and the id of the first."""
    caller = api.integrator(434)
    first = caller.create().json()["hook"]["id"]
    problem = assert_problem(caller.create(target="https://other.example/"), 409, "hook-exists")
    assert problem["hook"] == {"id": first}
    assert f"PATCH /hooks/{first}" in str(problem["detail"])
    assert "delete it" not in str(problem["detail"]), "which would cancel what the hook is owed"
    assert caller.create(event="lead.status").status_code == 201
    assert api.integrator(435).create().status_code == 201


def test_delete_is_final(api: Api) -> None:
    """`DELETE /hooks/{id}` answers 204 without a body, then 404; the event is free for a new hook with another id."""
    caller = api.integrator(434)
    hook_id = caller.create().json()["hook"]["id"]
    response = caller("DELETE", f"/hooks/{hook_id}")
    assert (response.status_code, response.content) == (204, b"")
    for method in ("GET", "DELETE"):
        assert_problem(caller(method, f"/hooks/{hook_id}"), 404, "hook-not-found")
    assert caller.create().json()["hook"]["id"] > hook_id


def test_another_clients_hook_is_not_found(api: Api) -> None:
    """A client cannot tell another's hook from none; an operator sees and deletes every client's."""
    hook_id = api.integrator(434).create().json()["hook"]["id"]
    other = api.integrator(435)
    for method in ("GET", "DELETE"):
        response = other(method, f"/hooks/{hook_id}")
        missing = other(method, "/hooks/999999")
        assert_problem(response, 404, "hook-not-found")
        assert response.text.replace(str(hook_id), "999999") == missing.text
    assert other("GET", "/hooks").json() == {"hooks": [], "next_cursor": None}
    operator = api.operator()
    assert operator("GET", f"/hooks/{hook_id}").status_code == 200
    assert operator("DELETE", f"/hooks/{hook_id}").status_code == 204


def test_lists_are_paged_by_cursor(api: Api) -> None:
    """Following `next_cursor` gives every hook of the client once, in order of creation, and ends with null."""
    caller = api.integrator(434)
    made = [caller.create(event=f"lead.{name}").json()["hook"]["id"] for name in ("new", "assigned", "status")]
    api.integrator(435).create()
    first = caller("GET", "/hooks?limit=2").json()
    second = caller("GET", f"/hooks?limit=2&cursor={first['next_cursor']}").json()
    assert [hook["id"] for hook in first["hooks"] + second["hooks"]] == made
    assert second["next_cursor"] is None
    exact = caller("GET", "/hooks?limit=3").json()
    assert (len(exact["hooks"]), exact["next_cursor"]) == (3, None)


def test_operators_list_any_client(api: Api) -> None:
    """`?client=` is the operators': another client's token gets 403, its own is the same as none."""
    for client in (434, 435):
        api.integrator(client).create()
    operator = api.operator()
    assert [hook["client"]["id"] for hook in operator("GET", "/hooks").json()["hooks"]] == [434, 435]
    assert [hook["client"]["id"] for hook in operator("GET", "/hooks?client=435").json()["hooks"]] == [435]
    caller = api.integrator(434)
    assert len(caller("GET", "/hooks?client=434").json()["hooks"]) == 1
    assert_problem(caller("GET", "/hooks?client=435"), 403, "foreign-client")
    assert [hook["event"] for hook in operator("GET", "/hooks?event=lead.status").json()["hooks"]] == []


def test_effective_once_every_router_has_read_the_row(api: Api) -> None:
    """`effective` is true when this very row was published and the slowest router's table has passed it."""
    caller = api.integrator(434)
    hook_id = caller.create().json()["hook"]["id"]

    def effective() -> bool:
        answer: bool = caller("GET", f"/hooks/{hook_id}").json()["hook"]["effective"]
        return answer

    api.progress.offset = 100
    assert not effective()  # not published
    transact(
        api.sessions, lambda s: s.execute(update(SubscriptionRow).values(published_revision=1, published_offset=100))
    )
    assert not effective()  # 100 is the next offset that the slowest router will read
    api.progress.offset = 101
    assert effective()
    transact(api.sessions, lambda s: s.execute(update(SubscriptionRow).values(revision=2)))
    assert not effective()  # a newer row is not published
    transact(api.sessions, lambda s: s.execute(update(SubscriptionRow).values(published_revision=2)))
    api.progress.offset = None
    assert not effective()  # not known


@pytest.mark.parametrize(
    ("event", "target", "pointer"),
    [
        ("lead.nwe", TARGET, "#/hook/event"),
        ("new", TARGET, "#/hook/event"),
        ("", TARGET, "#/hook/event"),
        ("lead.new\x00", TARGET, "#/hook/event"),
        ("lead.new", "", "#/hook/target"),
        ("lead.new", "example.com", "#/hook/target"),
        ("lead.new", "ftp://example.com/", "#/hook/target"),
        ("lead.new", "https://user:password@example.com/", "#/hook/target"),
        ("lead.new", "https://example.com/" + "a" * 2048, "#/hook/target"),
        ("lead.new", "http://127.0.0.1/", "#/hook/target"),
        ("lead.new", "http://0x7f.1/", "#/hook/target"),
        ("lead.new", "http://169.254.169.254/latest", "#/hook/target"),
        ("lead.new", "http://localhost/", "#/hook/target"),
    ],
)
def test_bad_hooks_are_refused_with_the_place(on_sqlite: Api, event: str, target: str, pointer: str) -> None:
    """An unknown event or a target that cannot be, names its place in the body, and makes no hook."""
    caller = on_sqlite.integrator(434)
    problem = assert_problem(caller.create(event=event, target=target), 422, "invalid-request")
    assert [fault["pointer"] for fault in problem["errors"]] == [pointer]
    assert caller("GET", "/hooks").json()["hooks"] == []


@pytest.mark.parametrize(
    ("content", "status", "kind"),
    [
        (b"{", 400, "malformed-json"),
        (b"\xff\xfe", 400, "malformed-json"),
        (b"[" * 10_000, 400, "malformed-json"),
        (b"9" * 10_000, 400, "malformed-json"),
        (b"", 422, "invalid-request"),
        (b"null", 422, "invalid-request"),
        (b"[]", 422, "invalid-request"),
        (b'"x"', 422, "invalid-request"),
        (b"{}", 422, "invalid-request"),
        (b'{"event":"lead.new","target":"https://example.com/"}', 422, "invalid-request"),
        (b'{"hook":{"event":5,"target":"https://example.com/"}}', 422, "invalid-request"),
        (b'{"hook":{"event":"lead.new","target":["https://example.com/"]}}', 422, "invalid-request"),
        (b'{"hook":{"event":"lead.new","target":"https://example.com/","secret":"mine"}}', 422, "invalid-request"),
        (b'{"hook":{"event":"\\ud800","target":"https://example.com/"}}', 422, "invalid-request"),
        (b'{"hook":{"event":"lead.new","target":"https://example.com/\\ud800"}}', 422, "invalid-request"),
    ],
)
def test_wrong_json_is_a_clear_error(on_sqlite: Api, content: bytes, status: int, kind: str) -> None:
    """What is no JSON is 400; JSON that is no hook is 422."""
    headers = JSON | {"Authorization": f"Bearer {on_sqlite.token(Role.INTEGRATOR, 434)}"}
    assert_problem(on_sqlite.http.post("/hooks", content=content, headers=headers), status, kind)


def test_a_body_of_another_type_is_refused(on_sqlite: Api) -> None:
    """A body that does not say it is JSON gets 415, also without any type."""
    bearer = {"Authorization": f"Bearer {on_sqlite.token(Role.INTEGRATOR, 434)}"}
    for headers in ({"content-type": "text/plain"}, {"content-type": "application/x-www-form-urlencoded"}, {}):
        response = on_sqlite.http.post("/hooks", content=b"{}", headers=bearer | headers)
        assert_problem(response, 415, "not-json")


def test_a_body_above_the_limit_is_refused(sqlite_url: str) -> None:
    """A body above the limit gets 413, announced or streamed, before anyone parses it."""
    api = Api(sqlite_url, limits=ApiLimits(max_body_bytes=1000))
    headers = JSON | {"Authorization": f"Bearer {api.token(Role.INTEGRATOR, 434)}"}
    assert_problem(api.http.post("/hooks", content=b" " * 1001, headers=headers), 413, "body-too-large")
    streamed = api.http.post("/hooks", content=iter([b" " * 600, b" " * 600]), headers=headers)
    assert_problem(streamed, 413, "body-too-large")
    assert_problem(api.http.post("/hooks", content=b" " * 1000, headers=headers), 400, "malformed-json")
    api.close()


def test_a_body_has_16_kib_but_for_events(on_sqlite: Api) -> None:
    """A body has 16 KiB at most, that of `POST /events` a megabyte: more than the longest list of events needs."""
    integrator = {"Authorization": f"Bearer {on_sqlite.token(Role.INTEGRATOR, 434)}"} | JSON
    platform = {"Authorization": f"Bearer {on_sqlite.token(Role.PLATFORM)}"} | JSON
    for size, status in ((16 * 1024, 400), (16 * 1024 + 1, 413)):
        assert on_sqlite.http.post("/hooks", content=b" " * size, headers=integrator).status_code == status
    for size, status in ((1024 * 1024, 400), (1024 * 1024 + 1, 413)):
        assert on_sqlite.http.post("/events", content=b" " * size, headers=platform).status_code == status
    most = [EVENT | {"id": f"00000000-0000-4000-8000-{number:012}"} for number in range(1000)]
    assert on_sqlite.platform()("POST", "/events", most).status_code == 202


def test_a_length_of_thousands_of_digits_is_refused(on_sqlite: Api) -> None:
    """A `Content-Length` that Python does not read as a number is one above the limit."""
    headers = {"Authorization": f"Bearer {on_sqlite.token(Role.INTEGRATOR, 434)}", "content-length": "9" * 5000} | JSON
    assert_problem(on_sqlite.http.post("/hooks", content=b"", headers=headers), 413, "body-too-large")


MARK = "zebra-quagga"


@pytest.mark.parametrize(
    "body",
    [
        [{MARK: MARK} for _ in range(30_000)],
        [EVENT | {"client": MARK} for _ in range(1000)],
        [EVENT | {"event": MARK} for _ in range(1000)],
        [EVENT | {"concept": {"id": 1, "namespace": MARK}} for _ in range(1000)],
        [EVENT | {"id": MARK} for _ in range(1000)],
        EVENT | {f"{MARK} {number}": MARK for number in range(20_000)},
        EVENT | {"concept": {f"{MARK} {number}": MARK for number in range(20_000)}},
        [EVENT | {f"{MARK} {number}": MARK for number in range(10)} for _ in range(900)],
        [[[MARK] * 50] * 1000],
        MARK * 50_000,
    ],
)
def test_an_answer_is_no_multiple_of_its_request(on_sqlite: Api, body: object) -> None:
    """Of thousands of faults twenty are shown, the rest is counted, and nothing of what was sent comes back."""
    answer = on_sqlite.platform()("POST", "/events", body)
    problem = assert_problem(answer, 422, "invalid-request")
    assert 1 <= len(problem["errors"]) <= 20
    assert len(answer.content) < 5000
    assert MARK not in answer.text
    assert on_sqlite.events.published == []


def test_many_faults_are_counted(on_sqlite: Api) -> None:
    """The answer says how many faults it does not show; the name of a misspelt key is shown."""
    hook = {"event": "lead.new", "target": TARGET} | {f"targt{number}": 1 for number in range(50)}
    problem = assert_problem(on_sqlite.integrator(434)("POST", "/hooks", {"hook": hook}), 422, "invalid-request")
    pointers = [fault["pointer"] for fault in problem["errors"]]
    assert pointers == [f"#/hook/targt{number}" for number in range(20)]
    assert "30 more are not shown" in str(problem["detail"])


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "cursor=zz", "cursor=%C3%A4", "client=-1"])
def test_bad_parameters_are_refused_by_name(on_sqlite: Api, query: str) -> None:
    """A parameter outside what it may be is 422 and named."""
    problem = assert_problem(on_sqlite.operator()("GET", f"/hooks?{query}"), 422, "invalid-request")
    assert [fault["parameter"] for fault in problem["errors"]] == [query.partition("=")[0]]


# --- idempotency ------------------------------------------------------------------------------------------------------


def test_the_same_key_gets_the_first_answer_again(api: Api) -> None:
    """The same body with the same `Idempotency-Key` gets the first answer again, secret included."""
    caller = api.integrator(434)
    key = {"Idempotency-Key": "5f0c2a"}
    first = caller.create(**key)
    again = caller.create(**key)
    assert (again.status_code, again.content) == (201, first.content)
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"


def test_a_key_ends_with_its_hook(api: Api) -> None:
    """After a `DELETE` the same key makes a new hook with another secret, whatever the body, and is that one's."""
    caller = api.integrator(434)
    key = {"Idempotency-Key": "5f0c2a"}
    first = caller.create(**key).json()["hook"]
    caller("DELETE", f"/hooks/{first['id']}")
    second = caller.create(target="https://other.example/", **key)
    assert second.status_code == 201
    assert "idempotent-replayed" not in second.headers
    hook = second.json()["hook"]
    assert hook["id"] > first["id"]
    assert hook["secret"] != first["secret"]
    assert caller.create(target="https://other.example/", **key).content == second.content
    caller("DELETE", f"/hooks/{hook['id']}")
    caller.create()  # without a key: the event has a hook again, of which the key knows nothing
    assert_problem(caller.create(**key), 409, "hook-exists")


def test_a_rotations_key_ends_with_its_hook(api: Api) -> None:
    """The key of a rotation is free again once its hook is deleted, and shows no caller the secret that it made."""
    caller = api.integrator(434)
    key = {"Idempotency-Key": "5f0c2a"}
    first = caller.create().json()["hook"]
    rotated = caller("POST", f"/hooks/{first['id']}/secret/rotate", None, key).json()["hook"]
    caller("DELETE", f"/hooks/{first['id']}")
    second = caller.create(**key)
    assert second.status_code == 201
    assert second.json()["hook"]["secret"] not in (first["secret"], rotated["secret"])


def test_a_key_whose_answer_no_master_key_opens_is_as_good_as_new(api: Api, any_database_url: str) -> None:
    """Where the master key is another now and the old one was dropped, a repeated creation is 409, no error of ours."""
    api.integrator(434).create(**{"Idempotency-Key": "5f0c2a"})
    later = Api(any_database_url, secret_box=SecretBox((MasterKey(b"n" * 32),)))
    assert_problem(later.integrator(434).create(**{"Idempotency-Key": "5f0c2a"}), 409, "hook-exists")
    later.close()


def test_of_two_repetitions_after_a_deletion_one_makes_the_hook(api: Api, any_database_url: str) -> None:
    """Requests with the key of a deleted hook at the same moment all get the one new hook, with its own secret."""
    other = Api(any_database_url)
    token = api.token(Role.INTEGRATOR, 434)
    callers = [Caller(api.http, token), Caller(other.http, token)] * 3
    dead = callers[0].create(**{"Idempotency-Key": "k"}).json()["hook"]
    callers[0]("DELETE", f"/hooks/{dead['id']}")
    answers = _together(callers)
    assert {answer.status_code for answer in answers} == {201}
    (hook,) = {(answer.json()["hook"]["id"], answer.json()["hook"]["secret"]) for answer in answers}
    assert hook[0] > dead["id"]
    assert hook[1] != dead["secret"]
    other.close()


def test_a_key_is_for_one_body_of_one_client(api: Api) -> None:
    """The key with another body is 422; another client's same key is its own."""
    key = {"Idempotency-Key": "k"}
    caller = api.integrator(434)
    caller.create(**key)
    assert_problem(caller.create(target="https://other.example/", **key), 422, "idempotency-key-reused")
    assert api.integrator(435).create(**key).status_code == 201


def test_concurrent_requests_with_one_key_make_one_hook(api: Api, any_database_url: str) -> None:
    """Requests with one key at the same moment, in two processes, all get the one hook that was made."""
    other = Api(any_database_url)
    token = api.token(Role.INTEGRATOR, 434)
    callers = [Caller(api.http, token), Caller(other.http, token)] * 3
    answers = _together(callers)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert len(callers[0]("GET", "/hooks").json()["hooks"]) == 1
    other.close()


def _together(callers: Sequence[Caller]) -> list[Answer]:
    """Create with one key, all at the same moment."""
    ready = threading.Barrier(len(callers))

    def create(caller: Caller) -> Answer:
        ready.wait(WITHIN_S)
        return caller.create(**{"Idempotency-Key": "k"})

    with ThreadPoolExecutor(len(callers)) as pool:
        return list(pool.map(create, callers))


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "ä"])
def test_a_bad_key_is_refused(on_sqlite: Api, key: str) -> None:
    """A key is 1 to 255 visible ASCII characters."""
    bearer = {"Authorization": f"Bearer {on_sqlite.token(Role.INTEGRATOR, 434)}", "Idempotency-Key": key}
    headers = {name.encode(): value.encode("latin-1") for name, value in bearer.items()}
    assert_problem(on_sqlite.http.post("/hooks", json=SEED_BODY, headers=headers), 422, "invalid-request")


# --- tokens -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/hooks"),
        ("GET", "/hooks"),
        ("GET", "/hooks/1"),
        ("PATCH", "/hooks/1"),
        ("POST", "/hooks/1/disable"),
        ("POST", "/hooks/1/enable"),
        ("POST", "/hooks/1/secret/rotate"),
        ("POST", "/endpoints/434-4d1f6f0c2b6a9e11/secret/rotate"),
        ("DELETE", "/hooks/1"),
        ("POST", "/events"),
        ("GET", "/event-types"),
    ],
)
def test_without_a_good_token_nothing_opens(on_sqlite: Api, method: str, path: str) -> None:
    """A missing, malformed, unknown, expired or revoked token is 401 with a challenge, before the body is looked at."""
    expired = on_sqlite.token(Role.INTEGRATOR, 434, expires_at_ms=on_sqlite.clock.now_ms)
    revoked = on_sqlite.token(Role.INTEGRATOR, 434)
    hide = update(TokenRow).where(TokenRow.expires_at_ms.is_(None)).values(revoked_at_ms=1)
    transact(on_sqlite.sessions, lambda session: session.execute(hide))
    unknown = "hookstream_" + "a" * 43
    for header in (None, "", "Bearer", "Bearer ", f"Basic {unknown}", "Bearer x"):
        headers = {} if header is None else {"Authorization": header}
        response = on_sqlite.http.request(method, path, headers=headers, content=b"{")
        assert_problem(response, 401, "unauthorized")
        assert response.headers["www-authenticate"].startswith('Bearer realm="hookstream"')
    for token, words in ((unknown, "not valid"), (expired, "expired"), (revoked, "not valid")):
        answer = Caller(on_sqlite.http, token)(method, path)
        problem = assert_problem(answer, 401, "unauthorized")
        assert words in str(problem["detail"])
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        assert token not in answer.text


@pytest.mark.parametrize(
    ("role", "method", "path", "opens"),
    [
        (Role.INTEGRATOR, "POST", "/hooks", True),
        (Role.OPERATOR, "POST", "/hooks", True),
        (Role.PLATFORM, "POST", "/hooks", False),
        (Role.INTEGRATOR, "GET", "/hooks", True),
        (Role.OPERATOR, "GET", "/hooks", True),
        (Role.PLATFORM, "GET", "/hooks", False),
        (Role.PLATFORM, "GET", "/hooks/1", False),
        (Role.PLATFORM, "DELETE", "/hooks/1", False),
        (Role.PLATFORM, "POST", "/endpoints/434-4d1f6f0c2b6a9e11/secret/rotate", False),
        (Role.INTEGRATOR, "POST", "/endpoints/434-4d1f6f0c2b6a9e11/secret/rotate", True),
        (Role.OPERATOR, "POST", "/endpoints/434-4d1f6f0c2b6a9e11/secret/rotate", True),
        (Role.PLATFORM, "POST", "/events", True),
        (Role.INTEGRATOR, "POST", "/events", False),
        (Role.OPERATOR, "POST", "/events", False),
        (Role.INTEGRATOR, "GET", "/event-types", True),
        (Role.PLATFORM, "GET", "/event-types", True),
        (Role.OPERATOR, "GET", "/event-types", True),
    ],
)
def test_a_role_opens_its_routes_alone(on_sqlite: Api, role: Role, method: str, path: str, *, opens: bool) -> None:
    """A good token of another role is 403."""
    token = on_sqlite.token(role, 434 if role is Role.INTEGRATOR else None)
    response = Caller(on_sqlite.http, token)(method, path)
    if opens:
        assert response.status_code not in (401, 403)
    else:
        assert_problem(response, 403, "wrong-role")


# --- events -----------------------------------------------------------------------------------------------------------


def test_publish_one_event(on_sqlite: Api) -> None:
    """One event is answered with its receipt, once Kafka has it; the time and the id are made where none came."""
    response = on_sqlite.platform()("POST", "/events", EVENT)
    assert response.status_code == 202
    (event,) = on_sqlite.events.published
    assert response.json() == {
        "receipt": {"id": str(event.id), "topic": "events.property", "partition": 0, "offset": 0}
    }
    assert (event.name, event.client, event.concept.id) == ("property.updated", 9999, 888999)
    assert event.occurred_at_ms == on_sqlite.clock.now_ms


@pytest.mark.parametrize(
    ("header", "trace"),
    [
        ({"traceparent": TRACEPARENT}, TRACEPARENT.encode()),
        ({"traceparent": TRACEPARENT.replace("-01", "-zz")}, None),
        ({"traceparent": "traceparent"}, None),
        ({}, None),
    ],
)
def test_events_belong_to_the_trace_of_their_request(
    on_sqlite: Api, header: dict[str, str], trace: bytes | None
) -> None:
    """A W3C `traceparent` is handed on with every event of the request; a broken one counts as none."""
    answer = on_sqlite.platform()("POST", "/events", [EVENT, EVENT], headers=header)
    assert answer.status_code == 202
    assert on_sqlite.events.traces == [trace, trace]


def test_publish_a_list_in_its_order(on_sqlite: Api) -> None:
    """A list is published in its order, with a receipt for each."""
    ids = [f"00000000-0000-4000-8000-00000000000{index}" for index in range(3)]
    body = [EVENT | {"id": event_id, "occurred_at_ms": 5} for event_id in ids]
    response = on_sqlite.platform()("POST", "/events", body)
    assert response.status_code == 202
    assert [receipt["id"] for receipt in response.json()["receipts"]] == ids
    assert [(str(event.id), event.occurred_at_ms) for event in on_sqlite.events.published] == [(i, 5) for i in ids]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"event": "property.update"}, "#/1/event"),
        ({"client": "9999"}, "#/1/client"),
        ({"client": True}, "#/1/client"),
        ({"client": 2**63}, "#/1/client"),
        ({"client": -1}, "#/1/client"),
        ({"concept": {"id": 1.5}}, "#/1/concept/id"),
        ({"concept": {"id": 1, "namespace": "lead"}}, "#/1"),
        ({"concept": {"id": 1, "sub_namespace": 5}}, "#/1/concept/sub_namespace"),
        ({"id": "x"}, "#/1/id"),
        ({"occurred_at_ms": -1}, "#/1/occurred_at_ms"),
        ({"more": 1}, "#/1/more"),
    ],
)
def test_one_bad_event_stops_the_list(on_sqlite: Api, change: dict[str, object], pointer: str) -> None:
    """Where one event of a list is not valid, its place is named and nothing is published."""
    problem = assert_problem(on_sqlite.platform()("POST", "/events", [EVENT, EVENT | change]), 422, "invalid-request")
    assert [fault["pointer"] for fault in problem["errors"]] == [pointer]
    assert on_sqlite.events.published == []


@pytest.mark.parametrize("body", [[], {}, 5, "x", None, [[EVENT]], [EVENT] * 1001])
def test_what_is_no_event(on_sqlite: Api, body: object) -> None:
    """A body is one event or a list of 1 to 1,000."""
    assert_problem(on_sqlite.platform()("POST", "/events", body), 422, "invalid-request")
    assert on_sqlite.events.published == []


def test_what_kafka_does_not_acknowledge_is_not_accepted(on_sqlite: Api) -> None:
    """Without a delivery report the answer is 503 with Retry-After, and says which events were accepted."""
    on_sqlite.events.refused = {7}
    refused = EVENT | {"concept": {"id": 7}, "id": "00000000-0000-4000-8000-000000000007"}
    response = on_sqlite.platform()("POST", "/events", [EVENT, refused])
    problem = assert_problem(response, 503, "not-published")
    assert response.headers["retry-after"]
    assert len(problem["receipts"]) == 1
    assert [failure["id"] for failure in problem["failures"]] == [refused["id"]]


def test_the_catalogue_lists_every_event(on_sqlite: Api) -> None:
    """`GET /event-types` lists what a hook can be registered for, with schemas that the examples are valid by."""
    answer = on_sqlite.integrator(434)("GET", "/event-types").json()
    assert [kind["name"] for kind in answer["event_types"]] == list(Catalogue.shipped().event_names)
    assert answer["event_types"][0]["namespace"] == answer["event_types"][0]["name"].split(".")[0]
    for kind in answer["event_types"]:
        assert len(kind["description"]) > len("Something happened.")
        jsonschema_rs.validator_for(kind["json_schema"], validate_formats=True).validate(kind["example"])


def test_the_schema_of_another_service_s_topic_is_told_as_soon_as_it_is_known(sqlite_url: str) -> None:
    """An event of a topic that another service writes is described by the topic's schema, once that is known."""
    known: dict[str, str] = {}
    catalogue = Catalogue.from_directory(ROOT / "examples" / "foreign-topics")
    api = Api(sqlite_url, catalogue=catalogue, source_schemas=lambda: known)
    ask = api.integrator(434)

    def placed() -> Any:
        return ask("GET", "/event-types").json()["event_types"][
            [*catalogue.event_names].index(EventName("order.placed"))
        ]

    def documents() -> str:
        return api.http.get("/asyncapi.json").text + api.http.get("/openapi.json").text

    assert placed()["json_schema"]["properties"]["data"] == {}
    assert "An order." not in documents()
    fields = [{"name": "order_id", "type": "long"}, {"name": "margin", "type": "int"}]
    known["order"] = json.dumps({"type": "record", "name": "Order", "doc": "An order.", "fields": fields})
    assert placed()["json_schema"]["properties"]["data"]["properties"] == {"order_id": {"type": "integer"}}
    assert placed()["example"]["data"] == {"order_id": 1}
    assert documents().count('"An order."') >= 4
    assert "margin" not in documents()
    api.close()


# --- around -----------------------------------------------------------------------------------------------------------


def test_health_readiness_and_metrics_need_no_token(on_sqlite: Api) -> None:
    """`/healthz` tells of the process, `/readyz` of what it needs, `/metrics` of what it did."""
    assert on_sqlite.http.get("/healthz").json() == {"status": "ok", "checks": {}}
    ready = on_sqlite.http.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "checks": {"database": "ok"}})
    on_sqlite.trouble["database"] = "no answer"
    ready = on_sqlite.http.get("/readyz")
    assert (ready.status_code, ready.json()) == (503, {"status": "not ready", "checks": {"database": "no answer"}})
    assert on_sqlite.http.get("/healthz").status_code == 200
    for path, status in (("/healthz", 200), ("/readyz", 503), ("/metrics", 200)):
        head = on_sqlite.http.head(path)
        assert (head.status_code, head.headers["content-type"]) == (
            status,
            on_sqlite.http.get(path).headers["content-type"],
        )
    metrics = on_sqlite.http.get("/metrics")
    assert metrics.text == "hookstream_up 1\n"
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")


def test_the_documentation_is_served(on_sqlite: Api) -> None:
    """`/openapi.json` describes every route and webhook, `/docs` shows it, `/asyncapi.json` describes deliveries."""
    document = on_sqlite.http.get("/openapi.json").json()
    routes = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert routes >= {
        ("post", "/hooks"),
        ("get", "/hooks"),
        ("get", "/hooks/{hook_id}"),
        ("delete", "/hooks/{hook_id}"),
        ("post", "/events"),
        ("get", "/event-types"),
        ("get", "/healthz"),
        ("get", "/readyz"),
        ("get", "/metrics"),
    }
    assert "Problem" in document["components"]["schemas"]
    assert list(document["webhooks"]) == list(Catalogue.shipped().event_names)
    asyncapi = on_sqlite.http.get("/asyncapi.json").json()
    assert asyncapi_faults(asyncapi) == []
    assert list(asyncapi["channels"]) == list(Catalogue.shipped().event_names)
    assert on_sqlite.http.get("/docs").status_code == 200


def test_unknown_routes_and_methods_are_problems(on_sqlite: Api) -> None:
    """A path that is none is 404; a method that is none there is 405 and names those that are."""
    caller = on_sqlite.integrator(434)
    for path in ("/nothing", "/hooks/", "/hooks/1/nothing", "/"):
        assert_problem(caller("GET", path), 404, "no-such-route")
    response = caller("PUT", "/hooks")
    assert_problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "GET, POST"


def test_a_database_that_is_unavailable_is_said_so(sqlite_url: str) -> None:
    """While the database is unavailable requests get 503 with Retry-After, and no word of where it is."""
    api = Api(sqlite_url)
    away = open_database("postgresql+psycopg://someone:hunter2@127.0.0.1:1/nothing")
    response = Api(sqlite_url, sessions=open_sessions(away)).http.get(
        "/hooks", headers={"Authorization": f"Bearer {api.token(Role.OPERATOR)}"}
    )
    assert_problem(response, 503, "database-unavailable")
    assert response.headers["retry-after"]
    assert "hunter2" not in response.text
    assert "127.0.0.1" not in response.text
    away.dispose()
    api.close()


def test_a_database_that_was_not_migrated_is_said_so(api: Api) -> None:
    """Without its tables the API answers 503 and names the command that makes them."""
    token = api.token(Role.OPERATOR)
    transact(api.sessions, lambda session: session.execute(text("DROP TABLE tokens")))
    problem = assert_problem(Caller(api.http, token)("GET", "/hooks"), 503, "database-unavailable")
    assert "hookstream migrate" in str(problem["detail"])


def test_a_defect_is_a_problem_without_details(sqlite_url: str) -> None:
    """An unexpected error is 500, and tells the caller nothing of the inside."""

    def broken() -> int:
        message = "hunter2"
        raise RuntimeError(message)

    api = Api(sqlite_url)
    token = api.token(Role.OPERATOR)
    response = Caller(Api(sqlite_url, now_ms=broken).http, token)("GET", "/hooks")
    assert_problem(response, 500, "internal-error")
    assert "hunter2" not in response.text
    api.close()
