"""A local receiver, as an integrator would write one: it verifies what it is sent, and answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from .signature_check import verify


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One request as it came. `fault` says what is wrong with its signature; None: it is right."""

    path: str
    webhook_id: str
    sequence: str
    attempt: str
    body: bytes
    latency_ms: float
    fault: str | None


class DemoReceiver:
    """Listens on a free loopback port; `arrived` is called in the connections' threads, one at a time."""

    def __init__(self, secrets: Mapping[str, str], arrived: Callable[[Arrival], None]) -> None:
        """`secrets` by path; it may be filled later."""
        lock = threading.Lock()

        def take(arrival: Arrival) -> None:
            with lock:
                arrived(arrival)

        self._server = _Server(("127.0.0.1", 0), _handler(secrets, take))
        self._thread = threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True)

    @property
    def url(self) -> str:
        """Where targets are below."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        """Listen."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # connections are kept open by whoever delivers
    request_queue_size = 128


def _handler(secrets: Mapping[str, str], arrived: Callable[[Arrival], None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:  # the name that http.server looks for
            now_ms = time.time_ns() / 1_000_000
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            arrival = Arrival(
                path=self.path,
                webhook_id=headers.get("webhook-id", ""),
                sequence=headers.get("hookstream-sequence", ""),
                attempt=headers.get("hookstream-attempt", ""),
                body=body,
                latency_ms=now_ms - float(headers.get("hookstream-occurred-at", now_ms)),
                fault=_fault(secrets.get(self.path), headers, body),
            )
            arrived(arrival)
            self.send_response(HTTPStatus.UNAUTHORIZED if arrival.fault else HTTPStatus.NO_CONTENT)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            """Print nothing: `arrived` has it."""

    return Handler


def _fault(secret: str | None, headers: Mapping[str, str], body: bytes) -> str | None:
    if secret is None:
        return "for a path that no hook names"
    try:
        verify(secret, headers, body)
    except KeyError as exc:
        return f"no header {exc}"
    except ValueError as exc:
        return str(exc)
    return None
