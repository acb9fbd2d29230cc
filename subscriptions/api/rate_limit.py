"""What callers are told about the limit of their token: headers on every answer, and the 429 beyond it.

Source: draft-ietf-httpapi-ratelimit-headers-10, whose `w` and `t` are seconds; RFC 9110 section 10.2.3 for
`Retry-After`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import MutableMapping
from http import HTTPStatus
from typing import Any, Final

from anyio import current_time, sleep
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problems import ProblemError
from .token_rates import Allowance

# Refused requests that wait for their answers, of one caller and in all: each has a connection meanwhile.
_WAITING_OF_ONE: Final = 32
_WAITING: Final = 256
# The name of the policy in both headers.
_POLICY: Final = '"token"'
_TOO_MANY: Final = str(HTTPStatus.TOO_MANY_REQUESTS.value)
_HEADERS: Final[dict[str, dict[str, Any]]] = {
    "RateLimit-Policy": {
        "description": "How many requests (`q`) the token may make within `w` seconds, to this process of the API.",
        "schema": {"type": "string"},
        "example": f"{_POLICY};q=40;w=2",
    },
    "RateLimit": {
        "description": "How many are left (`r`), and in how many seconds (`t`) all are, or the next one if none is.",
        "schema": {"type": "string"},
        "example": f"{_POLICY};r=37;t=1",
    },
}
_RETRY_AFTER: Final[dict[str, Any]] = {
    "description": "After how many seconds the request may be sent again.",
    "schema": {"type": "integer", "minimum": 1},
    "example": 1,
}


def refusal(allowance: Allowance, *, close: bool = False) -> ProblemError:
    """The answer to a request above the limit; with `close`, on a connection that ends with it."""
    rate = allowance.rate
    detail = f"this token may make {rate.quota} requests within {rate.window_s} s, and has made them"
    headers = {"Retry-After": str(allowance.seconds), **({"Connection": "close"} if close else {})}
    return ProblemError(HTTPStatus.TOO_MANY_REQUESTS, "rate-limited", detail, headers=headers)


class Refusals:
    """Answers to requests above the limit, after a pause: who asks again at once does not keep the process busy.

    As many of one caller wait as have their place; of one more the connection is closed. Those that wait are answered
    one after the other: a caller that asks again over many connections would else do so with all of them in the same
    millisecond, and others would wait behind them. In the event loop alone.
    """

    def __init__(self, pause_s: float) -> None:
        """No request waits."""
        self._pause_s = pause_s
        self._apart_s = pause_s / _WAITING_OF_ONE
        self._waiting: Counter[str] = Counter()
        self._last_at_s: dict[str, float] = {}
        """By caller, while any of its requests waits: when the last of its answers is due."""

    async def refuse(self, caller: str, allowance: Allowance) -> ProblemError:
        """The answer, when it is time for it."""
        close = False
        if self._waiting[caller] >= _WAITING_OF_ONE or self._waiting.total() >= _WAITING:
            close = True
        else:
            await self._wait(caller)
        return refusal(allowance, close=close)

    async def _wait(self, caller: str) -> None:
        now_s = current_time()
        at_s = max(now_s + self._pause_s, self._last_at_s.get(caller, now_s) + self._apart_s)
        self._last_at_s[caller] = at_s
        self._waiting[caller] += 1
        try:
            await sleep(at_s - now_s)
        finally:
            self._waiting[caller] -= 1
            if not self._waiting[caller]:
                del self._waiting[caller], self._last_at_s[caller]


class RateLimitHeaders:
    """ASGI middleware: says on the answer what authentication found out about the token's limit."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the headers where a token was counted."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def told(message: Message) -> None:
            allowance = scope.get("state", {}).get("allowance")
            if allowance is not None and message["type"] == "http.response.start":
                _tell(MutableHeaders(raw=message["headers"]), allowance)
            await send(message)

        await self._app(scope, receive, told)


def describe(document: MutableMapping[str, Any]) -> None:
    """Add the headers to the operations of an OpenAPI document that need a token."""
    components = document.setdefault("components", {})
    components["headers"] = {**components.get("headers", {}), **_HEADERS}
    shared = {name: {"$ref": f"#/components/headers/{name}"} for name in _HEADERS}
    for operations in document["paths"].values():
        for operation in operations.values():
            if not operation.get("security"):
                continue
            responses = operation["responses"]
            for response in responses.values():
                response["headers"] = {**response.get("headers", {}), **shared}
            limited = responses[_TOO_MANY]
            limited["headers"] = {**limited["headers"], "Retry-After": _RETRY_AFTER}
            operation["responses"] = dict(sorted(responses.items()))


def _tell(headers: MutableHeaders, allowance: Allowance) -> None:
    rate = allowance.rate
    headers["RateLimit-Policy"] = f"{_POLICY};q={rate.quota};w={rate.window_s}"
    headers["RateLimit"] = f"{_POLICY};r={allowance.left};t={allowance.seconds}"
