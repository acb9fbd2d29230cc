"""The opening of a tunnel through an egress proxy: one CONNECT, one small answer, then the bytes are the target's.

Source: RFC 9110 section 9.3.6 (CONNECT).
"""

from __future__ import annotations

import asyncio
import re

from .errors import AttemptError, BlockedAddressError, ConnectError

MAX_ANSWER_BYTES = 16_384
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: [^\r\n]*)?\r\n")
_FORBIDDEN = 403
_INTERIM = frozenset(range(100, 200)) - {101}  # a proxy that switches protocols opens no tunnel
_SUCCESS = range(200, 300)


class ProxyTunnel(asyncio.Protocol):
    """Asks for a tunnel; `opened` gives the transport, paused, once the proxy agreed, or the reason why not.

    403 is the proxy's way to say that it vetted the address and refuses it: `BlockedAddressError`. Any other answer
    (407, 502, 504, or no HTTP at all) is `ConnectError`.
    """

    def __init__(self, authority: str, authorization: str) -> None:
        """Prepare the request for `host:port`; `authorization` is the header's value, or empty."""
        self.opened: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()
        credentials = f"proxy-authorization: {authorization}\r\n" if authorization else ""
        self._request = f"CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n{credentials}\r\n".encode("ascii")
        self._answer = b""
        self._received = 0
        self._transport: asyncio.Transport | None = None

    def abort(self) -> None:
        """Close the connection to the proxy at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        self._transport = transport  # type: ignore[assignment]  # a stream's transport is always a Transport
        self._transport.write(self._request)  # type: ignore[union-attr]

    def data_received(self, data: bytes) -> None:
        """Collect the head of the final answer; nothing may follow it, for we have not spoken to the target yet.

        Any number of interim answers may come before it (RFC 9110 section 15.2): they count by their bytes alone.
        """
        if self.opened.done():
            self.abort()
            return
        self._answer += data
        self._received += len(data)
        while True:
            head, end, rest = self._answer.partition(b"\r\n\r\n")
            status = _STATUS_LINE.match(head + b"\r\n")
            if not end or status is None or int(status[1]) not in _INTERIM:
                break
            self._answer = rest
        if not end and self._received <= MAX_ANSWER_BYTES:
            return
        if status is None or not end or self._received > MAX_ANSWER_BYTES:
            self._refuse(ConnectError("the egress proxy's answer is not HTTP"))
        elif int(status[1]) == _FORBIDDEN:
            self._refuse(BlockedAddressError("the egress proxy refuses the target"))
        elif int(status[1]) not in _SUCCESS:
            self._refuse(ConnectError(f"the egress proxy answers {int(status[1])}"))
        elif rest:
            self._refuse(ConnectError("the egress proxy speaks for the target"))
        elif self._transport is not None:
            self._transport.pause_reading()  # until the next protocol listens
            self.opened.set_result(self._transport)

    def connection_lost(self, error: Exception | None) -> None:
        """End the wait if it has not ended."""
        del error  # a reset and an orderly end both mean: no tunnel
        self._refuse(ConnectError("the egress proxy closed the connection"))

    def _refuse(self, error: AttemptError) -> None:
        if not self.opened.done():
            self.opened.set_exception(error)
        self.abort()
