"""OWASP's ten risks of APIs (2023), a test for each line that applies; SECURITY.md names those that stand elsewhere.

Everything here goes over every route that there is: a new one is held to the same, or named here with a reason.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from hookstream.subscriptions.models import Role
from tests.support.deeds import deeds
from tests.support.subscriptions_api import Api
from tests.support.two_clients import OURS, THEIRS, Belongings, furnish

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fastapi.routing import APIRoute

    from tests.support.subscriptions_api import Answer

PUBLIC = {"/healthz", "/readyz", "/metrics", "/openapi.json", "/asyncapi.json", "/docs"}
"""Paths that need no token: health for the operator's network, and what integrators are sent anyway."""
EVERYONE = {Role.INTEGRATOR, Role.PLATFORM, Role.OPERATOR}
NOT_INTEGRATORS = {
    ("POST", "/events"): {Role.PLATFORM},
    ("POST", "/portal/links"): {Role.PLATFORM, Role.OPERATOR},
}
"""Routes that are not for integrators, with who they are for; those of an endpoint's settings are the operators'."""


def is_page_of_docs(path: str) -> bool:
    """Whether a path is the page that shows the document, or a file of it."""
    return path == "/docs" or path.startswith("/docs/")


@pytest.fixture
def api(sqlite_url: str) -> Iterator[Api]:
    made = Api(sqlite_url)
    yield made
    made.close()


def routes(api: Api) -> Iterator[tuple[str, APIRoute]]:
    """Method and route of everything behind a token."""
    for route in api.app.state.api_routes:
        for method in sorted(route.methods - {"HEAD"}):
            if route.path not in PUBLIC and not is_page_of_docs(route.path):
                yield method, route


def bodies(ours: Belongings) -> Mapping[tuple[str, str], Any]:
    """A right body of each request that has one."""
    made: dict[tuple[str, str], Any] = {deed.route: deed.body for deed in deeds(ours.delivery_id)}
    return made | {("PATCH", "/replays/{replay_id}"): {"replay": {"state": "running"}}, ("POST", "/events"): {}}


def roles_of(method: str, path: str) -> set[Role]:
    """Who a route is for."""
    if path == "/event-types":
        return EVERYONE
    if path.removeprefix("/endpoints/{endpoint}/") in {"settings", "pause", "resume", "retry-now", "drain", "skip"}:
        return {Role.OPERATOR}
    return NOT_INTEGRATORS.get((method, path), {Role.INTEGRATOR, Role.OPERATOR})


def kind(answer: Answer) -> str:
    """What kind of problem an answer is."""
    problem: str = answer.json().get("type", "").removeprefix("urn:hookstream:problem:")
    return problem


def test_api1_broken_object_level_authorization(api: Api) -> None:
    """API1:2023. Another client's thing is not found by any route that names one, as if there were none, and stays."""
    ours, theirs = furnish(api, OURS), furnish(api, THEIRS)
    sent = bodies(ours)
    seen = theirs.caller("GET", "/audit").json()
    tried = 0
    for method, route in routes(api):
        if "{" not in route.path or Role.INTEGRATOR not in roles_of(method, route.path):
            continue
        tried += 1
        body = sent.get((method, route.path))
        foreign = ours.caller(method, route.path.format(**theirs.path_values), body)
        missing = ours.caller(method, route.path.format(**{**theirs.path_values, **MISSING}), body)
        assert (foreign.status_code, kind(foreign)) == (404, kind(missing)), (method, route.path, foreign.text)
        shown = foreign.text
        for name, value in theirs.path_values.items():
            shown = shown.replace(value, MISSING[name])
        assert shown == missing.text, "the answer says whether it exists"
    assert tried >= 10
    assert theirs.caller("GET", "/audit").json() == seen, "something was changed"
    resent = ours.caller("POST", "/dead-letters/resend", {"ids": [ours.dead_letter_id, theirs.dead_letter_id]}).json()
    unfit = [each["id"] for each in resent["unfit"]]
    assert (resent["resent"], unfit) == ([ours.dead_letter_id], [theirs.dead_letter_id])
    for path in ("/hooks", "/endpoints", "/dead-letters", "/replays", "/audit"):
        own = ours.caller("GET", path)
        assert own.status_code == 200
        assert not any(mark in own.text for mark in theirs.marks), path
        assert ours.caller("GET", f"{path}?client={THEIRS}").status_code == 403, path


