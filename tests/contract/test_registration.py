"""Many hooks registered with one request, under one secret, on SQLite and on PostgreSQL."""

from __future__ import annotations

import base64
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select

from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.control import endpoint_id, target_digest
from hookstream.schemas.event import ClientId
from hookstream.subscriptions.changes import hook_of
from hookstream.subscriptions.database import reading
from hookstream.subscriptions.models import AuditRow, IdempotencyRow, SubscriptionRow
from hookstream.subscriptions.repository import MAX_SECRETS
from hookstream.subscriptions.secret_rotation import SECRET_OVERLAP_MS
from hookstream.subscriptions.secrets import open_hook_secrets
from tests.support.subscriptions_api import BOX, TARGET, Answer, Api, Caller

CLIENT = 434
EVERY = list(Catalogue.shipped().domain_names)
SOME = ["lead.updated", "user.new", "lead.new"]
ENDPOINT = endpoint_id(ClientId(str(CLIENT)), target_digest(TARGET))
BROUGHT = "whsec_" + base64.b64encode(bytes(range(24))).decode()


def register(caller: Caller, events: object, *, key: str | None = None, **fields: object) -> Answer:
    """Ask for hooks of many events."""
    headers = {} if key is None else {"Idempotency-Key": key}
    return caller("POST", "/hooks", {"hooks": {"events": events, "target": TARGET, **fields}}, headers)


def rotate(caller: Caller, endpoint: str = ENDPOINT, key: str | None = None) -> Answer:
    """Ask for a new secret of all hooks of an endpoint."""
    headers = {} if key is None else {"Idempotency-Key": key}
    return caller("POST", f"/endpoints/{endpoint}/secret/rotate", None, headers)


def rows_of(api: Api) -> list[SubscriptionRow]:
    """Read every subscription row, in the order of the hooks."""
    with reading(api.sessions) as session:
        return list(session.scalars(select(SubscriptionRow).order_by(SubscriptionRow.hook_id)))


def secrets_of(row: SubscriptionRow) -> list[str]:
    """What deliveries of a hook are signed with, newest first."""
    return [secret.reveal() for secret in open_hook_secrets(BOX, hook_of(row))]


def refused(answer: Answer, status: int, kind: str) -> dict[str, Any]:
    """Check that the answer is a problem of this kind, and give it."""
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:hookstream:problem:{kind}"), answer.text
    problem: dict[str, Any] = answer.json()
    return problem


# --- registration -----------------------------------------------------------------------------------------------------


def test_every_event_is_registered_with_one_request_under_one_secret(api: Api) -> None:
    """`["*"]` makes a hook for each event of the platform, no notice, under one secret, which is shown once."""
    answer = register(api.integrator(CLIENT), ["*"])
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert list(body) == ["hooks", "secret"]
    assert [hook["event"] for hook in body["hooks"]] == EVERY
    assert {(hook["target"], hook["client"]["id"]) for hook in body["hooks"]} == {(TARGET, CLIENT)}
    rows = rows_of(api)
    assert [(row.hook_id, row.event) for row in rows] == [(hook["id"], hook["event"]) for hook in body["hooks"]]
    assert {tuple(secrets_of(row)) for row in rows} == {(body["secret"],)}
    assert len({row.secrets for row in rows}) == len(EVERY), "each ciphertext is its hook's own"
    assert len(api.changes) == 1, "the relay is told"
    assert "secret" not in api.integrator(CLIENT)("GET", "/hooks").text


def test_all_or_none_and_those_that_exist_are_named(api: Api) -> None:
    """Where some of the events have hooks the answer is 409 with their ids and `PATCH` as advice: no hook is new."""
    caller = api.integrator(CLIENT)
    first = register(caller, SOME).json()["hooks"]
    before = [(row.hook_id, row.revision) for row in rows_of(api)]
    problem = refused(register(caller, ["*"]), 409, "hook-exists")
    assert sorted((each["id"], each["event"]) for each in problem["hooks"]) == [(h["id"], h["event"]) for h in first]
    assert "PATCH /hooks/{id}" in problem["detail"]
    assert "delete" not in problem["detail"].lower().replace("deletion", "")
    assert [(row.hook_id, row.revision) for row in rows_of(api)] == before
    assert register(api.integrator(435), ["*"]).status_code == 201
    free = [event for event in EVERY if event not in SOME]
    assert register(caller, free).status_code == 201


