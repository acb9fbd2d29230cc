"""Posts deliveries to targets: from a lane's head to a server that we do not trust, and back.

Callbacks, not coroutines: on a kept connection a request is one write, and its answer one call, with no task, future
or timer of its own (figures in docs/adr/0003-http-client.md). Only connecting is a task.

A request is repeated once, on a fresh connection, when the server closed a kept connection before any byte of an
answer (it most likely closed an idle connection as our request left), or when what came first cannot begin an answer
(it belongs to the one before). The server may have read the request even so. That is safe to call one attempt, because
deliveries are made at least once and both requests carry the same webhook-id.

Nothing here follows redirects, sends cookies, decodes bodies or trusts a header for more than its own answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hookstream.schemas.attempt import AttemptResult

from .address_guard import AddressGuard
from .answer_reader import AnswerLimits
from .connection import HttpConnection
from .connector import Connector, parse_proxy, tls_context
from .errors import AttemptError, ConnectTimeoutError, ShortageError
from .exchange import Answer, Exchange, ReportError
from .known_names import NameLimits, RememberingResolver
from .pool import ConnectionPool, PoolLimits
from .resolver import Resolver
from .target import Target, parse_target

_READ_BYTES = 16_384  # at a time, for every connection: the most that one TLS record holds

__all__ = ["Answer", "Exchange", "HttpClient", "HttpClientConfig", "Target", "parse_target"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpClientConfig:
    """Times in seconds, from the call of `post`; `ca_file` replaces the system's certificate authorities."""

    connect_timeout_s: float = 5.0  # name, socket, tunnel and TLS together
    total_timeout_s: float = 15.0
    answer: AnswerLimits = field(default_factory=AnswerLimits)
    pool: PoolLimits = field(default_factory=PoolLimits)
    names: NameLimits = field(default_factory=NameLimits)
    egress_proxy: str | None = None
    ca_file: Path | None = None


class HttpClient:
    """An HTTP/1.1 client for one event loop; everything but the constructor belongs to the loop's thread."""

    def __init__(
        self,
        config: HttpClientConfig,
        guard: AddressGuard,
        resolver: Resolver,
        clock: Callable[[], float] = time.monotonic,
        *,
        report_error: ReportError,
    ) -> None:
        """Load certificate authorities, open nothing. `clock` is monotonic seconds.

        `report_error(where, error)` is called with what should not have been raised here; its request has an answer all
        the same.
        What `resolver` answers is remembered here, and it is asked within bounds: it need do neither.

        Raises:
            InvalidProxyError: `egress_proxy` is not `http://[user:password@]host:port`.
            OSError: `ca_file` cannot be read.
        """
        self._clock = clock
        self._total_timeout_s = config.total_timeout_s
        self._connect_timeout_s = config.connect_timeout_s
        self._limits = config.answer
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._report_error = report_error
        self._closed = False
        self._pool = ConnectionPool(config.pool, self._connect, clock)
        self._names = RememberingResolver(resolver, config.names, clock)
        self._connector = Connector(
            guard,
            self._names,
            tls_context(config.ca_file),
            proxy=None if config.egress_proxy is None else parse_proxy(config.egress_proxy),
            timeout_s=config.connect_timeout_s,
        )
        self._connecting: set[asyncio.Task[None]] = set()

    @property
    def open_connections(self) -> int:
        """Connections that carry a request or could."""
        return self._pool.open_connections

    def post(
        self,
        target: Target,
        headers: bytes,
        body: bytes,
        done: Callable[[Answer], None],
        client: str | None = None,
    ) -> Exchange:
        """Make one request, of `client` where it has one.

        `headers` are the delivery's own header lines, each with its CRLF; `host`, `content-length` and the end of the
        head are added. `done` is called exactly once, from the event loop, never from within this call, unless the
        exchange is cancelled or the client closed first. It may call `post`, which may use the same connection.
        """
        now = self._clock()
        exchange = Exchange(
            target,
            b"%b%d\r\n%b\r\n%b" % (target.head, len(body), headers, body),
            done,
            now,
            now + self._total_timeout_s,
            client,
        )
        connection = self._pool.take(target.origin, now)
        if connection is not None:
            connection.send(exchange)
        else:
            self._connect(exchange)
        return exchange

    async def close(self) -> None:
        """Abandon what is under way and close every connection; no answer follows its return, and no post may."""
        self._closed = True
        connecting = list(self._connecting)
        for task in connecting:
            task.cancel()
        await asyncio.gather(*connecting, return_exceptions=True)
        self._names.close()
        self._pool.close()
        await asyncio.sleep(0)  # transports close their sockets in the loop's next turn

    def _connect(self, exchange: Exchange) -> None:
        """Carry the exchange on a fresh connection."""
        exchange.connection = None
        task = asyncio.get_running_loop().create_task(self._open(exchange, self._clock() + self._connect_timeout_s))
        exchange.connecting = task
        self._connecting.add(task)
        task.add_done_callback(lambda done: self._connected(done, exchange))

    async def _open(self, exchange: Exchange, latest: float) -> None:
        target = exchange.target
        connection = await self._connector.connect(
            target.url,
            lambda: HttpConnection(
                self._pool,
                target.origin,
                limits=self._limits,
                buffer=self._buffer,
                clock=self._clock,
                report_error=self._report_error,
            ),
            exchange.deadline - self._clock(),
            exchange.client,
        )
        if connection.closing:
            exchange.fail(AttemptResult.BROKEN_ANSWER, self._clock())
            return
        if self._clock() > latest:
            # The process was suspended meanwhile: the partition may be another worker's by now.
            connection.abandon()
            raise ConnectTimeoutError(f"no connection to {target.origin} in time")
        self._pool.add(connection)
        connection.send(exchange)

    def _connected(self, task: asyncio.Task[None], exchange: Exchange) -> None:
        """Answer the exchange if it has no connection now, whatever the reason is. A callback: never within `post`."""
        self._connecting.discard(task)
        exchange.connecting = None
        if task.cancelled():
            # By the exchange's own `cancel`, or the client is closed: then no caller waits. Else code of ours gave up.
            error = None if self._closed else AttemptResult.CONNECT_FAILED
        else:
            error = self._failure(task.exception())
        if error is not None:
            exchange.fail(error, self._clock())

    def _failure(self, raised: BaseException | None) -> AttemptResult | None:
        """How an attempt ended whose connecting raised this; a shortage of ours is reported like a bug of ours."""
        if raised is None:
            return None
        if isinstance(raised, ShortageError) or not isinstance(raised, (AttemptError, OSError)):
            self._report_error("connect", raised)
        return raised.result if isinstance(raised, AttemptError) else AttemptResult.CONNECT_FAILED