# Ids of things that no one has, of the same form as those that someone has.
MISSING = {
    "hook_id": "999999999",
    "delivery_id": "msg_" + "f" * 32,
    "dead_letter": "0-999999",
    "replay_id": "999999999",
    "started_at_ms": "999999999",
    "endpoint": f"{THEIRS}-{'f' * 16}",
    "endpoint_id": f"{THEIRS}-{'f' * 16}",
}


def test_api2_broken_authentication(api: Api) -> None:
    """API2:2023. No route but the public ones opens without a token, with a made-up one, or with one in the URL."""
    token = api.token(Role.OPERATOR)
    for method, route in routes(api):
        path = route.path.format(**MISSING)
        unknown = {"Authorization": f"Bearer hks_{'a' * 43}"}
        answers = [
            api.http.request(method, path),
            api.http.request(method, path, headers=unknown),
            api.http.request(method, f"{path}?access_token={token}&token={token}"),
            api.http.request(method, path, headers={"Cookie": f"token={token}", "X-Api-Key": token}),
            api.http.request(method, path, headers={"Authorization": f"Basic {token}"}),
        ]
        assert [answer.status_code for answer in answers] == [401] * 5, (method, route.path)
        assert all(answer.headers["www-authenticate"].startswith("Bearer") for answer in answers)
        assert token not in "".join(answer.text for answer in answers)


def test_api3_broken_object_property_level_authorization(api: Api) -> None:
    """API3:2023. A body with a key that is not documented is refused, and secrets are in no answer but where made."""
    document = api.http.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    open_bodies = []
    for path, method, operation in operations(document):
        for name in referred(schemas, operation.get("requestBody", {})):
            schema = schemas[name]
            if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
                open_bodies.append((method, path, name))
    assert open_bodies == []
    with_secrets = {
        (method, path)
        for path, method, operation in operations(document)
        for name in referred(schemas, operation["responses"])
        if "secret" in schemas[name].get("properties", {})
    }
    assert with_secrets == SHOW_A_SECRET
    caller = api.integrator(OURS)
    hook = {"event": "lead.new", "target": "https://example.com/"}
    for more in ({"id": 1}, {"state": "disabled"}, {"created_at_ms": 1}, {"secret_hash": "x"}):
        assert caller("POST", "/hooks", {"hook": {**hook, **more}}).status_code == 422, more
    foreign = caller("POST", "/hooks", {"hook": {**hook, "client": THEIRS}})
    assert (foreign.status_code, kind(foreign)) == (403, "foreign-client")


SHOW_A_SECRET = {
    ("post", "/hooks"),
    ("post", "/hooks/{hook_id}/secret/rotate"),
    ("post", "/endpoints/{endpoint}/secret/rotate"),
}


def test_api4_unrestricted_resource_consumption(api: Api) -> None:
    """API4:2023. Each list has a longest page, each array a longest length, and each token a limit on every route."""
    document = api.http.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    for path, method, operation in operations(document):
        for parameter in operation.get("parameters", []):
            if parameter["name"] == "limit":
                assert parameter["schema"]["maximum"] <= 500, path
        if operation.get("security"):
            assert "429" in operation["responses"], (method, path)
        for name in referred(schemas, operation.get("requestBody", {})):
            for field, schema in schemas[name].get("properties", {}).items():
                if schema.get("type") == "array":
                    assert schema["maxItems"] <= 1000, (name, field)


def test_api5_broken_function_level_authorization(api: Api) -> None:
    """API5:2023. Each route answers 403 to each role that it is not for, whatever is asked and whether it exists."""
    ours = furnish(api, OURS)
    callers = {Role.INTEGRATOR: ours.caller, Role.PLATFORM: api.platform(), Role.OPERATOR: api.operator()}
    sent = bodies(ours)
    for method, route in routes(api):
        for role, caller in callers.items():
            if role in roles_of(method, route.path):
                continue
            for values in (ours.path_values, MISSING):
                answer = caller(method, route.path.format(**values), sent.get((method, route.path)))
                assert (answer.status_code, kind(answer)) == (403, "wrong-role"), (method, route.path, role)
    for method, route in routes(api):  # the other way round: no one is kept out who should be let in
        for role in roles_of(method, route.path):
            answer = callers[role](method, route.path.format(**MISSING))
            assert "wrong-role" not in answer.text, (method, route.path, role)


