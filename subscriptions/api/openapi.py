"""How the OpenAPI document describes tokens and problems."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Security
from fastapi.openapi.utils import get_openapi
from fastapi.security import HTTPBearer

from .problems import MEDIA_TYPE, Problem

# Documents the scheme; tokens are checked by the route's class, before the body is read.
BEARER: Final[dict[str, Any]] = {"dependencies": [Security(HTTPBearer(auto_error=False, scheme_name="token"))]}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answers of a route that are problems."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def install(app: FastAPI) -> None:
    """Serve a document that holds the schema which `problems` refers to."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas = made.setdefault("components", {}).setdefault("schemas", {})
            schemas |= schema.pop("$defs", {})
            schemas["Problem"] = schema
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # the framework's documented way
