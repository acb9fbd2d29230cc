"""A TCP proxy that breaks the network: cut it, heal it, slow it, or swallow every byte."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from contextlib import suppress
from typing import Self

from tests.support.loop_thread import LoopThread, stop_listening

_CHUNK_BYTES = 65536


class TcpProxy:
    """Forwards connections on its own loopback port to one address; a thread of its own runs it.

    Kafka clients connect to what the broker *advertises*: give the broker an advertised listener with this `port`.
    """

    def __init__(self, upstream_port: int, *, upstream_host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen at once; `port` 0 takes a free one."""
        self._upstream = (upstream_host, upstream_port)
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._latency_s = 0.0
        self._is_cut = False
        self._open = asyncio.Event()  # clear while we are a black hole
        self._open.set()
        self._links: set[asyncio.Task[None]] = set()
        self._thread = LoopThread("tcp-proxy")
        self._server: asyncio.Server = self._thread.call(asyncio.start_server(self._accept, sock=self._listener))

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Reset every connection, and every new one as soon as it is made, until `heal`."""
        self._thread.call(self._set_cut())

    def blackhole(self) -> None:
        """Keep connections open, accept new ones, and pass on nothing in either direction, until `heal`."""
        self._thread.call(self._set_open(is_open=False))

    def slow(self, latency_s: float) -> None:
        """Pass on every chunk this much later, in both directions, until `heal`."""
        self._latency_s = latency_s

    def heal(self) -> None:
        """Be a network again: what a black hole held back goes on, in order."""
        self._latency_s = 0.0
        self._is_cut = False
        self._thread.call(self._set_open(is_open=True))

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._links)

    def close(self) -> None:
        """End every connection and stop listening."""
        if self._thread.loop.is_closed():
            return
        self._thread.call(self._shut_down())
        self._thread.close()

    def __enter__(self) -> Self:
        """Nothing to do: it runs already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    async def _set_cut(self) -> None:
        self._is_cut = True
        await self._end_links()

    async def _set_open(self, *, is_open: bool) -> None:
        (self._open.set if is_open else self._open.clear)()

    async def _shut_down(self) -> None:
        await stop_listening(self._server)
        await self._end_links()
        await self._server.wait_closed()

    async def _end_links(self) -> None:
        links = list(self._links)
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.get_running_loop().create_task(self._link(reader, writer))
        self._links.add(link)

        def ended(link: asyncio.Task[None]) -> None:
            self._links.discard(link)
            if link.cancelled() or isinstance(link.exception(), OSError):  # cut, or one side broke: so does the other
                _reset(writer)

        link.add_done_callback(ended)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            raise ConnectionResetError
        await self._open.wait()
        up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        ways = [
            asyncio.ensure_future(self._pump(reader, up_writer)),
            asyncio.ensure_future(self._pump(up_reader, writer)),
        ]
        try:
            await asyncio.gather(*ways)
        except (asyncio.CancelledError, OSError):
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            _reset(up_writer)
            raise
        for done in (writer, up_writer):
            done.close()
            await done.wait_closed()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while chunk := await source.read(_CHUNK_BYTES):
            arrived = time.monotonic()
            await self._open.wait()
            if self._latency_s:
                await asyncio.sleep(arrived + self._latency_s - time.monotonic())
            sink.write(chunk)
            await sink.drain()
        sink.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End with RST and drop what is unsent, as a network that breaks does."""
    peer: socket.socket | None = writer.get_extra_info("socket")
    if peer is not None:
        with suppress(OSError):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