def test_of_requests_that_meet_each_event_has_one_hook(api: Api) -> None:
    """Requests whose events overlap, at the same moment: each makes all of its hooks or none, and none hangs."""
    caller = api.integrator(CLIENT)
    for event in SOME:  # some of the rows are there, some are not
        caller("DELETE", f"/hooks/{caller.create(event).json()['hook']['id']}")
    wanted = [["*"], EVERY[::-1], SOME, SOME[::-1], EVERY[5:], ["lead.new"]]
    with ThreadPoolExecutor(len(wanted)) as pool:
        answers = list(pool.map(lambda events: register(caller, events), wanted))
    assert {answer.status_code for answer in answers} <= {201, 409}, [answer.text for answer in answers]
    made = [hook["id"] for answer in answers if answer.status_code == 201 for hook in answer.json()["hooks"]]
    living = [hook["id"] for hook in caller("GET", "/hooks").json()["hooks"]]
    assert made
    assert sorted(made) == sorted(living)


def test_the_same_key_gets_the_first_answer_again_until_a_hook_of_it_is_deleted(api: Api) -> None:
    """A lost answer can be had again, secret included; after a deletion the key is as good as new."""
    caller = api.integrator(CLIENT)
    first = register(caller, SOME, key="k")
    again = register(caller, SOME, key="k")
    assert (again.status_code, again.text) == (201, first.text)
    assert again.headers["idempotent-replayed"] == "true"
    refused(register(caller, ["lead.new"], key="k"), 422, "idempotency-key-reused")
    refused(register(caller, SOME, key="k", secret=BROUGHT), 422, "idempotency-key-reused")
    caller("DELETE", f"/hooks/{first.json()['hooks'][0]['id']}")
    assert len(refused(register(caller, SOME, key="k"), 409, "hook-exists")["hooks"]) == len(SOME) - 1


WRONG_LISTS: list[tuple[dict[str, object], list[str]]] = [
    ({"events": []}, ["#/hooks/events"]),
    ({"events": "lead.new"}, ["#/hooks/events"]),
    ({"events": ["*", "lead.new"]}, ["#/hooks/events/0"]),
    ({"events": ["lead.new", "lead.nwe", "lead.new", ""]}, ["#/hooks/events/3"]),
    ({"events": ["lead.new", "lead.nwe", "lead.new"]}, ["#/hooks/events/1", "#/hooks/events/2"]),
    ({"events": ["lead.new"] * 1001}, ["#/hooks/events"]),
    ({"events": ["x"] * 1000}, [f"#/hooks/events/{n}" for n in range(20)]),
    ({"events": ["*"], "target": "http://127.0.0.1/"}, ["#/hooks/target"]),
    ({"events": ["*"], "event": "lead.new"}, ["#/hooks/event"]),
    ({"events": ["*"], "client": "x"}, ["#/hooks/client"]),
    ({"events": ["*"], "client": None}, ["#/hooks/client"]),
]


def test_what_is_wrong_with_a_list_is_said_with_its_place(on_sqlite: Api) -> None:
    """A list that cannot be registered names the places in the body, and makes no hook."""
    caller = on_sqlite.integrator(CLIENT)
    for hooks, pointers in WRONG_LISTS:
        problem = refused(caller("POST", "/hooks", {"hooks": {"target": TARGET, **hooks}}), 422, "invalid-request")
        assert [fault["pointer"] for fault in problem["errors"]] == pointers
    assert rows_of(on_sqlite) == []


def test_a_body_has_one_of_both_forms(on_sqlite: Api) -> None:
    """`hook` and `hooks` together are an error that names the one which is too much."""
    both = {"hook": {"event": "lead.new", "target": TARGET}, "hooks": {"events": ["*"], "target": TARGET}}
    problem = refused(on_sqlite.integrator(CLIENT)("POST", "/hooks", both), 422, "invalid-request")
    assert [fault["pointer"] for fault in problem["errors"]] == ["#/hooks"]


# --- secrets that are brought -----------------------------------------------------------------------------------------


