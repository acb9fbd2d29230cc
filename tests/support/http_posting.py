"""An HTTP client for tests: short times, loopback allowed, and `post` as something to wait for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import uvloop

from hookstream.processors.delivery.http.address_guard import AddressGuard
from hookstream.processors.delivery.http.client import Answer, HttpClient, HttpClientConfig, parse_target
from hookstream.processors.delivery.http.errors import ResolveError
from hookstream.processors.delivery.http.exchange import ReportError
from hookstream.processors.delivery.http.pool import PoolLimits
from hookstream.processors.delivery.http.resolver import Resolver
from tests.support.wait import WITHIN_S

LOOPBACK = AddressGuard([ip_network("127.0.0.0/8"), ip_network("::1/128")])
SHORT = HttpClientConfig(
    connect_timeout_s=30.0,
    total_timeout_s=30.0,
    pool=PoolLimits(sweep_interval_s=0.01, idle_timeout_s=60.0, rest_s=0.0),
)
BODY = b'{"event":"lead.new"}'
HEADERS = b"content-type: application/json\r\nwebhook-id: msg_1\r\n"


class Clock:
    """Monotonic seconds that pass when a test says so. Connecting goes by the loop's time, all else by this."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class TableResolver:
    """Resolves from a table and counts how often each name was asked."""

    def __init__(self, table: Mapping[str, tuple[str, ...]] | None = None) -> None:
        self.table = dict(table or {"target.example": ("127.0.0.1",)})
        self.asked: list[str] = []

    async def resolve(self, host: str) -> tuple[str, ...]:
        """Answer from the table; a name that is not in it has no address."""
        self.asked.append(host)
        if host not in self.table:
            raise ResolveError(host)
        return self.table[host]


@asynccontextmanager
async def http_client(
    config: HttpClientConfig = SHORT,
    *,
    guard: AddressGuard = LOOPBACK,
    resolver: Resolver | None = None,
    total_timeout_s: float | None = None,
    ca_file: Path | None = None,
    report_error: ReportError | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[HttpClient]:
    """Open a client for the length of the block; its own exceptions fail it, unless `report_error` takes them."""
    bugs: list[BaseException] = []
    report_error = report_error or (lambda _where, error: bugs.append(error))
    if total_timeout_s is not None:
        config = replace(config, total_timeout_s=total_timeout_s)
    if ca_file is not None:
        config = replace(config, ca_file=ca_file)
    client = HttpClient(
        config, guard, TableResolver() if resolver is None else resolver, clock, report_error=report_error
    )
    try:
        yield client
    finally:
        await client.close()
    assert bugs == [], "an exception of the client's own code"


async def post(client: HttpClient, url: str, body: bytes = BODY, headers: bytes = HEADERS) -> Answer:
    """Make one request and wait for its answer; a second call of `done` fails the test."""
    answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    client.post(parse_target(url), headers, body, answered.set_result)
    assert not answered.done(), "done was called within post"
    async with asyncio.timeout(60):
        return await answered


async def times_out(client: HttpClient, clock: Clock, url: str, *, after_s: float, when: Callable[[], bool]) -> Answer:
    """Make a request, let time pass once the condition holds: not a second earlier than `after_s` is it answered."""
    answering = asyncio.ensure_future(post(client, url))
    await until(when)
    clock.now += after_s - 1
    client._pool.sweep()
    await asyncio.sleep(0)
    assert not answering.done()
    clock.now += 1
    return await answering


async def until(condition: Callable[[], bool], deadline_s: float = WITHIN_S) -> None:
    """Give the loop turns until the condition holds."""
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110 (what is waited for has no event: sockets closing, counts)
            await asyncio.sleep(0.001)


def run(main: Coroutine[Any, Any, None], loop: str) -> None:
    """Run a test's coroutine on one of the two loops; an error that only the loop sees fails the test."""
    unseen: list[dict[str, Any]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
        await main

    with asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else None) as runner:
        runner.run(watched())
    assert not unseen, unseen