def test_api6_unrestricted_access_to_sensitive_business_flows(api: Api) -> None:
    """API6:2023. A client has one replay of its own at a time, and pings and resends nothing to a disabled hook."""
    ours = furnish(api, OURS)
    again = ours.caller("POST", "/replays", {"replay": {"from_ms": 1}})
    assert (again.status_code, kind(again)) == (409, "replay-unfinished")
    ours.caller("POST", f"/hooks/{ours.hook_id}/disable")
    for path in (f"/hooks/{ours.hook_id}/ping", f"/deliveries/{ours.delivery_id}/resend"):
        refused = ours.caller("POST", path)
        assert (refused.status_code, kind(refused)) == (409, "hook-disabled")


HOSTILE = [
    "http://169.254.169.254/latest/meta-data/",
    "http://127.0.0.1:8080/hooks",
    "http://[::1]/",
    "http://10.0.0.1/",
    "http://0x7f000001/",
    "http://2130706433/",
    "http://[::ffff:127.0.0.1]/",
    "http://user:password@example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "//example.com/",
    "https://example.com/\r\nx: y",
]


@pytest.mark.parametrize("target", HOSTILE)
def test_api7_server_side_request_forgery(api: Api, target: str) -> None:
    """API7:2023. No hook gets or changes to a target inside the network; names are checked again at every connection.

    That is tested in `tests/unit/delivery/test_address_guard.py` and `tests/delivery/test_hostile_network.py`.
    """
    ours = furnish(api, OURS)
    for answer in (
        ours.caller.create("lead.new", target=target),
        ours.caller("PATCH", f"/hooks/{ours.hook_id}", {"hook": {"target": target}}),
    ):
        assert (answer.status_code, kind(answer)) == (422, "invalid-request"), answer.text
    assert ours.caller("GET", f"/hooks/{ours.hook_id}").json()["hook"]["target"] == f"https://example.com/of-{OURS}"


def test_api8_security_misconfiguration(api: Api) -> None:
    """API8:2023. No page of another site reads an answer, secrets are not kept by caches, errors tell no insides."""
    caller = api.integrator(OURS)
    for method, route in routes(api):
        headers = {"Origin": "https://evil.example", "Authorization": f"Bearer {caller.token}"}
        answer = api.http.request(method, route.path.format(**MISSING), headers=headers)
        assert not any(name.startswith("access-control-") for name in answer.headers), route.path
        assert not re.search(r"Traceback|sqlalchemy|psycopg|/subscriptions/", answer.text), route.path
        for other in ("OPTIONS", "TRACE"):
            refused = api.http.request(other, route.path.format(**MISSING), headers=headers)
            assert refused.status_code in (404, 405), (other, route.path)
            assert not any(name.startswith("access-control-") for name in refused.headers), route.path
    created = caller.create()
    rotated = caller("POST", f"/hooks/{created.json()['hook']['id']}/secret/rotate")
    assert [answer.headers["cache-control"] for answer in (created, rotated)] == ["no-store"] * 2


def test_api9_improper_inventory_management(api: Api) -> None:
    """API9:2023. Whatever answers is in the OpenAPI document, but for the document itself and its page."""
    document = api.http.get("/openapi.json").json()
    documented = {(method.upper(), path) for path, method, _ in operations(document)}
    served = {
        (method, route.path)
        for route in api.app.state.api_routes
        for method in route.methods
        if method != "HEAD" and route.path != "/openapi.json" and not is_page_of_docs(route.path)
    }
    assert served == documented


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and operation."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def referred(schemas: Mapping[str, Any], part: object) -> set[str]:
    """Names of all schemas that a part of the document leads to."""
    found: set[str] = set()
    waiting = re.findall(r"#/components/schemas/([\w.-]+)", str(part))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += re.findall(r"#/components/schemas/([\w.-]+)", str(schemas[name]))
    return found