def test_a_secret_may_be_brought_in_both_forms(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """Hooks are signed with the secret that was sent; the database and the log do not hold it."""
    caller = api.integrator(CLIENT)
    longest = "whsec_" + base64.b64encode(bytes(64)).decode()
    with caplog.at_level(logging.DEBUG):
        one = caller("POST", "/hooks", {"hook": {"event": "lead.new", "target": TARGET, "secret": BROUGHT}})
        many = register(caller, ["user.new", "user.updated"], secret=longest, key="k")
    assert one.json()["hook"]["secret"] == BROUGHT
    assert many.json()["secret"] == longest
    assert [secrets_of(row) for row in rows_of(api)] == [[BROUGHT], [longest], [longest]]
    with reading(api.sessions) as session:
        kept = [*session.scalars(select(AuditRow.detail)), *session.scalars(select(IdempotencyRow.answer))]
    for secret in (BROUGHT, longest):
        assert secret.removeprefix("whsec_") not in caplog.text + repr(kept) + repr(rows_of(api))


NO_SECRETS = [
    BROUGHT.removeprefix("whsec_"),
    "whsec_" + base64.b64encode(b"SENTINEL" * 2).decode(),
    "whsec_" + base64.b64encode(b"SENTINEL" * 9).decode(),
    "whsec_" + base64.urlsafe_b64encode(b"\xff" * 24).decode(),
    "whsec_" + base64.b64encode(b"SENTINEL" * 4).decode().rstrip("="),
    "whsec_" + base64.b64encode(b"SENTINEL" * 4).decode()[:-2] + "1=",  # the same bytes in another form
    "WHSEC_" + base64.b64encode(b"SENTINEL" * 4).decode(),
    BROUGHT + "\n",
    "whsec_SENTINEL",
    "",
    24,
    None,
    ["SENTINEL"],
    {"SENTINEL": 1},
]


def test_what_is_no_secret_is_refused_and_not_repeated(on_sqlite: Api) -> None:
    """A secret outside the standard is 422 at its place in both forms, and no answer shows a part of what was sent."""
    caller = on_sqlite.integrator(CLIENT)
    for secret in NO_SECRETS:
        for form, events in (("hook", {"event": "lead.new"}), ("hooks", {"events": ["*"]})):
            answer = caller("POST", "/hooks", {form: {**events, "target": TARGET, "secret": secret}})
            problem = refused(answer, 422, "invalid-request")
            assert [fault["pointer"] for fault in problem["errors"]] == [f"#/{form}/secret"]
            for part in ("SENTINEL", base64.b64encode(b"SENTINEL" * 2).decode()[:16], BROUGHT[6:]):
                assert part not in answer.text
    assert rows_of(on_sqlite) == []


# --- operators --------------------------------------------------------------------------------------------------------


def test_operators_register_for_any_client(api: Api) -> None:
    """An operator names the client, in both forms; the hook is the client's, and the audit says who made it."""
    operator = api.operator()
    one = operator("POST", "/hooks", {"hook": {"event": "lead.new", "target": TARGET, "client": CLIENT}})
    many = register(operator, ["user.new", "user.updated"], client=CLIENT)
    assert (one.status_code, many.status_code) == (201, 201), many.text
    assert one.json()["hook"]["client"] == {"id": CLIENT}
    mine = api.integrator(CLIENT)("GET", "/hooks").json()["hooks"]
    assert [hook["event"] for hook in mine] == ["lead.new", "user.new", "user.updated"]
    with reading(api.sessions) as session:
        actors = set(session.scalars(select(AuditRow.actor).where(AuditRow.action == "hook.create")))
    assert len(actors) == 1


def test_whose_hooks_they_are_has_to_be_known_and_allowed(on_sqlite: Api) -> None:
    """An operator names a client, 422 otherwise; an integrator may name his own alone, 403 otherwise."""
    operator, integrator = on_sqlite.operator(), on_sqlite.integrator(CLIENT)
    forms: list[tuple[str, dict[str, object]]] = [
        ("hook", {"event": "lead.new"}),
        ("hooks", {"events": ["user.new"]}),
    ]
    for form, events in forms:
        check_whose(on_sqlite, operator, integrator, form, events)


def check_whose(api: Api, operator: Caller, integrator: Caller, form: str, events: dict[str, object]) -> None:
    """Check it for one form of the body."""
    before = len(rows_of(api))
    unnamed = refused(operator("POST", "/hooks", {form: {**events, "target": TARGET}}), 422, "invalid-request")
    assert [fault["pointer"] for fault in unnamed["errors"]] == [f"#/{form}/client"]
    foreign = {form: {**events, "target": TARGET, "client": CLIENT + 1}}
    refused(integrator("POST", "/hooks", foreign), 403, "foreign-client")
    assert len(rows_of(api)) == before
    own = {form: {**events, "target": TARGET, "client": CLIENT}}
    assert integrator("POST", "/hooks", own).status_code == 201


# --- rotation of an endpoint ------------------------------------------------------------------------------------------


def test_all_hooks_of_an_endpoint_get_one_new_secret_beside_their_old_ones(api: Api) -> None:
    """Enabled and disabled hooks of the target have the new secret first and their own old one for 24 hours."""
    caller = api.integrator(CLIENT)
    bulk = register(caller, SOME).json()
    alone = caller.create("property.new").json()["hook"]
    elsewhere = caller.create("property.deleted", target="https://other.example/").json()["hook"]
    foreign = api.integrator(435).create("lead.new").json()["hook"]
    caller("POST", f"/hooks/{bulk['hooks'][0]['id']}/disable")
    answer = rotate(caller)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    rotated = answer.json()["endpoint"]
    assert (rotated["id"], rotated["target"], rotated["client"]) == (ENDPOINT, TARGET, {"id": CLIENT})
    assert {hook["event"] for hook in rotated["hooks"]} == {*SOME, "property.new"}
    assert rotated["old_secrets_until_ms"] == api.clock() + SECRET_OVERLAP_MS
    signed = {row.hook_id: secrets_of(row) for row in rows_of(api)}
    assert all(signed[hook["id"]] == [rotated["secret"], bulk["secret"]] for hook in bulk["hooks"])
    assert signed[alone["id"]] == [rotated["secret"], alone["secret"]]
    assert signed[elsewhere["id"]] == [elsewhere["secret"]]
    assert signed[foreign["id"]] == [foreign["secret"]]


def test_a_rotation_of_an_endpoint_is_repeated_with_its_key(api: Api) -> None:
    """The same key gets the same secret again and changes nothing; another endpoint needs another key."""
    caller = api.integrator(CLIENT)
    register(caller, SOME)
    first = rotate(caller, key="k")
    before = [(row.revision, secrets_of(row)) for row in rows_of(api)]
    again = rotate(caller, key="k")
    assert (again.status_code, again.text) == (200, first.text)
    assert again.headers["idempotent-replayed"] == "true"
    assert [(row.revision, secrets_of(row)) for row in rows_of(api)] == before
    caller.create("property.new", target="https://other.example/")
    other = endpoint_id(ClientId(str(CLIENT)), target_digest("https://other.example/"))
    refused(rotate(caller, other, key="k"), 422, "idempotency-key-reused")


def test_a_hook_with_as_many_secrets_as_it_may_have_keeps_the_whole_endpoint_as_it_is(api: Api) -> None:
    """All or none: where one hook cannot take another secret, none of the endpoint gets it."""
    caller = api.integrator(CLIENT)
    hooks = register(caller, SOME).json()["hooks"]
    for _ in range(MAX_SECRETS - 1):
        caller("POST", f"/hooks/{hooks[1]['id']}/secret/rotate")
    before = [secrets_of(row) for row in rows_of(api)]
    refused(rotate(caller), 409, "too-many-secrets")
    assert [secrets_of(row) for row in rows_of(api)] == before


def test_the_endpoint_of_another_client_is_not_there(on_sqlite: Api) -> None:
    """A client cannot tell another's endpoint from none; an operator rotates any."""
    register(on_sqlite.integrator(CLIENT), SOME)
    other = on_sqlite.integrator(435)
    for endpoint in (ENDPOINT, "434-0000000000000000", "nonsense"):
        refused(rotate(other, endpoint), 404, "endpoint-not-found")
    refused(rotate(on_sqlite.operator(), "434-0000000000000000"), 404, "endpoint-not-found")
    assert rotate(on_sqlite.operator()).status_code == 200
    with reading(on_sqlite.sessions) as session:
        rotations = select(func.count()).where(AuditRow.action == "hook.secret.rotate")
        assert session.scalar(rotations) == len(SOME)
