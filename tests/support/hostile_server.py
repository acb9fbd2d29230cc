"""A TCP server that does to a client whatever a test says: each connection is handed to one coroutine.

A behaviour reads requests with `Conversation.request`, sends any bytes at any pace, resets; when it returns, the
connection is closed. What the server saw is kept: connections accepted, requests read, bytes it could send.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from tests.support.loop_thread import stop_listening

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came: the head up to its empty line, and the body."""

    head: bytes
    body: bytes

    def header(self, name: str) -> str | None:
        """Return a header's value, its name in lower case as the client spells it."""
        for line in self.head.decode("latin-1").split("\r\n")[1:]:
            key, _, value = line.partition(": ")
            if key == name:
                return value
        return None


class HungUpError(Exception):
    """The client closed the connection."""


@dataclass
class Conversation:
    """One accepted connection, `number` counting from 1."""

    server: HostileServer
    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def request(self) -> Request:
        """Read one whole request.

        Raises:
            HungUpError: there is none.
        """
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
            seen = Request(head.removesuffix(b"\r\n\r\n"), b"")
            body = await self.reader.readexactly(int(seen.header("content-length") or 0))
        except (asyncio.IncompleteReadError, OSError) as error:
            raise HungUpError from error
        seen = Request(seen.head, body)
        self.server.requests.append(seen)
        return seen

    async def send(self, data: bytes) -> None:
        """Send bytes, waiting until the client's side takes them.

        Raises:
            HungUpError: the client has closed the connection.
        """
        self.writer.write(data)
        try:
            await self.writer.drain()
        except OSError as error:
            raise HungUpError from error
        if self.writer.is_closing():
            raise HungUpError
        self.server.sent_bytes += len(data)

    async def closed(self) -> bytes:
        """Wait until the client closes the connection; return what it sent until then."""
        with suppress(OSError):
            return await self.reader.read()
        return b""

    async def end_without_close_notify(self) -> None:
        """End the connection on the socket itself, below TLS: the session never says that it ends."""
        with socket.fromfd(self.writer.get_extra_info("socket").fileno(), socket.AF_INET, socket.SOCK_STREAM) as same:
            same.shutdown(socket.SHUT_WR)
        await self.closed()
        self.writer.transport.abort()

    def reset(self) -> None:
        """Drop the connection with a TCP reset."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Behaviour = Callable[[Conversation], Awaitable[None]]


@dataclass
class HostileServer:
    """What the server saw, and where it listens."""

    port: int = 0
    scheme: str = "http"
    accepted: int = 0
    open: int = 0
    sent_bytes: int = 0
    requests: list[Request] = field(default_factory=list)

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        """Return the URL of a target on this server."""
        return f"{self.scheme}://{host}:{self.port}{path}"


@asynccontextmanager
async def hostile_server(
    behave: Behaviour, *, context: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[HostileServer]:
    """Listen on a free port for the length of the block; with a context, over TLS."""
    seen = HostileServer(scheme="https" if context else "http")
    running: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.accepted += 1
        seen.open += 1
        try:
            with suppress(HungUpError, OSError):
                await behave(Conversation(seen, seen.accepted, reader, writer))
        finally:
            seen.open -= 1

    def close(writer: asyncio.StreamWriter) -> None:
        if context is not None and writer.is_closing():
            writer.transport.abort()
        else:
            writer.close()  # in good order: a test that wants a reset says so

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(converse(reader, writer))
        running.add(task)
        task.add_done_callback(running.discard)
        task.add_done_callback(lambda _: close(writer))  # not in the task: one cancelled before its start does nothing
        writers.append(writer)

    server = await asyncio.start_server(accept, host, 0, ssl=context)
    seen.port = server.sockets[0].getsockname()[1]
    try:
        yield seen
    finally:
        await stop_listening(server)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()  # a client that reads nothing would keep it open


def answering(*parts: bytes, keep_open: bool = True) -> Behaviour:
    """Answer every request with the parts, one send each; then wait for the next request, or close."""

    async def behave(conversation: Conversation) -> None:
        while True:
            await conversation.request()
            for part in parts:
                await conversation.send(part)
            if not keep_open:
                return

    return behave


def endless(head: bytes, block: bytes) -> Behaviour:
    """Answer with a head, and then a block again and again until the client hangs up."""

    async def behave(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(head)
        while True:
            await conversation.send(block)

    return behave


async def silent(conversation: Conversation) -> None:
    """Read the request and say nothing until the client hangs up."""
    await conversation.request()
    await conversation.closed()
