"""The registry of `hookstream up` over HTTP answers as Confluent's does, also where a request is none."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import httpx
import pytest

from hookstream.processors.cli.trial.registry_app import registry_app
from hookstream.producers.registry import mock_client

SCHEMA = json.dumps({"type": "record", "name": "A", "fields": [{"name": "x", "type": "long"}]})
LATER = json.dumps({"type": "record", "name": "A", "fields": []})


class Registry:
    """A fresh one, asked without a socket."""

    def __init__(self) -> None:
        self._app = registry_app(mock_client(f"mock://test-{uuid.uuid4().hex}"))

    def __call__(self, method: str, path: str, body: object = None, content: bytes | None = None) -> tuple[int, Any]:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://registry") as http:
                return await http.request(method, path, json=body, content=content)

        answer = asyncio.run(ask())
        assert answer.headers["content-type"] == "application/vnd.schemaregistry.v1+json"
        return answer.status_code, answer.json()


@pytest.fixture
def registry() -> Registry:
    return Registry()


def test_a_schema_has_one_id_and_each_version_is_found(registry: Registry) -> None:
    body = {"schema": SCHEMA}
    assert registry("POST", "/subjects/a-value/versions", body) == (200, {"id": 1})
    assert registry("POST", "/subjects/a-value/versions", {**body, "schemaType": "AVRO"}) == (200, {"id": 1})
    assert registry("POST", "/subjects/a-value/versions", {"schema": LATER, "references": []}) == (200, {"id": 2})
    first = {"subject": "a-value", "id": 1, "version": 1, "schema": SCHEMA}
    assert registry("POST", "/subjects/a-value", body) == (200, first)
    assert registry("GET", "/subjects/a-value/versions/1") == (200, first)
    assert registry("GET", "/subjects/a-value/versions/latest")[1]["version"] == 2
    assert registry("GET", "/subjects/a-value/versions") == (200, [1, 2])
    assert registry("GET", "/subjects") == (200, ["a-value"])
    assert registry("GET", "/schemas/ids/1") == (200, {"schema": SCHEMA})


@pytest.mark.parametrize(
    ("method", "path", "body", "answer"),
    [
        ("GET", "/schemas/ids/99", None, (404, 40403)),
        ("GET", "/schemas/ids/1e3", None, (404, 40403)),
        ("GET", f"/schemas/ids/{'9' * 5000}", None, (404, 40403)),
        ("GET", "/subjects/none/versions/latest", None, (404, 40401)),
        ("GET", "/subjects/none/versions", None, (404, 40401)),
        ("POST", "/subjects/none", {"schema": SCHEMA}, (404, 40401)),
        ("POST", "/subjects/a-value", {"schema": LATER}, (404, 40403)),
        ("GET", "/subjects/a-value/versions/7", None, (404, 40402)),
        ("GET", "/subjects/a-value/versions/x", None, (422, 42202)),
        ("POST", "/subjects/a-value/versions", {"schema": "{"}, (422, 42201)),
        ("POST", "/subjects/a-value/versions", {"schema": '"a.B"'}, (422, 42201)),
        ("POST", "/subjects/a-value/versions", {"schema": 7}, (422, 42201)),
        ("POST", "/subjects/a-value/versions", {"schema": SCHEMA, "references": 7}, (422, 42201)),
        ("POST", "/subjects/a-value/versions", {"schema": SCHEMA, "references": [{}]}, (422, 42201)),
        ("POST", "/subjects/a-value/versions", [], (422, 42201)),
        ("POST", "/subjects/a-value/versions", None, (422, 42201)),
    ],
)
def test_what_is_not_there_or_no_schema_has_confluents_code(
    registry: Registry, method: str, path: str, body: object, answer: tuple[int, int]
) -> None:
    registry("POST", "/subjects/a-value/versions", {"schema": SCHEMA})
    status, said = registry(method, path, body)
    assert (status, said["error_code"]) == answer


def test_bytes_that_are_no_json_or_too_many_are_refused(registry: Registry) -> None:
    for content in (b"\xff", b"[" * 200_000):
        assert registry("POST", "/subjects/a/versions", content=content)[0] == 422
    assert registry("POST", "/subjects/a/versions", content=b" " * (5 * 1024 * 1024))[0] == 413


def test_a_schema_that_refers_to_others_and_other_kinds_are_taken(registry: Registry) -> None:
    refers = {"schema": '"a.B"', "references": [{"name": "a.B", "subject": "b-value", "version": 1}]}
    assert registry("POST", "/subjects/c-value/versions", refers)[0] == 200
    assert registry("GET", "/subjects/c-value/versions/latest")[1]["references"] == refers["references"]
    assert registry("POST", "/subjects/d-value/versions", {"schema": "{}", "schemaType": "JSON"})[0] == 200
    assert registry("GET", "/subjects/d-value/versions/1")[1]["schemaType"] == "JSON"


def test_it_says_that_it_refuses_nothing(registry: Registry) -> None:
    assert registry("PUT", "/config/a-value", {"compatibility": "FULL"}) == (200, {"compatibility": "NONE"})
    assert registry("GET", "/config/a-value") == registry("GET", "/config") == (200, {"compatibilityLevel": "NONE"})
    asked = registry("POST", "/compatibility/subjects/a-value/versions", {"schema": SCHEMA})
    assert asked == (200, {"is_compatible": True})
