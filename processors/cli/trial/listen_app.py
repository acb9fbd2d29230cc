"""The receiver of `hookstream listen`: takes any request, tells what came, and answers as it was told to. ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hookstream.processors.wall_clock import now_ms

from .signature_check import verify

# What a delivery may have at most by default is 256 KiB; another sender's request is cut here.
MAX_BODY_BYTES = 16 * 1024 * 1024
_ACCEPTED = 204
_UNVERIFIED = 401
_TOO_LARGE = 413


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How requests are answered: after `wait_s`, with `fail_with` so many times (None: always), then with 204."""

    fail_with: int | None = None
    failures: int | None = None
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request as it came, and what it is answered with. `fault` says what is wrong with its signature.

    `verified` is None where there is no secret to verify with. `at_ms` is Unix time. Everything but `status` is the
    sender's, and may be anything.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    at_ms: int
    status: int
    verified: bool | None
    fault: str | None = None

    def header(self, name: str) -> str:
        """The first header of that name; empty without one."""
        return next((value for each, value in self.headers if each == name), "")


@dataclass(slots=True)
class ListenApp:
    """The ASGI app. `received` is called for each request, before its answer; one at a time."""

    secrets: Callable[[], list[str]]
    behaviour: Behaviour
    received: Callable[[Received], None]
    failed: int = field(default=0, init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        body = await _body(request)
        at_ms = now_ms()
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw)
        verified, fault = judge(self.secrets(), dict(reversed(headers)), body or b"")
        status = _TOO_LARGE if body is None else _UNVERIFIED if verified is False else self._status()
        self.received(
            Received(
                method=request.method,
                path=scope["path"],
                headers=headers,
                body=body or b"",
                at_ms=at_ms,
                status=status,
                verified=verified,
                fault=fault,
            )
        )
        if self.behaviour.wait_s:
            await asyncio.sleep(self.behaviour.wait_s)
        await Response(status_code=status)(scope, receive, send)

    def _status(self) -> int:
        """What a request with a good signature is answered with."""
        told = self.behaviour
        if told.fail_with is None or (told.failures is not None and self.failed >= told.failures):
            return _ACCEPTED
        self.failed += 1
        return told.fail_with


def judge(secrets: list[str], headers: dict[str, str], body: bytes) -> tuple[bool | None, str | None]:
    """Whether one of the secrets signed the request, and what is wrong if none did; None without a secret.

    Nothing that a request holds makes it raise.
    """
    if not secrets:
        return None, None
    fault = None
    for secret in secrets:
        try:
            verify(secret, headers, body)
        except KeyError as exc:
            fault = f"there is no header {exc.args[0]}"
        except ValueError as exc:
            fault = str(exc)
        else:
            return True, None
    return False, fault


async def _body(request: Request) -> bytes | None:
    """The whole of it; None: it is larger than what is taken."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)
