"""The OpenAPI document against the API itself: what schemathesis can think of is answered as documented."""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
    use_after_free,
)

from hookstream.processors.serving.connections import ConnectionLimits
from hookstream.processors.serving.server import HttpServer
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.ids import IdKind
from hookstream.subscriptions.models import Role
from tests.support.postgres import new_database
from tests.support.repository import ROOT
from tests.support.subscriptions_api import Api
from tests.support.two_clients import OURS, THEIRS, Belongings, furnish
from tests.support.wait import WITHIN_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from schemathesis.schemas import APIOperation

# Not among them is the rejection of everything invalid: to schemathesis a query parameter that is not declared is
# invalid, and an API ignores those. What is wrong with a body is asked for one by one in `test_api.py`.
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
    use_after_free,
    ignored_auth,
)


# Requests of each operation; with some fifty operations half a minute in all.
_EXAMPLES = 12


@pytest.mark.parametrize("example", [None, "orders", "foreign-topics"])
def test_the_openapi_document_is_valid(example: str | None, sqlite_url: str) -> None:
    """The OpenAPI document, webhooks included, is valid by OpenAPI's own schema, whatever the domain."""
    catalogue = Catalogue.shipped() if example is None else Catalogue.from_directory(ROOT / "examples" / example)
    api = Api(sqlite_url, catalogue=catalogue)
    document = api.http.get("/openapi.json").json()
    OpenAPIV31SpecValidator(document).validate()
    assert list(document["webhooks"]) == list(catalogue.event_names)
    api.close()


@pytest.mark.parametrize(("kind", "example", "events"), [("integer", None, "integer"), ("string", "orders", "string")])
def test_ids_have_the_kind_of_the_deployment_in_the_document(
    sqlite_url: str, kind: str, example: str | None, events: str
) -> None:
    """The document says of which kind a client's id is in this deployment, and in the events that it takes."""
    catalogue = Catalogue.shipped() if example is None else Catalogue.from_directory(ROOT / "examples" / example)
    api = Api(sqlite_url, catalogue=catalogue, client_ids=IdKind(kind))
    schemas = api.http.get("/openapi.json").json()["components"]["schemas"]
    for name in ("ClientFields.id", "DeadLetterFields.client", "ReplayFields.client", "NewReplayFields.client"):
        model, _, field = name.partition(".")
        said = schemas[model]["properties"].get(field, {})
        assert [each.get("type") for each in said.get("anyOf", [said]) if each.get("type") != "null"] == [kind], name
    assert schemas["EventBody"]["properties"]["client"]["type"] == events
    assert schemas["ConceptFields"]["properties"]["id"]["type"] == events
    assert "x-hookstream" not in api.http.get("/openapi.json").text
    api.close()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('served') / 'hookstream.sqlite3'}"
    else:
        yield from new_database(request.getfixturevalue("postgres_url"))


@pytest.fixture(scope="module")
def served(url: str) -> Iterator[Served]:
    """Serve an API on a port, as in production, with everything that two clients can have."""
    api = Api(url)
    with api.http:
        ours, theirs = furnish(api, OURS), furnish(api, THEIRS)
    listener = socket.create_server(("127.0.0.1", 0))
    server = HttpServer(api.app, limits=ConnectionLimits(), stop_timeout_s=1)
    thread = threading.Thread(target=server.run, args=(listener,))
    thread.start()
    tokens = {
        Role.INTEGRATOR: ours.caller.token,
        Role.OPERATOR: api.token(Role.OPERATOR),
        Role.PLATFORM: api.token(Role.PLATFORM),
    }
    yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", tokens, ours, theirs)
    server.stop()
    thread.join(WITHIN_S)
    listener.close()
    api.close()


@dataclass(frozen=True, slots=True)
class Served:
    """The API on a port, a token of each role (the integrator's is ours), and both clients' things."""

    url: str
    tokens: Mapping[Role, str]
    ours: Belongings
    theirs: Belongings


def test_every_route_answers_as_documented_and_to_its_own_client_alone(served: Served) -> None:
    """Whatever is sent, with any role's token and any client's ids: no server error, no answer that is not documented.

    No answer to one client holds anything of the other, whichever of its ids were in the request.
    """
    schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    found = [each.ok() for each in schema.get_all_operations() if isinstance(each, Ok)]
    # What is deleted is not there for the others.
    for operation in sorted(found, key=lambda each: (each.method.upper() == "DELETE", each.label)):
        _check(operation, served)
    document = httpx.get(f"{served.url}/openapi.json", timeout=WITHIN_S).json()
    assert len(found) == sum(map(len, document["paths"].values())) >= 30


def _check(operation: APIOperation[Any, Any, Any, Any], served: Served) -> None:
    valid, invalid = (operation.as_strategy(generation_mode=mode) for mode in GenerationMode)
    roles = st.sampled_from([Role.INTEGRATOR] * 4 + [Role.OPERATOR, Role.PLATFORM])
    things = st.sampled_from([served.ours, served.theirs, None])

    @given(case=valid | invalid, role=roles, whose=things)
    @settings(
        max_examples=_EXAMPLES,
        deadline=None,
        database=None,
        derandomize="CI" in os.environ,  # there every run tries the same; elsewhere each tries something else
        suppress_health_check=list(HealthCheck),
    )
    def answers_as_documented(case: schemathesis.Case[Any], role: Role, whose: Belongings | None) -> None:
        if whose is not None:
            _name_things_of(whose, case)
        headers = {"Authorization": f"Bearer {served.tokens[role]}"}
        answer = case.call_and_validate(headers=headers, checks=list(CHECKS))
        if role is not Role.INTEGRATOR:
            return
        asked = f"{answer.request.url} {answer.request.body!r}"
        leaked = [mark for mark in served.theirs.marks if mark in answer.text and mark not in asked]
        assert not leaked, f"{answer.request.method} {asked}: {answer.text}"
        if whose is served.theirs and "{" in operation.path:
            assert answer.status_code >= HTTPStatus.BAD_REQUEST, f"{answer.request.method} {asked}: {answer.text}"

    answers_as_documented()


def _name_things_of(whose: Belongings, case: schemathesis.Case[Any]) -> None:
    """Put someone's ids wherever a request names something."""
    for name, value in whose.path_values.items():
        if name in (case.path_parameters or {}):
            case.path_parameters[name] = value
    for name, value in (("client", str(whose.client)), ("hook", str(whose.hook_id))):
        if name in (case.query or {}):
            case.query[name] = value
    if isinstance(case.body, dict):
        named: dict[str, Any] = {"ids": [whose.dead_letter_id], "delivery": whose.delivery_id}
        case.body.update({name: value for name, value in named.items() if name in case.body})
