"""`/docs`: the OpenAPI document as a page, with no request to another server and no script but the files served here.

The files are those of Swagger UI that the package fastapi-offline carries. Swagger UI sets styles through the DOM,
which the policy allows, and draws its icons from `data:` URLs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Final, NamedTuple

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

SECURITY_HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
)
PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>hookstream: API</title>
<link rel="icon" href="/docs/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="api"></div>
<noscript>This page needs JavaScript. <a href="/openapi.json">openapi.json</a> is what it shows.</noscript>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
# `validatorUrl`: else the document's address would be sent to a server of Swagger's.
_START: Final = """SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
"""
_ICON: Final = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">
<rect width="16" height="16" rx="3" fill="#1f4e79"/><path d="M4 3v10M4 8h8M12 3v10" stroke="#fff" stroke-width="2"/>
</svg>
"""
_STATIC: Final = files("fastapi_offline") / "static"


class _File(NamedTuple):
    media_type: str
    content: str | None = None  # None: of the package


_FILES: Final[Mapping[str, _File]] = MappingProxyType(
    {
        "swagger-ui-bundle.js": _File("text/javascript"),
        "swagger-ui.css": _File("text/css"),
        "start.js": _File("text/javascript", _START),
        "icon.svg": _File("image/svg+xml", _ICON),
    }
)


def docs_page_routes() -> APIRouter:
    """The page, and each of its files."""
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    def show_docs() -> HTMLResponse:
        return HTMLResponse(PAGE, headers=dict(SECURITY_HEADERS))

    for name, file in _FILES.items():
        router.add_api_route(f"/docs/{name}", _serving(name, file), name=f"docs {name}")
    return router


def _serving(name: str, file: _File) -> Callable[[], Response]:
    def show_file() -> Response:
        content = (_STATIC / name).read_bytes() if file.content is None else file.content
        headers = {**SECURITY_HEADERS, "Cache-Control": "public, max-age=3600"}
        return Response(content, media_type=file.media_type, headers=headers)

    return show_file
