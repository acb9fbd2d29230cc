"""Problems, the OpenAPI document and `/docs`: what they say of each other is the same."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias, get_args
from urllib.parse import urljoin

import jsonschema_rs
import pytest
from fastapi.testclient import TestClient
from openapi_spec_validator import OpenAPIV31SpecValidator

from hookstream.subscriptions.api.openapi import TAGS
from hookstream.subscriptions.api.problems import MEDIA_TYPE, Problem
from hookstream.subscriptions.problem_types import PROBLEM_TYPES, ProblemKind
from tests.support.reference_pages import PAGES
from tests.support.repository import ROOT
from tests.support.subscriptions_api import OF_ANY_ROUTE, unconnected_app, undocumented_problem

if TYPE_CHECKING:
    from collections.abc import Iterator

Json: TypeAlias = Any


@pytest.fixture(scope="module")
def document() -> Json:
    return unconnected_app().openapi()


def operations(document: Json) -> Iterator[tuple[str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def problem_answers(document: Json) -> Iterator[tuple[str, str, Json]]:
    """Route, status and content of each documented answer that is a problem."""
    for route, operation in operations(document):
        for status, response in operation["responses"].items():
            if content := response.get("content", {}).get(MEDIA_TYPE):
                yield route, status, content


@pytest.mark.parametrize("name", PAGES)
def test_a_page_that_is_made_from_the_code_is_the_one_in_the_repository(name: str) -> None:
    assert (ROOT / name).read_text() == PAGES[name](), "run `make reference`"


def test_no_type_of_problem_was_renamed_or_removed_or_has_another_status() -> None:
    released = (ROOT / "tests/vectors/problem_types.txt").read_text().splitlines()
    now = {f"{kind} {status.value}" for kind, known in PROBLEM_TYPES.items() for status in known.statuses}
    assert set(released) <= now, "clients tell problems apart by these"
    assert now <= set(released), "write the new ones into tests/vectors/problem_types.txt"


def test_the_table_has_every_type_in_order_and_in_sentences() -> None:
    assert list(PROBLEM_TYPES) == sorted(get_args(ProblemKind))
    for kind, known in PROBLEM_TYPES.items():
        assert known.cause.endswith("."), kind
        assert known.cure.endswith("."), kind


def test_every_type_of_problem_is_documented_at_a_route_or_may_be_answered_by_any(document: Json) -> None:
    types = {
        example["value"]["type"].rpartition(":")[2]
        for _, _, content in problem_answers(document)
        for example in content["examples"].values()
    }
    assert types | OF_ANY_ROUTE == set(PROBLEM_TYPES)
    assert types & OF_ANY_ROUTE <= {"bad-head"}


def test_every_documented_problem_has_examples_that_are_valid_and_of_its_status(document: Json) -> None:
    validator = jsonschema_rs.validator_for(Problem.model_json_schema())
    for route, status, content in problem_answers(document):
        assert content["examples"], f"{route} {status}: give `problems` the error that is answered"
        for example in content["examples"].values():
            validator.validate(example["value"])
            assert str(example["value"]["status"]) == status, route


def test_routes_have_examples_of_their_own(document: Json) -> None:
    answers = {
        (route, status): [example["value"]["detail"] for example in content["examples"].values()]
        for route, status, content in problem_answers(document)
    }
    assert answers["POST /hooks", "413"] != answers["POST /events", "413"]
    assert answers["POST /hooks", "403"] != answers["GET /hooks", "403"]
    assert answers["POST /hooks", "422"] != answers["POST /replays", "422"]
    assert "hook 17 exists" in answers["POST /hooks", "409"][0]


def test_every_route_has_a_sentence_as_its_summary_and_a_name_of_its_own(document: Json) -> None:
    names = []
    for route, operation in operations(document):
        summary = operation["summary"]
        assert re.fullmatch(r"[A-Z`].{10,}[.]", summary), f"{route}: {summary}"
        assert operation.get("description") != summary
        names.append(operation["operationId"])
    assert len(set(names)) == len(names)


def test_every_tag_is_used_and_described(document: Json) -> None:
    shown = [*document["paths"].values(), *document["webhooks"].values()]
    used = {tag for methods in shown for operation in methods.values() for tag in operation["tags"]}
    assert used == set(TAGS) == {tag["name"] for tag in document["tags"]}
    assert all(tag["description"] for tag in document["tags"])


def test_the_openapi_document_is_valid(document: Json) -> None:
    OpenAPIV31SpecValidator(document).validate()


def test_an_answer_that_its_route_does_not_document_is_found() -> None:
    routes = unconnected_app().state.api_routes
    problem = {"type": "urn:hookstream:problem:hook-not-found", "status": 404}
    assert undocumented_problem(routes, "GET", "/hooks/1", problem) == ""
    assert "does not document" in undocumented_problem(routes, "GET", "/hooks", problem)
    assert "with the status" in undocumented_problem(routes, "GET", "/hooks/1", {**problem, "status": 409})
    assert "no type" in undocumented_problem(routes, "GET", "/hooks/1", {**problem, "type": "urn:x:gone"})


def test_every_url_of_docs_is_served_by_us_under_a_strict_policy() -> None:
    client = TestClient(unconnected_app())
    page = client.get("/docs")
    policy = page.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert not re.search(r"<script>|<script [^>]*>[^<]|<style| style=| on[a-z]+=", page.text)
    script = client.get("/docs/start.js").text
    urls = re.findall(r'(?:src|href)="([^"]+)"', page.text) + re.findall(r'url: "([^"]+)"', script)
    assert len(urls) >= 5
    for url in urls:
        assert urljoin("http://us/docs", url).startswith("http://us/"), url
        assert client.get(url).status_code == 200, url
    style = client.get("/docs/swagger-ui.css").text
    assert all(url.startswith("data:") for url in re.findall(r"url\(['\"]?([^'\")]+)", style))
    assert "@import" not in style


def test_every_answer_that_succeeds_shows_one_that_its_schema_allows(document: Json) -> None:
    shown = 0
    for route, operation in operations(document):
        for status, response in operation["responses"].items():
            content = response.get("content", {}).get("application/json")
            if status[0] == "2" and content and content["schema"]:
                whole = content["schema"] | {"components": document["components"]}
                validator = jsonschema_rs.validator_for(whole, validate_formats=True)
                faults = [error.message for error in validator.iter_errors(content["example"])]
                assert faults == [], f"{route} {status}: {content['example']}"
                shown += 1
    assert shown > 20
