"""Targets that a test scripts: every request is shown to one function, which says what is answered, and when."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import httptools

from tests.support.loop_thread import LoopThread, stop_listening

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

_REASONS = {200: "OK", 204: "No Content", 302: "Found", 410: "Gone", 422: "Unprocessable", 429: "Slow", 503: "Away"}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; `status` None hangs until `Targets.let_go`, or until the client gives up. `after_s` delays it."""

    status: int | None = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    after_s: float = 0.0


@dataclass(slots=True)
class Seen:
    """One request. `status` is what it was answered, None while it was not; times are monotonic seconds."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float
    status: int | None = None
    answered_at: float = 0.0

    @property
    def id(self) -> str:
        """The delivery id."""
        return self.headers["webhook-id"]

    @property
    def attempt(self) -> int:
        """The attempt's number, as the worker counts."""
        return int(self.headers["hookstream-attempt"])

    @property
    def concept(self) -> int:
        """The resource, by its number."""
        return int(json.loads(self.body)["concept"]["id"])


HANG = Reply(None)
OK = Reply()


class Targets:
    """Listens on a loopback port while it is entered; `answer` is called in its thread and must not block."""

    def __init__(self, *, answer: Callable[[Seen], Reply] = lambda _seen: OK) -> None:
        """Answer 204 unless told otherwise."""
        self.answer = answer
        self.requests: list[Seen] = []
        self.accepted: list[Seen] = []
        """What was answered with 2xx, in the order of the answers."""
        self._held: list[tuple[_Connection, Seen]] = []
        self._connections: set[_Connection] = set()
        self._thread: LoopThread
        self._server: asyncio.Server
        self.is_over = False

    @property
    def port(self) -> int:
        """Where they listen."""
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def url(self, path: str) -> str:
        """A target."""
        return f"http://127.0.0.1:{self.port}/{path}"

    def to(self, path: str) -> list[Seen]:
        """Every request to a target so far."""
        return [seen for seen in list(self.requests) if seen.path == f"/{path}"]

    def accepted_by(self, path: str) -> list[Seen]:
        """Every request that a target answered with 2xx."""
        return [seen for seen in list(self.accepted) if seen.path == f"/{path}"]

    @property
    def held(self) -> int:
        """How many requests hang."""
        return len(self._held)

    def arrived(self, seen: Seen) -> None:
        """Keep a request that has come; called in the targets' thread."""
        self.requests.append(seen)

    def ended(self, seen: Seen) -> None:
        """Keep what was answered with 2xx; `status` None: its connection ended before."""
        if seen.status is not None and 200 <= seen.status < 300:
            self.accepted.append(seen)

    def let_go(self, reply: Reply = OK) -> None:
        """Answer what hangs."""

        def answer_all() -> None:
            held, self._held = self._held, []
            for connection, seen in held:
                self._send(connection, seen, reply)

        self._thread.loop.call_soon_threadsafe(answer_all)

    def __enter__(self) -> Self:
        self._thread = LoopThread("targets")
        opening = self._thread.loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=512)
        self._server = self._thread.call(opening)
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        async def end() -> None:
            self.is_over = True
            await stop_listening(self._server)
            for connection in list(self._connections):
                connection.abort()

        self._thread.call(end())
        self._thread.close()

    def _take(self, connection: _Connection, seen: Seen) -> None:
        connection.under_way = seen
        self.arrived(seen)
        reply = self.answer(seen)
        if reply.status is None:
            self._held.append((connection, seen))
        elif reply.after_s:
            self._thread.loop.call_later(reply.after_s, self._send, connection, seen, reply)
        else:
            self._send(connection, seen, reply)

    def _send(self, connection: _Connection, seen: Seen, reply: Reply) -> None:
        if connection.closed:
            return
        status = reply.status or 204
        seen.status, seen.answered_at = status, time.monotonic()
        connection.under_way = None
        self.ended(seen)
        connection.write(status, reply.headers)


class _Connection(asyncio.Protocol):
    """One connection, one request after the other."""

    def __init__(self, targets: Targets) -> None:
        self.closed = False
        self.under_way: Seen | None = None
        self._targets = targets
        self._parser = httptools.HttpRequestParser(self)
        self._path, self._headers, self._body = "", dict[str, str](), b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._targets._connections.add(self)
        if self._targets.is_over:  # it was accepted just before
            self.abort()

    def connection_lost(self, _exc: Exception | None) -> None:
        self.closed = True
        self._targets._connections.discard(self)
        if self.under_way is not None:
            self._targets.ended(self.under_way)
            self.under_way = None

    def abort(self) -> None:
        """Close it at once."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path, self._headers, self._body = url.decode(), {}, b""

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._targets._take(self, Seen(self._path, self._headers, self._body, time.monotonic()))

    def write(self, status: int, headers: Mapping[str, str]) -> None:
        """Send an answer without a body."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        length = "" if status == 204 else "content-length: 0\r\n"
        head = f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}\r\n{length}{lines}\r\n"
        self._transport.write(head.encode())
