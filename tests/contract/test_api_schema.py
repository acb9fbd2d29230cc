"""The OpenAPI document against the API itself: what schemathesis can think of is answered as documented."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
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

from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.ids import IdKind
from hookstream.subscriptions.models import Role
from tests.support.repository import ROOT
from tests.support.subscriptions_api import Api

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    made = Api(f"sqlite:///{tmp_path_factory.mktemp('schema') / 'hookstream.sqlite3'}")
    yield made
    made.close()


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
    for name in ("ClientFields.id", "LetterFields.client", "ReplayFields.client", "NewReplayFields.client"):
        model, _, field = name.partition(".")
        said = schemas[model]["properties"].get(field, {})
        assert [each.get("type") for each in said.get("anyOf", [said]) if each.get("type") != "null"] == [kind], name
    assert schemas["EventBody"]["properties"]["client"]["type"] == events
    assert schemas["ConceptFields"]["properties"]["id"]["type"] == events
    assert "x-hookstream" not in api.http.get("/openapi.json").text
    api.close()


def test_every_route_answers_as_documented(api: Api) -> None:
    """No input makes a server error, or an answer whose status, type or shape is not in the OpenAPI document."""
    schema = schemathesis.openapi.from_asgi("/openapi.json", api.app)
    platform, integrator, operator = api.token(Role.PLATFORM), api.token(Role.INTEGRATOR, 434), api.token(Role.OPERATOR)
    checked = []
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        token = platform if operation.path == "/events" else operator if _is_operators(operation.path) else integrator
        _check(operation, {"Authorization": f"Bearer {token}"})
        checked.append(operation.label)
    documented = api.app.openapi()["paths"]
    assert len(checked) == sum(map(len, documented.values())) >= 13, checked


def _is_operators(path: str) -> bool:
    return path.startswith("/endpoints/{endpoint}/") and "secret" not in path


def _check(operation: APIOperation[Any, Any, Any, Any], headers: dict[str, str]) -> None:
    valid, invalid = (operation.as_strategy(generation_mode=mode) for mode in GenerationMode)

    @given(case=valid | invalid)
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    def answers_as_documented(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(headers=headers, checks=list(CHECKS))

    answers_as_documented()
