"""The database at size: how long lists, `lag`, the relay, retention and the count of a replay take, and by what plan.

On PostgreSQL with 5,000,000 hooks and 50,000,000 attempts over thirty days (28 GB; see `size_data.py` for what they
are), which is filled once: `--data DIRECTORY` keeps it. Each run deletes the oldest day that is left of the attempts.
Each question is the product's own: a request of the API in this process, a batch of the relay, of retention. A figure
is the fastest of some rounds, so that a busy machine disturbs it less; the first request of each is told beside it.
`--plans` prints the plan of every statement. No question may read a table of hooks or attempts to its end.
"""

from __future__ import annotations

import argparse
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import size_logs, subscription_table
from benchmarks.figures import Figure
from benchmarks.portal import Backlogged
from benchmarks.running import Size, arguments, main
from benchmarks.size_data import DAY_MS, RARE_EVENT, Filling, fill
from benchmarks.stack import NotMeasuredError, Stack, broker
from hookstream.schemas.control import endpoint_id, target_digest
from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import HookId
from hookstream.subscriptions.api.paging import encode_cursor
from hookstream.subscriptions.attempt_log import delete_attempts
from hookstream.subscriptions.backlogs import Backlogs, HookBacklog, SeenHealth
from hookstream.subscriptions.database import open_database, transact
from tests.support import machine
from tests.support.postgres import PostgresServer
from tests.support.query_plans import plans_of
from tests.support.subscriptions_api import Api

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.support.subscriptions_api import Caller

PAGE_BAR_MS = 30.0
TOTALS_BAR_MS = 130.0
ROUNDS = 15
RETENTION_ROWS = 2_000  # as the role has it
READER_BAR_MS = 300.0
BIG_TABLES = ("all of subscription_keys", "all of attempts")
PARTS = ("table", "pages", "retention", "relay", "lag", "replay")
SETTINGS = {
    "shared_buffers": "1GB",
    "max_wal_size": "4GB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "maintenance_work_mem": "1GB",
}
SIZES = (
    Size("hooks", 5_000_000, 20_000, "hooks in the table"),
    Size("attempts", 50_000_000, 200_000, "attempts of thirty days"),
    Size("trouble", 1_000, 100, "endpoints with a backlog while pages are asked for"),
    Size("pending", 100_000, 5_000, "deliveries that one client has pending"),
    Size("changed", 20_000, 1_000, "rows that the relay publishes"),
    Size("records", 2_000_000, 20_000, "records in the window of a replay that is counted, events and deliveries each"),
)


@dataclass(frozen=True, slots=True)
class Page:
    """A question to the API."""

    name: str
    path: str
    bar_ms: float = PAGE_BAR_MS


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="DIRECTORY", help="keep the database there, or use the one there is")
    parser.add_argument("--plans", action="store_true", help="print the plan of every statement")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS), help="these parts alone")


def measure(options: argparse.Namespace) -> tuple[Sequence[Figure], Sequence[str]]:
    """Fill, then measure part by part."""
    only = set(options.only)
    figures: list[Figure] = []
    remarks: list[str] = []
    if "table" in only:
        figures += subscription_table.measure(options)[0]
    if only & {"pages", "retention", "relay", "lag"}:
        found, said = of_database(options, only)
        figures += found
        remarks += said
    if "replay" in only:
        with broker() as servers, Stack(servers) as stage:
            found, said = size_logs.replay_counts(stage, options.records)
        figures += found
        remarks += said
    return figures, remarks


def of_database(options: argparse.Namespace, only: set[str]) -> tuple[list[Figure], list[str]]:
    """What is measured on the filled database."""
    figures: list[Figure] = []
    with filled(options) as (api, filling, took_s):
        remarks = [f"filled in {took_s:,.0f} s"]
        if "pages" in only:
            found, said = pages(api, filling, options)
            figures += found
            remarks += said
        if "retention" in only:
            figures += retention(api, filling)
        if only & {"relay", "lag"}:
            with broker() as servers, Stack(servers) as stage:
                if "relay" in only:
                    figures += size_logs.relay(stage, api, filling, options.changed)
                if "lag" in only:
                    url = api.engine.url.render_as_string(hide_password=False)
                    figures += size_logs.lag(stage, url, filling, options.pending)
    return figures, remarks


