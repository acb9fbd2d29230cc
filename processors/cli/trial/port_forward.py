"""A TCP port of one's choice for a server that chooses its own: the embedded Kafka takes any free port.

Only the first connection of a Kafka client comes this way; the brokers' list that it is answered names the server's own
port, and a client of this machine reaches that as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

from hookstream.processors.lifecycle import StopSignal

_CHUNK_BYTES = 64 * 1024
_LOOK_S = 0.2


def forward(listener: socket.socket, host: str, port: int, stop: StopSignal) -> None:
    """Connect whoever comes to `listener` with `host:port`, until asked to stop."""
    asyncio.run(_serve(listener, host, port, stop))


async def _serve(listener: socket.socket, host: str, port: int, stop: StopSignal) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection(host, port)
        except OSError:  # it has ended, and so will this
            writer.close()
            return
        await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))

    server = await asyncio.start_server(connected, sock=listener)
    async with server:
        while not await asyncio.to_thread(stop.wait, _LOOK_S):
            pass
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # either side may go when it likes
        while chunk := await reader.read(_CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
    writer.close()
