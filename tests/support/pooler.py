"""A pooler before PostgreSQL that gives each transaction the next session, as PgBouncer may in transaction mode.

It does what can be seen of PgBouncer 1.18 with its defaults: it refuses the start-up parameter `options`, and what one
session was told (settings, prepared statements, locks) is unknown to the next. PgBouncer prefers the session that was
used last; this one takes turns, so that whoever relies on a session is found out by the second transaction.
"""

from __future__ import annotations

import os
import queue
import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import psycopg
from sqlalchemy import make_url

if TYPE_CHECKING:
    from types import TracebackType

_NO_ENCRYPTION = {80877103, 80877104}  # SSLRequest, GSSENCRequest
_PROTOCOL_3 = 196608
_SESSIONS = 3  # odd: a connection that is looked at before its transaction would else get the same one again
_TOLD = (
    "server_version", "server_encoding", "client_encoding", "DateStyle", "integer_datetimes",
    "standard_conforming_strings", "TimeZone",
)  # fmt: skip
_READY_IDLE = b"Z\x00\x00\x00\x05I"


class _ClosedError(Exception):
    """The other side hung up."""


class _Wire:
    """A connection that speaks PostgreSQL's protocol."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def message(self) -> bytes:
        """A message: its type, its length and its body."""
        head = self._exactly(5)
        return head + self._exactly(struct.unpack("!i", head[1:])[0] - 4)

    def startup(self) -> tuple[int, dict[str, str]]:
        """What a client begins with: a code, and parameters."""
        length, code = struct.unpack("!ii", self._exactly(8))
        words = self._exactly(length - 8).decode().split("\0")
        return code, dict(zip(words[::2], words[1::2], strict=False))

    def close(self) -> None:
        self._sock.close()

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            got = self._sock.recv(count - len(data))
            if not got:
                raise _ClosedError
            data += got
        return data


class TransactionPooler:
    """Listens on loopback before one server; `url` is that of a database behind it."""

    def __init__(self, server_url: str) -> None:
        url = make_url(server_url)
        self._server = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = url.set(host="127.0.0.1", port=self._listener.getsockname()[1]).render_as_string(hide_password=False)
        self._sessions: queue.Queue[_Wire] = queue.Queue()
        self._greeting = b""
        self._open: list[_Wire] = []
        self._connections: list[psycopg.Connection] = []

    def __enter__(self) -> Self:
        for _ in range(_SESSIONS):
            self._sessions.put(self._session())
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for wire in self._open:
            wire.close()
        for connection in self._connections:
            connection.close()

    def _session(self) -> _Wire:
        """Open a session, whatever the server wants for it; what it says of itself is what clients are told."""
        connection = psycopg.connect(self._server, sslmode="disable", autocommit=True)
        self._connections.append(connection)
        told = [(name, connection.info.parameter_status(name) or "") for name in _TOLD]
        self._greeting = (
            _message(b"R", struct.pack("!i", 0))
            + b"".join(_message(b"S", f"{name}\0{value}\0".encode()) for name, value in told)
            + _message(b"K", struct.pack("!ii", 1, 1))
            + _READY_IDLE
        )
        # From here on only we read and write what the driver has opened.
        return self._kept(socket.socket(fileno=os.dup(connection.fileno())))

    def _kept(self, sock: socket.socket) -> _Wire:
        sock.setblocking(True)
        wire = _Wire(sock)
        self._open.append(wire)
        return wire

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._kept(self._listener.accept()[0])
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: _Wire) -> None:
        with suppress(_ClosedError, OSError):
            code, parameters = client.startup()
            while code in _NO_ENCRYPTION:
                client.send(b"N")
                code, parameters = client.startup()
            if "options" in parameters:
                client.send(_fatal("08P01", "unsupported startup parameter: options"))
            elif code == _PROTOCOL_3:
                client.send(self._greeting)
                self._relay(client)
        client.close()

    def _relay(self, client: _Wire) -> None:
        session: _Wire | None = None
        try:
            while not (message := client.message()).startswith(b"X"):
                session = session or self._sessions.get()
                session.send(message)
                if message[:1] not in (b"Q", b"S"):  # a query, or the end of a batch of messages: then answers come
                    continue
                while True:
                    answer = session.message()
                    client.send(answer)
                    if answer.startswith(b"Z"):
                        break
                if answer == _READY_IDLE:
                    self._sessions.put(session)
                    session = None
        finally:
            if session is not None:  # the client left within a transaction: the server undoes it
                session.close()
                self._sessions.put(self._session())


def _fatal(state: str, text: str) -> bytes:
    return _message(b"E", f"SFATAL\0VFATAL\0C{state}\0M{text}\0\0".encode())


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body
