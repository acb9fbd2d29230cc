"""The API of a deployment whose clients and resources have text ids."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.control import endpoint_id, target_digest
from hookstream.schemas.event import ClientId
from hookstream.schemas.ids import IdKind
from hookstream.subscriptions.models import Role
from tests.support.subscriptions_api import Answer, Api, Caller
from tests.support.values import LONGEST_ID

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ACME = ClientId("acme/Ä|1")
LONGEST = ClientId(LONGEST_ID)
TARGET = "https://example.com/orders"
HOOK = {"hook": {"event": "order.placed", "target": TARGET}}
EVENT: dict[str, object] = {"event": "order.placed", "client": ACME, "concept": {"id": "o-17"}}


@pytest.fixture
def api(any_database_url: str, tmp_path: Path) -> Iterator[Api]:
    text = Catalogue.shipped().schema_text("lead").replace("Lead", "Order")
    schema = json.loads(text)
    fields = {field["name"]: field for field in schema["fields"]}
    fields["event"]["type"]["symbols"] = ["placed"]
    fields["client"]["type"] = fields["concept"]["type"]["fields"][0]["type"] = "string"
    (tmp_path / "order.avsc").write_text(json.dumps(schema))
    made = Api(any_database_url, client_ids=IdKind.STRING, catalogue=Catalogue.from_directory(tmp_path))
    yield made
    made.close()


def caller(api: Api, client: str) -> Caller:
    return Caller(api.http, api.token(Role.INTEGRATOR, client))


def faults_of(answer: Answer) -> list[dict[str, str]]:
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (422, "urn:hookstream:problem:invalid-request"), problem
    found: list[dict[str, str]] = problem["errors"]
    return found


def test_a_client_with_a_text_id_registers_a_hook_and_sees_its_own_alone(api: Api) -> None:
    """A text id, odd or the longest, is shown as a string, and finds the client's hooks, endpoints and settings."""
    caller(api, "other")("POST", "/hooks", HOOK)
    operator = api.operator()
    for client in (ACME, LONGEST):
        made = caller(api, client)("POST", "/hooks", HOOK)
        assert (made.status_code, made.json()["hook"]["client"]) == (201, {"id": client})
        assert [hook["client"]["id"] for hook in caller(api, client)("GET", "/hooks").json()["hooks"]] == [client]
        found = operator("GET", f"/hooks?client={quote(client, safe='')}").json()["hooks"]
        assert [hook["client"]["id"] for hook in found] == [client]
        name = endpoint_id(client, target_digest(TARGET))
        paused = operator("POST", f"/endpoints/{name}/pause", {"reason": "it melts"}).json()["settings"]
        assert (paused["endpoint"], paused["client"], paused["paused"]) == (name, {"id": client}, True)
        shown = operator("GET", f"/endpoints/{name}").json()["endpoint"]
        assert (shown["id"], shown["client"]) == (name, {"id": client})


def test_a_client_that_can_be_none_is_a_clear_error(api: Api) -> None:
    """A text that is no id is refused with 422, in a parameter and in a body."""
    long = "x" * 256
    assert [fault["parameter"] for fault in faults_of(api.operator()("GET", f"/hooks?client={long}"))] == ["client"]
    (fault,) = faults_of(api.operator()("GET", "/hooks?client=a%00b"))
    assert "without control characters" in fault["detail"]
    for bad in ("", long, "a\nb", 434):
        answer = api.platform()("POST", "/events", EVENT | {"client": bad})
        assert [fault["pointer"] for fault in faults_of(answer)] == ["#/client"]
    assert api.events.published == []


def test_an_event_with_text_ids_is_published_as_it_was_sent(api: Api) -> None:
    """The kinds of ids that the event's schema declares are taken, and no others."""
    assert api.platform()("POST", "/events", EVENT).status_code == 202
    (event,) = api.events.published
    assert (event.client, event.concept.id) == (ACME, "o-17")
    answer = api.platform()("POST", "/events", EVENT | {"concept": {"id": 17}})
    assert [fault["pointer"] for fault in faults_of(answer)] == ["#/concept/id"]


def test_a_replay_is_asked_for_by_text_ids_and_shows_them(api: Api) -> None:
    """`client` and `concept_id` of a replay are strings where ids are."""
    for client, concept in ((ACME, "o-17"), (LONGEST, LONGEST)):
        wanted = {"from_ms": 0, "to_ms": 9, "client": client, "namespace": "order", "concept_id": concept}
        shown = api.operator()("POST", "/replays", {"replay": wanted}).json()["replay"]
        assert (shown["client"], shown["concept_id"]) == (client, concept)


def test_a_ping_has_the_ids_of_its_namespace(api: Api) -> None:
    """A ping's body has a string where an event of the namespace has one."""
    hook_id = caller(api, ACME)("POST", "/hooks", HOOK).json()["hook"]["id"]
    assert caller(api, ACME)("POST", f"/hooks/{hook_id}/ping").status_code == 202
    ((delivery, _),) = api.delivery_publisher.sent
    assert json.loads(delivery.body) == {
        "event": "order.placed",
        "client": ACME,
        "concept": {"id": "0", "namespace": "order", "sub_namespace": None},
    }
