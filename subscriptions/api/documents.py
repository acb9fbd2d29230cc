"""`/openapi.json`, `/asyncapi.json` and `/docs`: what the API and the deliveries look like, for people and programs.

They need no token: what they tell is what integrators are sent. Each is written once for a set of schemas.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, TypeAlias

import orjson
from fastapi import APIRouter, FastAPI, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

from hookstream.schemas.event_types import event_types

from . import asyncapi, openapi
from .dependencies import ApiDependencies
from .ids import kinds_of_ids

KnownSchemas: TypeAlias = tuple[tuple[str, str], ...]
"""The schemas of sources by namespace, sorted: what documents depend on beside the catalogue."""


def known_schemas(deps: ApiDependencies) -> KnownSchemas:
    """What is known now."""
    return tuple(sorted(deps.source_schemas().items()))


def install_documents(app: FastAPI, deps: ApiDependencies) -> None:
    """Serve them. Handlers run in threads: the first request after a change takes milliseconds for each namespace."""

    @lru_cache(maxsize=1)
    def openapi_json(known: KnownSchemas) -> bytes:
        events = event_types(deps.catalogue, dict(known), shared=True)
        return orjson.dumps(openapi.document(app, events, kinds_of_ids(deps)))

    @lru_cache(maxsize=1)
    def asyncapi_json(known: KnownSchemas) -> bytes:
        events = event_types(deps.catalogue, dict(known), shared=True)
        return orjson.dumps(asyncapi.document(events, version=app.version))

    router = APIRouter()

    @router.get("/openapi.json", include_in_schema=False)
    def show_openapi() -> Response:
        return Response(openapi_json(known_schemas(deps)), media_type="application/json")

    @router.get("/docs", include_in_schema=False)
    def show_docs() -> HTMLResponse:
        return get_swagger_ui_html(openapi_url="/openapi.json", title=app.title)

    @router.get("/asyncapi.json", tags=["events"], response_class=Response, responses=_ASYNCAPI)
    def show_asyncapi() -> Response:
        """Describe every event's delivery as an AsyncAPI 3.0 document."""
        return Response(asyncapi_json(known_schemas(deps)), media_type="application/json")

    app.include_router(router)
    app.openapi = lambda: orjson.loads(openapi_json(known_schemas(deps)))  # type: ignore[method-assign]


_ASYNCAPI: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "the document", "content": {"application/json": {"schema": {"type": "object"}}}}
}
