"""What every answer of the portal tells the browser: what it may load, who may frame it, and to keep nothing."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_STATIC_CACHE = "public, max-age=31536000, immutable"  # their URLs change with their content


class SecurityHeaders:
    """ASGI middleware. `embed` are the origins whose pages may frame the portal."""

    def __init__(self, app: ASGIApp, *, embed: Sequence[str], static: str) -> None:
        self._app = app
        self._static = static
        ancestors = " ".join(("'self'", *embed)) if embed else "'none'"
        policy = (
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self';"
            f" form-action 'self'; base-uri 'none'; frame-ancestors {ancestors}"
        )
        self._headers = {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            # To our own pages with the path: without it browsers say of our own forms that they come from nowhere.
            "Referrer-Policy": "same-origin",
            "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        if not embed:
            self._headers["X-Frame-Options"] = "DENY"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with them."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_static = scope["path"].removeprefix(scope.get("root_path", "")).startswith(self._static)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                headers["Cache-Control"] = _STATIC_CACHE if is_static else "no-store"
            await send(message)

        await self._app(scope, receive, with_headers)
