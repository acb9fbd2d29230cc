"""One token floods the API, as fast as it answers: what callers with other tokens feel, beside a quiet run before.

The API is one process on PostgreSQL, with the default limit of a token; Kafka is a fake, for none of the requests needs
it. The others list their hooks, at a steady rate, each on a connection of its own, from a process that does nothing
else; a request's time counts from when it was due. The flood lists hooks over many connections, from another process,
the next request when the last one is answered. A third run is without the limit.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import tempfile
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from multiprocessing import Event, Process, SimpleQueue
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING

from benchmarks.figures import Figure, allowed_p99_ms
from benchmarks.postgres import database
from benchmarks.running import Size, arguments, main
from benchmarks.stack import NotMeasuredError
from hookstream.processors.settings import Settings
from hookstream.schemas.event import ClientId
from hookstream.subscriptions.database import open_database, open_sessions, transact
from hookstream.subscriptions.migrations import migrate
from hookstream.subscriptions.models import Role
from hookstream.subscriptions.tokens import TokenRequest, issue_token
from tests.support.processes import Processes
from tests.support.raw_http import answer

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from multiprocessing.synchronize import Event as Stop

OTHERS = range(1, 11)
FLOOD = 99
READY_WITHIN_S = 60.0
BAR_FACTOR, BAR_SLACK_MS = 1.5, 5.0
SIZES = (
    Size("seconds", 60.0, 4.0, "how long each of the three runs takes"),
    Size("rate", 50.0, 50.0, "requests a second of the others together"),
    Size("connections", 16, 16, "how many the flood has"),
)


@dataclass(frozen=True, slots=True)
class Run:
    """What the others felt, in milliseconds, and how many of the flood's requests were answered by each status."""

    times_ms: Sequence[float]
    flood: dict[int, int]

    @property
    def p99_ms(self) -> float:
        """The others' p99."""
        return quantiles(self.times_ms, n=100)[98]


def tokens(url: str) -> dict[int, str]:
    """A token of each client; the others have hooks to list."""
    migrate(url)
    engine = open_database(url)
    sessions = open_sessions(engine)

    def issue(client: int) -> str:
        request = TokenRequest(role=Role.INTEGRATOR, client=ClientId(str(client)), name="x", expires_at_ms=None)
        return transact(sessions, lambda s: issue_token(s, request, actor="benchmark", now_ms=1)).token

    made = {client: issue(client) for client in (*OTHERS, FLOOD)}
    engine.dispose()
    return made


def request(token: str) -> bytes:
    """A request for a list of hooks."""
    return f"GET /hooks HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n".encode()


def flood(port: int, token: str, connections: int, stop: Stop, results: SimpleQueue[dict[int, int]]) -> None:
    """Ask over so many connections, again as soon as each is answered; another machine's work, so it gives way here."""
    os.nice(10)
    wanted, counts = request(token), dict.fromkeys((200, 429, 503, 0), 0)

    def ask() -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            while not stop.is_set():
                connection.sendall(wanted)
                counts[answer(connection)[0]] += 1

    threads = [threading.Thread(target=ask) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put(counts)


def others(port: int, made: dict[int, str], *, seconds: float, rate: float) -> list[float]:
    """Times of requests at a steady rate, from when each was due to its answer, in milliseconds."""
    times: list[float] = []
    statuses: set[int] = set()
    began, interval_s = time.monotonic() + 0.1, len(OTHERS) / rate

    def ask(number: int, token: str) -> None:
        wanted = request(token)
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            for turn in itertools.count():
                due = began + (turn + number / len(OTHERS)) * interval_s
                if due >= began + seconds:
                    return
                time.sleep(max(0.0, due - time.monotonic()))
                connection.sendall(wanted)
                statuses.add(answer(connection)[0])
                times.append((time.monotonic() - due) * 1000)

    threads = [threading.Thread(target=ask, args=(number, made[client])) for number, client in enumerate(OTHERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if statuses != {HTTPStatus.OK}:
        raise NotMeasuredError(f"the others were answered {sorted(statuses)}")
    return times


def run(url: str, made: dict[int, str], options: argparse.Namespace, *, limit: float, flooded: bool) -> Run:
    """The others with or without the flood, against a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        processes = Processes(Path(folder))
        try:
            api = processes.python("-m", "tests.support.api_process", url, str(limit), name="api")
            api.wait_until(lambda: "}" in api.log_text(), READY_WITHIN_S, what="listening")
            port = int(json.loads(api.log_text().partition("\n")[0])["port"])
            others(port, made, seconds=2.0, rate=options.rate)  # connections, threads and caches are there
            stop: Stop = Event()
            results: SimpleQueue[dict[int, int]] = SimpleQueue()
            flooding = Process(target=flood, args=(port, made[FLOOD], options.connections, stop, results))
            if flooded:
                flooding.start()
            times = others(port, made, seconds=options.seconds, rate=options.rate)
            stop.set()
            counts = results.get() if flooded else {}
            if flooded:
                flooding.join()
            return Run(times, counts)
        finally:
            processes.close()


def measure(options: argparse.Namespace) -> tuple[Sequence[Figure], Sequence[str]]:
    """Without the flood, with it, and with it but without a limit."""
    limit = Settings.model_fields["api_token_rate"].default
    with database() as url:
        made = tokens(url)
        quiet = run(url, made, options, limit=limit, flooded=False)
        limited = run(url, made, options, limit=limit, flooded=True)
        unlimited = run(url, made, options, limit=0, flooded=True)
    allowed_ms = allowed_p99_ms(quiet.p99_ms, factor=BAR_FACTOR, slack_ms=BAR_SLACK_MS)
    return [
        Figure(name="the others' p99 without the flood", value=quiet.p99_ms, unit="ms"),
        Figure(name="with it", value=limited.p99_ms, unit="ms", at_most=allowed_ms),
        Figure(name="ratio", value=limited.p99_ms / quiet.p99_ms),
        Figure(name="without a limit", value=unlimited.p99_ms, unit="ms"),
        Figure(name="ratio without a limit", value=unlimited.p99_ms / quiet.p99_ms),
        Figure(name="the flood's requests a second", value=sum(limited.flood.values()) / options.seconds),
        Figure(name="of them served", value=limited.flood.get(200, 0) / options.seconds),
        Figure(name="served without a limit", value=unlimited.flood.get(200, 0) / options.seconds),
    ], []


if __name__ == "__main__":
    chosen = arguments(__doc__, SIZES)
    main("token_flood", chosen, lambda: measure(chosen))
