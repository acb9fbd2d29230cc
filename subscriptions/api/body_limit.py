"""No request holds more than its share of memory: a body above the limit is refused, also one of unknown length."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problems import ProblemError

# No body has a length of more digits; one that claims to is refused before the number is read.
_MAX_DIGITS = 18


def body_too_large(max_bytes: int) -> ProblemError:
    """413: a body of more bytes."""
    detail = f"the body of this request has at most {max_bytes} bytes"
    return ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large", detail)


class BodyLimit:
    """ASGI middleware that answers 413: bodies of some paths, and those `elsewhere`, have so many bytes at most."""

    def __init__(self, app: ASGIApp, *, elsewhere: int, by_path: Mapping[str, int]) -> None:
        self._app = app
        self._elsewhere = elsewhere
        self._by_path = by_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse by the announced length, or as soon as more has come than is allowed."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = self._by_path.get(scope["path"], self._elsewhere)
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isdecimal() and (len(announced) > _MAX_DIGITS or int(announced) > most):
            await body_too_large(most).response()(scope, receive, send)
            return
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > most:
                # The framework lets this through, and the problem handlers shape it.
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, body_too_large(most).detail)
            return message

        await self._app(scope, limited, send)
