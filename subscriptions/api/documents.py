"""`/openapi.json` and `/asyncapi.json`: what the API and the deliveries look like, for programs; `docs_page` shows it.

They need no token: what they tell is what integrators are sent. Each is written once for a set of schemas.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, TypeAlias

import orjson
from fastapi import APIRouter, FastAPI, Response

from hookstream.schemas.event_types import event_types

from . import asyncapi, openapi
from .dependencies import ApiDependencies
from .ids import kinds_of_ids

KnownSchemas: TypeAlias = tuple[tuple[str, str], ...]
"""The schemas of sources by namespace, sorted: what documents depend on beside the catalogue."""


def known_schemas(deps: ApiDependencies) -> KnownSchemas:
    """What is known now."""
    return tuple(sorted(deps.source_schemas().items()))


def document_routes(app: FastAPI, deps: ApiDependencies) -> APIRouter:
    """Both. Handlers run in threads: the first request after a change takes milliseconds for each namespace."""

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

    @router.get("/asyncapi.json", tags=["events"], response_class=Response, responses=_ASYNCAPI)
    def show_asyncapi() -> Response:
        """Describe every event's delivery as an AsyncAPI 3.0 document."""
        return Response(asyncapi_json(known_schemas(deps)), media_type="application/json")

    app.openapi = lambda: orjson.loads(openapi_json(known_schemas(deps)))  # type: ignore[method-assign]
    return router


_ASYNCAPI: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "the document", "content": {"application/json": {"schema": {"type": "object"}}}}
}