@contextmanager
def filled(options: argparse.Namespace) -> Iterator[tuple[Api, Filling, float]]:
    """A server, the API on its database, and what that holds."""
    binaries = machine.machine_postgres() or machine.wheel_postgres()
    if binaries is None:
        raise NotMeasuredError("there is no PostgreSQL on this machine")
    with ExitStack() as stack:
        server = PostgresServer(
            binaries, kept=Path(options.data).resolve() if options.data else None, settings=SETTINGS
        )
        stack.callback(server.close)
        server.start()
        engine = open_database(server.url)
        stack.callback(engine.dispose)
        filling, took_s = fill(engine, options.hooks, options.attempts)
        backlogs = Backlogged()
        api = Api(server.url, backlogs=backlogs)
        stack.callback(api.close)
        api.backlogs = backlogs
        api.clock.now_ms = filling.now_ms
        backlogs.backlogs = troubles(filling, options.trouble)
        yield api, filling, took_s


def troubles(filling: Filling, count: int) -> Backlogs:
    """Backlogs of endpoints all over the table."""
    hooks: dict[HookId, HookBacklog] = {}
    health: dict[tuple[ClientId, bytes], SeenHealth] = {}
    first = filling.first_living
    for number in range(count):
        hook = first + (filling.hooks - first) * number // count // 2 * 2
        client, oldest_ms = ClientId(filling.client(hook)), filling.now_ms - number * 1_000
        hooks[HookId(hook)] = HookBacklog(
            client=client, event=filling.event(hook), pending=17, oldest_ms=oldest_ms, backlogged=True
        )
        health[client, target_digest(filling.target(hook))] = SeenHealth(quarantined=True, probe_at_ms=oldest_ms)
    return Backlogs(hooks=hooks, health=health)


# --- pages ------------------------------------------------------------------------------------------------------------


