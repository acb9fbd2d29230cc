"""The OpenAPI document: the routes with their tokens and problems, and what is sent to integrators as webhooks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Security
from fastapi.openapi.utils import get_openapi
from fastapi.security import HTTPBearer

from hookstream.schemas.event_types import EventType
from hookstream.schemas.ids import IdKind

from .bodies import ID_MARK, ID_SCHEMAS, MarkedId
from .problems import MEDIA_TYPE, Problem
from .rate_limit import describe
from .webhooks import add_webhooks

# Documents the scheme; tokens are checked by the route's class, before the body is read.
BEARER: Final[dict[str, Any]] = {"dependencies": [Security(HTTPBearer(auto_error=False, scheme_name="token"))]}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answers of a route that are problems."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def document(
    app: FastAPI, event_types: Iterable[EventType], ids: Mapping[MarkedId, Collection[IdKind]]
) -> dict[str, Any]:
    """A document that holds the schema which `problems` refers to; those of `event_types` are shared.

    `ids` says of which kinds the marked ids are in this deployment.
    """
    made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    schemas |= schema.pop("$defs", {})
    schemas["Problem"] = schema
    _add_answers_of_the_server(made)
    describe(made, problems(HTTPStatus.TOO_MANY_REQUESTS)[HTTPStatus.TOO_MANY_REQUESTS])
    _say_kinds(made, ids)
    add_webhooks(made, event_types)
    return made


def _say_kinds(made: dict[str, Any], ids: Mapping[MarkedId, Collection[IdKind]]) -> None:
    """Put the schemas of a deployment's ids where they are marked."""
    waiting: list[Any] = [made]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict) and ID_MARK in node:
            kinds = ids[MarkedId(node.pop(ID_MARK))]
            found = [ID_SCHEMAS[kind] for kind in IdKind if kind in kinds]
            del node["anyOf"]
            node |= found[0] if len(found) == 1 else {"anyOf": found}
        elif isinstance(node, dict | list):
            waiting += node.values() if isinstance(node, dict) else node


def _add_answers_of_the_server(made: dict[str, Any]) -> None:
    """What is answered before a request reaches its route: to a head that cannot be read, or is too long."""
    answers = problems(HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
    for operations in made["paths"].values():
        for operation in operations.values():
            for status, answer in answers.items():
                operation["responses"].setdefault(str(int(status)), answer)
