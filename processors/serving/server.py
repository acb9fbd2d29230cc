"""Serves an ASGI app on a listening socket until it is stopped, within limits that no client can exceed."""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Any, cast

import structlog
import uvicorn

from hookstream.processors.open_files import connections_that_fit

from .connections import ConnectionLimits, ConnectionTable
from .protocol import Guard, GuardedConnection, bounded_heads

_SWEEP_EVERY_S = 1

log = structlog.get_logger("hookstream.serving")


class HttpServer:
    """A server of one app. `run` may be called in any thread, `stop` from any other."""

    def __init__(
        self,
        app: Any,  # noqa: ANN401  # ASGI
        *,
        limits: ConnectionLimits,
        stop_timeout_s: int,
        monotonic_s: Callable[[], float] = monotonic,
    ) -> None:
        """Prepare; fewer connections are taken where the limit of open files is lower."""
        fitting = limits_that_fit(limits, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        if fitting != limits:
            log.warning("the limit of open files allows fewer connections", most=fitting.most, wanted=limits.most)
        self.guard = Guard(table=ConnectionTable(fitting), monotonic_s=monotonic_s)
        config = uvicorn.Config(
            bounded_heads(app, fitting.head_bytes),
            http=cast("Any", partial(GuardedConnection, self.guard)),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            h11_max_incomplete_event_size=fitting.head_bytes,
            callback_notify=self._sweep,
            timeout_notify=_SWEEP_EVERY_S,
            timeout_graceful_shutdown=stop_timeout_s,
        )
        self._server = uvicorn.Server(config)

    def run(self, listener: socket.socket) -> None:
        """Serve until stopped."""
        self._server.run(sockets=[listener])

    def stop(self) -> None:
        """Take no more connections, and end when the requests that are under way are answered, or time is over."""
        self._server.should_exit = True

    async def _sweep(self) -> None:
        self.guard.close_overdue()


def limits_that_fit(limits: ConnectionLimits, files: int) -> ConnectionLimits:
    """These limits, with fewer connections where so many open files do not hold them."""
    wanted = limits.most + limits.reserve
    fitting, _ = connections_that_fit(files, in_flight=wanted, idle=0)
    return limits if fitting == wanted else replace(limits, most=max(1, fitting - limits.reserve))
