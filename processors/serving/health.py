"""`/healthz`, `/readyz` and `/metrics` of roles without an API."""

from __future__ import annotations

import socket
import threading
from http import HTTPStatus
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST

from hookstream.processors.lifecycle import Health
from hookstream.processors.metrics import Metrics
from hookstream.processors.printable import printable

from .connections import ConnectionLimits
from .server import HttpServer

_TEXT = "text/plain; charset=utf-8"
# A probe and a few scrapers; a worker needs its files for its targets.
_LIMITS = ConnectionLimits(most=64, reserve=0)
_STOP_S = 1


class HealthServer:
    """Serves them in a thread of its own."""

    def __init__(self, *, host: str, port: int, health: Health, metrics: Metrics) -> None:
        """Bind; port 0 takes a free one, see `port`.

        Raises:
            OSError: the port is taken.
        """
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        self._listener = socket.create_server((host, port), family=family, backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._server = HttpServer(_app(health, metrics), limits=_LIMITS, stop_timeout_s=_STOP_S)
        self._thread = threading.Thread(target=self._server.run, args=(self._listener,), name="health", daemon=True)

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.stop()
        if self._thread.is_alive():
            self._thread.join()
        self._listener.close()


def _app(health: Health, metrics: Metrics) -> Any:  # noqa: ANN401  # ASGI
    async def app(scope: Any, _receive: Any, send: Any) -> None:  # noqa: ANN401  # ASGI
        status, body, content_type = _answer(scope["method"], scope["path"], health, metrics)
        headers = [(b"content-type", content_type.encode()), (b"content-length", b"%d" % len(body))]
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            headers.append((b"allow", b"GET, HEAD"))
        await send({"type": "http.response.start", "status": status.value, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def _answer(method: str, path: str, health: Health, metrics: Metrics) -> tuple[HTTPStatus, bytes, str]:
    """Status, body and type of an answer."""
    if method not in ("GET", "HEAD"):
        return HTTPStatus.METHOD_NOT_ALLOWED, b"these paths take GET and HEAD\n", _TEXT
    match path:
        case "/healthz":
            return HTTPStatus.OK, b"alive\n", _TEXT
        case "/readyz":
            reasons = health.reasons
            lines = [f"{component}: {printable(reason)}\n" for component, reason in reasons.items()] or ["ready\n"]
            return HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK, "".join(lines).encode(), _TEXT
        case "/metrics":
            return HTTPStatus.OK, metrics.render(), CONTENT_TYPE_LATEST
        case _:
            return HTTPStatus.NOT_FOUND, b"there are /healthz, /readyz and /metrics\n", _TEXT
