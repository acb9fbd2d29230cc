"""A server that accepts every connection, reads every request and never answers: `python -m benchmarks.hanging`."""

from __future__ import annotations

import asyncio


class Hanging(asyncio.Protocol):
    """One connection, until the other side has had enough."""


async def serve() -> None:
    """Listen until killed, on any free port; it is printed."""
    server = await asyncio.get_running_loop().create_server(Hanging, "127.0.0.1", 0, backlog=4096)
    print(f"hanging on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
