"""One HTTP/1.1 connection: h11 bounds the bytes of a head, and a table of all connections bounds their number and time.

What is wrong with a request is answered as a problem document and not logged: any client could fill the log.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from hookstream.subscriptions.problem_types import LONG_HEAD, UNREADABLE_HEAD, ProblemKind, type_uri

from .connections import ConnectionTable, Phase, Room

HEALTH_PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_RETRY_AFTER_S = 1
_HEADER_FRAMING = len(": \r\n")

# Errors of the app itself are logged; uvicorn's warnings are about what clients send that we do not know.
_LOG = logging.getLogger("uvicorn.error.connection")
_LOG.setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What all connections of a server share. `monotonic_s` is the clock of the table."""

    table: ConnectionTable[GuardedConnection]
    monotonic_s: Callable[[], float]
    health_paths: Collection[str] = HEALTH_PATHS

    def close_overdue(self) -> int:
        """Close the connections whose clients were waited for long enough; give their number."""
        for connection in self.table.waiting(Phase.READER):
            connection.note()  # the transport does not say when a buffer that was never full is empty
        late = self.table.overdue(self.monotonic_s())
        for connection in late:
            connection.transport.abort()
        return len(late)


class GuardedConnection(H11Protocol):
    """A connection that says in the table of its server what it waits for."""

    def __init__(self, guard: Guard, **of_the_server: Any) -> None:  # noqa: ANN401  # what uvicorn makes it with
        super().__init__(**of_the_server)
        self.logger = _LOG
        self._guard = guard

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Enter the table, and close the connection that gives way for it, or this one."""
        super().connection_made(transport)
        room, victim = self._guard.table.arrive(self, self._guard.monotonic_s())
        if victim is not None:
            victim.transport.abort()
        if room is Room.NONE:
            transport.abort()
        elif room is Room.RESERVE:
            self.app = _only_health(self.app, self._guard.health_paths)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the table."""
        self._guard.table.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        super().data_received(data)
        self.note()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request, or for what is left of this one."""
        self._guard.table.begin_again(self, self._guard.monotonic_s())
        super().on_response_complete()
        self.note()

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self.note()

    def resume_writing(self) -> None:
        """The client reads."""
        super().resume_writing()
        self.note()

    def note(self) -> None:
        """Write into the table what is waited for now."""
        self._guard.table.enter(self, self._phase(), self._guard.monotonic_s())

    def _phase(self) -> Phase:
        answered = self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr]  # none at first
        unread = self.transport.get_write_buffer_size() > 0 if answered else self.flow.write_paused
        body_to_come = self.conn.their_state is h11.SEND_BODY
        if unread:
            return Phase.READER
        if answered:
            return Phase.REST if body_to_come else Phase.HEAD
        return Phase.BODY if body_to_come else Phase.HANDLER

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's sentence is for its log
        """Answer what is no HTTP, or has too long a head, and close."""
        too_long = len(self.conn.trailing_data[0]) > self._guard.table.limits.head_bytes
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if too_long else HTTPStatus.BAD_REQUEST
        detail = LONG_HEAD.format(self._guard.table.limits.head_bytes) if too_long else UNREADABLE_HEAD
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            headers, body = problem(status, "bad-head", detail)
            headers.append((b"connection", b"close"))
            self.transport.write(self.conn.send(h11.Response(status_code=status, headers=headers, reason=b"")))
            self.transport.write(self.conn.send(h11.Data(data=body)))
            self.transport.write(self.conn.send(h11.EndOfMessage()))
        if self.cycle is not None:
            # The request whose body this was may be answered in this very turn of the loop, before the loss is told.
            self.cycle.disconnected = True
        self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """An upgrade that is not offered is answered as the request that it is."""


def problem(status: HTTPStatus, kind: ProblemKind, detail: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body of a problem document, as the API's own are."""
    document = {
        "type": type_uri(kind),
        "title": kind.replace("-", " "),
        "status": status.value,
        "detail": detail,
    }
    body = json.dumps(document).encode()
    headers = [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(body))]
    return headers, body


def bounded_heads(app: Any, head_bytes: int) -> Any:  # noqa: ANN401  # ASGI
    """The app for heads of so many bytes: h11 counts only while a head is incomplete, and one may come at once."""

    async def bounded(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401  # ASGI
        size = len(scope["raw_path"]) + len(scope["query_string"])
        size += sum(len(name) + len(value) + _HEADER_FRAMING for name, value in scope["headers"])
        if size > head_bytes:
            detail = LONG_HEAD.format(head_bytes)
            await _refuse(send, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "bad-head", detail)
        else:
            await app(scope, receive, send)

    return bounded


def _only_health(app: Any, paths: Collection[str]) -> Any:  # noqa: ANN401  # ASGI
    """The app for a connection in the reserve: other questions are answered by 503, and are asked again elsewhere."""

    async def only_health(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401  # ASGI
        if scope["path"] in paths:
            await app(scope, receive, send)
        else:
            detail = "the server has no room for more requests now"
            retry = (b"retry-after", b"%d" % _RETRY_AFTER_S)
            await _refuse(send, HTTPStatus.SERVICE_UNAVAILABLE, "too-many-connections", detail, retry)

    return only_health


async def _refuse(
    send: Any,  # noqa: ANN401  # ASGI
    status: HTTPStatus,
    kind: ProblemKind,
    detail: str,
    *more: tuple[bytes, bytes],
) -> None:
    """Answer with a problem, and close the connection."""
    headers, body = problem(status, kind, detail)
    headers += [*more, (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status.value, "headers": headers})
    await send({"type": "http.response.body", "body": body})
