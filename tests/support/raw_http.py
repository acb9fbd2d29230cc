"""Requests byte by byte, as no client library sends them: heads that never end, bodies that do not come."""

from __future__ import annotations

import resource
import socket
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from tests.support.wait import WITHIN_S

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIMEOUT_S = WITHIN_S


def connect(port: int) -> socket.socket:
    """A connection to a port of this machine."""
    return socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S)


def ask(port: int, data: bytes) -> tuple[int, bytes]:
    """Send bytes on a connection of their own, and give the status and the body of what is answered until it closes."""
    with connect(port) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # it may answer, and close, before it has everything
            connection.sendall(data)
        return answer(connection)


def answer(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of one answer with a length; (0, b"") where the connection ends without one."""
    received = b""
    with suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            received += chunk
            head, ended, body = received.partition(b"\r\n\r\n")
            if ended and len(body) >= _length(head):
                return int(head.split(b" ", 2)[1]), body
    return 0, b""


def is_open(connection: socket.socket) -> bool:
    """Whether the other side has not closed."""
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    finally:
        connection.settimeout(_TIMEOUT_S)


def half_open(port: int, count: int, data: bytes) -> Iterator[list[socket.socket]]:
    """Open connections that all have sent the same bytes, and close them at the end."""
    _need_files(count + 200)
    with ExitStack() as stack:
        opened = []
        for _ in range(count):
            connection = stack.enter_context(connect(port))
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(data)
            opened.append(connection)
        yield opened


def _need_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0
