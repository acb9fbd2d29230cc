"""A receiver in a thread: keeps every request as it came, and answers what the test says."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Header names are in lower case; `answered` is the status that it got."""

    path: str
    headers: dict[str, str]
    body: bytes
    answered: int

    @property
    def id(self) -> str:
        """The delivery id."""
        return self.headers["webhook-id"]

    @property
    def sequence(self) -> tuple[str, int, int]:
        """Topic, partition and offset of the source record."""
        topic, partition, offset = self.headers["hookstream-sequence"].rsplit(":", 2)
        return topic, int(partition), int(offset)


class Receiver:
    """Listens on a loopback port while it is entered."""

    def __init__(self, port: int = 0, *, answer: Callable[[str], int] = lambda _path: 204) -> None:
        """`answer` gives the status by path; it may block for as long as the target hangs."""
        self.requests: list[Request] = []
        self.answer = answer
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_address[1]

    def url(self, path: str) -> str:
        """A target."""
        return f"http://127.0.0.1:{self.port}/{path}"

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        """Keep a request and give its status."""
        status = self.answer(path)
        with self._lock:
            self.requests.append(Request(path, headers, body, status))
        return status

    def accepted(self) -> list[Request]:
        """What was answered with 2xx, in the order of arrival."""
        with self._lock:
            return [request for request in self.requests if 200 <= request.answered < 300]

    def by_path(self) -> dict[str, list[Request]]:
        """The same, by path."""
        found = defaultdict(list)
        for request in self.accepted():
            found[request.path].append(request)
        return found

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            body = self.rfile.read(length)
            if len(body) < length:  # whoever sent it was killed
                self.close_connection = True
                return
            status = receiver.take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    return Handler