def questions(filling: Filling, ask: Caller) -> list[Page]:
    """What is asked: first pages, the next ones, those far behind, and those of which little is among much."""
    busy, failing = filling.first_living, filling.failing
    endpoint = endpoint_id(ClientId(filling.client(failing)), target_digest(filling.target(failing)))
    hooks_next = _cursor(ask, "/hooks")
    endpoints_next = _cursor(ask, "/endpoints")
    attempts_next = _cursor(ask, f"/hooks/{busy}/attempts")
    far = encode_cursor(str(filling.hooks * 3 // 4))
    far_endpoints = encode_cursor(f"r:{filling.hooks * 3 // 4}")
    middle = filling.attempts // 20 * 10
    far_attempts = encode_cursor(f"{filling.started_ms(middle)}.{middle}")
    return [
        Page("hooks", "/hooks"),
        Page("hooks, next", f"/hooks?cursor={hooks_next}"),
        Page("hooks, deep", f"/hooks?cursor={far}"),
        Page("hooks of a rare event", f"/hooks?event={RARE_EVENT}"),
        Page("hooks of a client", f"/hooks?client={filling.client(busy)}"),
        Page("endpoints", "/endpoints"),
        Page("endpoints, next", f"/endpoints?cursor={endpoints_next}"),
        Page("endpoints, deep", f"/endpoints?cursor={far_endpoints}"),
        Page("endpoints, disabled", "/endpoints?state=disabled"),
        Page("endpoints of a client", f"/endpoints?client={filling.client(busy)}"),
        Page("lag", "/endpoints?totals=true&limit=20", TOTALS_BAR_MS),
        Page("endpoint", f"/endpoints/{endpoint}"),
        Page("attempts", f"/hooks/{busy}/attempts"),
        Page("attempts, next", f"/hooks/{busy}/attempts?cursor={attempts_next}"),
        Page("attempts, deep", f"/hooks/{busy}/attempts?cursor={far_attempts}"),
        Page("attempts of one that fails", f"/hooks/{failing}/attempts"),
        Page("its successes", f"/hooks/{failing}/attempts?outcome=delivered"),
        Page("failures of one that succeeds", f"/hooks/{busy}/attempts?outcome=failed"),
        Page("attempts of an endpoint", f"/endpoints/{endpoint}/attempts"),
    ]


def _cursor(ask: Caller, path: str) -> str:
    found: str = ask("GET", path).json()["next_cursor"]
    return found


def pages(api: Api, filling: Filling, options: argparse.Namespace) -> tuple[list[Figure], list[str]]:
    """Ask for each some times; also how many tables were read to their ends for it."""
    ask = api.operator()
    figures: list[Figure] = []
    first: dict[str, float] = {}
    cpu_ms: dict[str, float] = {}
    database_ms: dict[str, float] = {}
    read: list[str] = []
    for page in questions(filling, ask):
        taken = [_ask_ms(ask, page.path)]
        cpu_s = time.process_time()
        taken += [_ask_ms(ask, page.path) for _ in range(ROUNDS)]
        cpu_ms[page.name] = (time.process_time() - cpu_s) / ROUNDS * 1000
        first[page.name] = taken[0]
        figures.append(Figure(name=page.name, value=min(taken[1:]), unit="ms", at_most=page.bar_ms))
        plans = plans_of(api.engine, lambda path=page.path: _ask_ms(ask, path), analyze=True)  # type: ignore[misc]
        database_ms[page.name] = sum(plan.execution_ms for plan in plans)
        if options.plans:
            print(f"\n== {page.name}: GET {page.path}")
            for plan in plans:
                print(f"-- {' '.join(plan.statement.split())[:200]}\n{plan.text}")
        read += [f"{page.name} ({scan})" for plan in plans for scan in plan.scans if scan in BIG_TABLES]
    figures.append(Figure(name="tables read to their end", value=len(read), at_most=0))
    slowest = max(first, key=lambda name: first[name])
    used = ", ".join(f"{name} {ms:.0f} + {database_ms[name]:.1f}" for name, ms in cpu_ms.items())
    return figures, [
        f"the slowest first request: {slowest}, {first[slowest]:,.0f} ms",
        f"ms of CPU in this process + in PostgreSQL: {used}",
        *read,
    ]


def _ask_ms(ask: Caller, path: str) -> float:
    began = time.perf_counter()
    answer = ask("GET", path)
    took_ms = (time.perf_counter() - began) * 1000
    if answer.status_code != HTTPStatus.OK:
        raise NotMeasuredError(f"{path} answers {answer.status_code}: {answer.text[:200]}")
    return took_ms


# --- retention --------------------------------------------------------------------------------------------------------


class Reader:
    """Asks for pages of attempts in a thread of its own, until it is asked for the slowest of them."""

    def __init__(self, ask: Caller, paths: Sequence[str]) -> None:
        self._ask = ask
        self._paths = paths
        self._taken: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._taken += [_ask_ms(self._ask, path) for path in self._paths]

    def slowest_ms(self) -> float:
        """End, and give it."""
        self._stop.set()
        self._thread.join()
        return max(self._taken)


def retention(api: Api, filling: Filling) -> list[Figure]:
    """Delete a day of attempts by the role's batches while pages are asked for, and let pages alone for as long."""
    oldest_ms = _oldest_ms(api)
    before_ms = min(oldest_ms + DAY_MS, filling.now_ms - DAY_MS)
    paths = [f"/hooks/{hook}/attempts" for hook in (filling.first_living, filling.failing, filling.hooks)]
    reader = Reader(api.operator(), paths)
    began, deleted, batches = time.monotonic(), 0, []
    try:
        while True:
            started = time.perf_counter()
            count = transact(api.sessions, lambda s: delete_attempts(s, before_ms=before_ms, limit=RETENTION_ROWS))
            batches.append((time.perf_counter() - started) * 1000)
            deleted += count
            if count < RETENTION_ROWS:
                break
    finally:
        beside_ms = reader.slowest_ms()
    took_s = time.monotonic() - began
    reader = Reader(api.operator(), paths)
    time.sleep(min(took_s, 30.0))
    alone_ms = reader.slowest_ms()
    return [
        Figure(name="attempts of a day deleted", value=deleted / took_s, unit="rows/s"),
        Figure(name="the slowest batch", value=max(batches), unit="ms", at_most=1000.0),
        Figure(name="a reader's slowest page alone", value=alone_ms, unit="ms"),
        Figure(
            name="a reader's slowest page meanwhile",
            value=beside_ms,
            unit="ms",
            at_most=max(READER_BAR_MS, 2 * alone_ms),
        ),
    ]


def _oldest_ms(api: Api) -> int:
    with api.engine.connect() as connection:
        found: Any = connection.exec_driver_sql("SELECT logged_at_ms FROM attempts ORDER BY id LIMIT 1").scalar_one()
        return int(found)


if __name__ == "__main__":
    chosen = arguments(__doc__, SIZES, more=_options)
    main("size", chosen, lambda: measure(chosen))
