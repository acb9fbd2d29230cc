"""A Kafka broker that answers what cluster it is of, first with itself in it and then with no broker at all.

A broker does so that comes back after its session has ended. Only what an admin client needs is spoken: ApiVersions and
Metadata of version 4, https://kafka.apache.org/protocol.
"""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

_METADATA, _API_VERSIONS = 3, 18
_UNSUPPORTED_VERSION = 35
_HOST, _CLUSTER = b"127.0.0.1", b"abc"


class BrokerlessKafka(socketserver.ThreadingTCPServer):
    """Listens on loopback while it is entered; `alone` says that no broker is named from now on."""

    daemon_threads = True

    def __init__(self) -> None:
        """Open the port."""
        super().__init__(("127.0.0.1", 0), _Connection)
        self.port: int = self.server_address[1]
        self.alone = False
        self.may_create = False  # whether a topic that was asked for might have been made
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        """Answer."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """Answer no more."""
        self.shutdown()
        self.server_close()


class _Connection(socketserver.BaseRequestHandler):
    server: BrokerlessKafka
    request: socket.socket

    def handle(self) -> None:
        while head := self.request.recv(4, socket.MSG_WAITALL):
            (length,) = struct.unpack("!i", head)
            request = self.request.recv(length, socket.MSG_WAITALL)
            api, version, correlation = struct.unpack_from("!hhi", request)
            answer = self._api_versions(version) if api == _API_VERSIONS else self._metadata(request)
            self.request.sendall(struct.pack("!ii", len(answer) + 4, correlation) + answer)

    @staticmethod
    def _api_versions(version: int) -> bytes:
        if version:
            return struct.pack("!hi", _UNSUPPORTED_VERSION, 0)
        return struct.pack("!hi", 0, 2) + struct.pack("!6h", _API_VERSIONS, 0, 0, _METADATA, 0, 4)

    def _metadata(self, request: bytes) -> bytes:
        self.server.may_create |= bool(request[-1])
        itself = struct.pack("!ih", 1, len(_HOST)) + _HOST + struct.pack("!ih", self.server.port, -1)
        brokers = struct.pack("!i", 0) if self.server.alone else struct.pack("!i", 1) + itself
        controller = struct.pack("!i", -1 if self.server.alone else 1)
        no_topics = struct.pack("!i", 0)
        return struct.pack("!i", 0) + brokers + struct.pack("!h", len(_CLUSTER)) + _CLUSTER + controller + no_topics
