"""Calls of the API, in this process: through the app itself, so with its checks, limits and errors."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote, urlencode

import httpx
import orjson
from pydantic import BaseModel

from hookstream.subscriptions.api.authentication import SIGNED_IN
from hookstream.subscriptions.api.problems import Problem
from hookstream.subscriptions.tokens import Principal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

A = TypeVar("A", bound=BaseModel)
_ORIGIN: Final = "http://portal.invalid"
_FIRST_ERROR: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of the API: what is asked, and what `curl` would ask."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: object = None
    idempotency_key: str = ""
    if_match: str = ""

    @classmethod
    def get(cls, path: str, **query: object) -> Call:
        """Ask; parameters that are None or empty are left out."""
        given = {name: str(value) for name, value in query.items() if value not in (None, "")}
        return cls(method="GET", path=path, query=given)

    @classmethod
    def post(cls, path: str, body: object = None, *, idempotency_key: str = "", if_match: str = "") -> Call:
        """Let something be done; with a key, once, however often it is asked."""
        return cls(method="POST", path=path, body=body, idempotency_key=idempotency_key, if_match=if_match)

    @classmethod
    def patch(cls, path: str, body: object, *, if_match: str) -> Call:
        """Change something, if it is still in the state that has this tag."""
        return cls(method="PATCH", path=path, body=body, if_match=if_match)

    @classmethod
    def delete(cls, path: str, *, if_match: str) -> Call:
        """Delete something, if it is still in the state that has this tag."""
        return cls(method="DELETE", path=path, if_match=if_match)

    @property
    def target(self) -> str:
        """Path and query."""
        return quote(self.path) + (f"?{urlencode(self.query)}" if self.query else "")

    def curl(self, origin: str) -> str:
        """The command that does the same; the token stays in the environment."""
        parts = ["curl"]
        if self.method not in ("GET", "POST") or (self.method == "POST" and self.body is None):
            parts.append(f"-X {self.method}")
        parts.append('-H "Authorization: Bearer $HOOKSTREAM_API_TOKEN"')
        if self.if_match:
            parts.append("-H " + shlex.quote(f"If-Match: {self.if_match}"))
        if self.body is not None:
            parts.append("--json " + shlex.quote(orjson.dumps(self.body).decode()))
        parts.append(shlex.quote(origin + self.target))
        return " ".join(parts)


class ApiProblemError(Exception):
    """The API answered a call with a problem."""

    def __init__(self, status: int, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.status = status
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Api:
    """The API, as one who is signed in."""

    app: ASGIApp
    principal: Principal

    async def ask(self, answer: type[A], call: Call) -> A:
        """What the API answers.

        Raises:
            ApiProblemError: it answers with a problem.
        """
        return (await self.ask_tagged(answer, call))[0]

    async def ask_tagged(self, answer: type[A], call: Call) -> tuple[A, str]:
        """What the API answers, and the tag of the state that it tells; empty where it gives none.

        Raises:
            ApiProblemError: as `ask`.
        """
        sent = await self._send(call)
        return answer.model_validate_json(sent.content), sent.headers.get("etag", "")

    async def do(self, call: Call) -> None:
        """Let something be done whose answer does not matter.

        Raises:
            ApiProblemError: as `ask`.
        """
        await self._send(call)

    async def _send(self, call: Call) -> httpx.Response:
        content = None if call.body is None else orjson.dumps(call.body)
        headers = {} if content is None else {b"content-type": b"application/json"}
        if call.idempotency_key:
            headers[b"idempotency-key"] = call.idempotency_key.encode()  # whatever a form held: the API judges it
        if call.if_match:
            headers[b"if-match"] = call.if_match.encode()
        request = httpx.Request(call.method, _ORIGIN + call.target, content=content, headers=headers)
        answer = await httpx.ASGITransport(self._signed_in).handle_async_request(request)
        body = await answer.aread()
        if answer.status_code >= _FIRST_ERROR:
            raise ApiProblemError(answer.status_code, Problem.model_validate_json(body))
        return answer

    async def _signed_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app({**scope, SIGNED_IN: self.principal}, receive, send)
