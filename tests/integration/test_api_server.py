"""The API's server, and that of the other roles, against clients who send too much, too slowly, or nothing at all."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hookstream.processors.lifecycle import Health
from hookstream.processors.metrics import Metrics
from hookstream.processors.serving.connections import ConnectionLimits, Phase
from hookstream.processors.serving.health import HealthServer
from hookstream.processors.serving.server import HttpServer, limits_that_fit
from hookstream.subscriptions.dead_letters import DeadLetterPage, DeadLetterQuery
from hookstream.subscriptions.models import Role
from tests.support.processes import Processes
from tests.support.raw_http import answer, ask, connect, half_open, is_open
from tests.support.subscriptions_api import Api, FakeDeadLetters
from tests.support.wait import WITHIN_S, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.processes import Process

HALF = b"GET /hooks HTTP/1.1\r\nhost: x\r\nx-slow: "
CLOSE = "connection: close\r\n"


def get(path: str, token: str = "", *, method: str = "GET", more: str = CLOSE) -> bytes:
    """Write a request without a body."""
    bearer = f"authorization: Bearer {token}\r\n" if token else ""
    return f"{method} {path} HTTP/1.1\r\nhost: x\r\n{bearer}{more}\r\n".encode()


def post(path: str, token: str, body: bytes, *, announced: int | None = None) -> bytes:
    """Write a request with a JSON body."""
    length = len(body) if announced is None else announced
    more = f"content-type: application/json\r\ncontent-length: {length}\r\n"
    return get(path, token, method="POST", more=more) + body


class Clock:
    """Monotonic time that stands still until it is told to go on."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class SlowDeadLetters(FakeDeadLetters):
    """Dead letters that are found when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()
        self.asked = threading.Semaphore(0)

    def find(self, query: DeadLetterQuery) -> DeadLetterPage:
        self.asked.release()
        assert self.go_on.wait(WITHIN_S)
        return super().find(query)


@dataclass
class Served:
    """The API on a port, with its table of connections and its clock."""

    api: Api
    server: HttpServer
    port: int
    clock: Clock
    dead_letters: SlowDeadLetters

    def count(self, phase: Phase) -> int:
        """How many connections wait for that."""
        return len(self.server.guard.table.waiting(phase))

    def token(self, role: Role = Role.INTEGRATOR) -> str:
        """Issue a token."""
        return self.api.token(role, 434 if role is Role.INTEGRATOR else None)


@contextmanager
def serving(sqlite_url: str, **limits: Any) -> Iterator[Served]:
    dead_letters = SlowDeadLetters()
    api, clock = Api(sqlite_url, dead_letters=dead_letters), Clock()
    listener = socket.create_server(("127.0.0.1", 0))
    server = HttpServer(api.app, limits=ConnectionLimits(**limits), stop_timeout_s=1, monotonic_s=clock)
    thread = threading.Thread(target=server.run, args=(listener,))
    thread.start()
    try:
        yield Served(api, server, listener.getsockname()[1], clock, dead_letters)
    finally:
        dead_letters.go_on.set()
        server.stop()
        thread.join()
        listener.close()
        api.close()


@pytest.fixture
def served(sqlite_url: str) -> Iterator[Served]:
    """Serve with room for four connections, and a reserve of one."""
    with serving(sqlite_url, most=4, reserve=1) as made:
        yield made


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Process, dict[str, Any]]]:
    """Start the API in a process that may have 1,024 files open."""
    folder = tmp_path_factory.mktemp("api")
    started = Processes(folder)
    process = started.python("-m", "tests.support.api_process", f"sqlite:///{folder}/hookstream.sqlite3", name="api")
    try:
        process.wait_until(lambda: "}" in process.log_text(), what="its port")
        told: dict[str, Any] = json.loads(process.log_text().partition("\n")[0])
        yield process, told
    finally:
        started.close()


def peak_kib(process: Process) -> int:
    """How much memory a process has had at most."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def test_heads_that_never_end_keep_no_client_out(child: tuple[Process, dict[str, Any]]) -> None:
    process, told = child
    most = limits_that_fit(ConnectionLimits(), 1024).most
    for connections in half_open(told["port"], 1200, HALF):
        for path in ("/healthz", "/readyz", "/metrics"):
            assert ask(told["port"], get(path))[0] == 200
        assert ask(told["port"], get("/hooks", told["integrator"]))[0] == 200
        still = [number for number, connection in enumerate(connections) if is_open(connection)]
        assert len(still) <= most
        assert 0 not in still, "the first ones give way"
        assert 1199 in still
    assert process.running
    assert process.log_text().count("\n") <= 2, "callers without a token fill no log"


def test_a_head_of_60_megabytes_is_refused_after_its_first_bytes(child: tuple[Process, dict[str, Any]]) -> None:
    process, told = child
    before_kib, sent = peak_kib(process), 0
    with connect(told["port"]) as connection, suppress(ConnectionError):
        connection.sendall(b"GET / HTTP/1.1\r\n")
        for _ in range(60 * 16):
            sent += connection.send(b"x-long: " + b"a" * 65520 + b"\r\n")
    assert sent < 16 * 1024 * 1024, "the server goes on reading"
    assert peak_kib(process) - before_kib < 16 * 1024
    assert ask(told["port"], get("/healthz", more=f"x-long: {'a' * 16_000}\r\n"))[0] == 200
    for head in (f"x-long: {'a' * 16_400}\r\n", "x: y\r\n" * 3000, f"x-long: {'a' * 100_000}\r\n"):
        status, body = ask(told["port"], get("/healthz", more=head))
        assert (status, json.loads(body)["type"]) == (431, "urn:hookstream:problem:bad-head")


def test_invalid_json_of_810_kilobytes_costs_little(child: tuple[Process, dict[str, Any]]) -> None:
    process, told = child
    body = b"[" + b",".join([b'{"a":1,"b":2,"c":3}'] * 40_500) + b"]"
    assert 800_000 < len(body) < 1_048_576
    assert ask(told["port"], post("/hooks", told["integrator"], body))[0] == 413
    before_kib = peak_kib(process)
    status, shown = ask(told["port"], post("/events", told["platform"], body))
    assert status == 422
    assert len(shown) < 5000
    assert peak_kib(process) - before_kib < 64 * 1024


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /\r\n\r\n",
        b"\r\n" * 9000,
        b"POST /hooks HTTP/1.1\r\nhost: x\r\ncontent-length: 5, 6\r\n\r\n",
        b"POST /hooks HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\nzz\r\n",
        b"POST /hooks HTTP/1.1\r\nhost: x\r\ncontent-length: " + b"9" * 5000 + b"\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused_without_a_line_of_log(
    served: Served, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    status, body = ask(served.port, data + b"\r\n" * 20)
    assert 400 <= status < 500
    assert json.loads(body)["status"] == status
    assert ask(served.port, get("/healthz"))[0] == 200
    assert caplog.records == []


def test_an_upgrade_is_not_offered(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    more = "connection: upgrade\r\nupgrade: websocket\r\n"
    with connect(served.port) as connection:
        connection.sendall(get("/healthz", more=more))
        assert answer(connection)[0] == 200
    assert caplog.records == []


def test_a_head_that_comes_byte_by_byte_is_waited_for_as_long_as_one_that_does_not(served: Served) -> None:
    with connect(served.port) as slow, connect(served.port) as silent:
        slow.sendall(HALF)
        eventually(lambda: served.count(Phase.HEAD) == 2)
        served.clock.now_s += 9.9
        slow.sendall(b"a")
        assert is_open(slow)
        served.clock.now_s += 0.1
        eventually(lambda: not is_open(slow))
        eventually(lambda: not is_open(silent))


def test_the_time_for_a_head_begins_after_each_answer(served: Served) -> None:
    with connect(served.port) as kept:
        for _ in range(3):
            served.clock.now_s += 9.9
            kept.sendall(get("/healthz", more=""))
            assert answer(kept)[0] == 200


def test_a_body_that_does_not_come_is_not_waited_for(served: Served) -> None:
    """Whoever has no token is answered before the body, and is then not waited for either."""
    with connect(served.port) as wanted, connect(served.port) as unwanted:
        wanted.sendall(post("/hooks", served.token(), b"{", announced=100))
        unwanted.sendall(post("/hooks", "", b"{", announced=100))
        assert answer(unwanted)[0] == 401
        eventually(lambda: (served.count(Phase.BODY), served.count(Phase.REST)) == (1, 1))
        served.clock.now_s += 5.0
        eventually(lambda: not is_open(unwanted))
        assert is_open(wanted)
        served.clock.now_s += 25.0
        eventually(lambda: not is_open(wanted))


def test_who_does_not_read_his_answers_is_not_waited_for(served: Served) -> None:
    with connect(served.port) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        ended = threading.Event()

        def ask_on() -> None:
            with suppress(OSError):
                for _ in range(2000):
                    deaf.sendall(get("/openapi.json", more=""))
            ended.set()

        threading.Thread(target=ask_on, daemon=True).start()
        eventually(lambda: served.count(Phase.READER) == 1)
        served.clock.now_s += 60.0
        eventually(lambda: len(served.server.guard.table) == 0)
        assert ended.wait(2 * WITHIN_S)


def test_where_all_wait_for_us_health_is_answered_and_the_rest_is_told_to_come_back(served: Served) -> None:
    request = get("/dead-letters", served.token(Role.OPERATOR), more="")
    tokens = [served.token(Role.OPERATOR) for _ in range(4)]
    with connect(served.port) as a, connect(served.port) as b, connect(served.port) as c, connect(served.port) as d:
        for connection, token in zip((a, b, c, d), tokens, strict=True):
            connection.sendall(get("/dead-letters", token, more=""))
        eventually(lambda: served.count(Phase.HANDLER) == 4)
        for path in ("/healthz", "/readyz", "/metrics"):
            assert ask(served.port, get(path))[0] == 200
            with connect(served.port) as probe:
                probe.sendall(get(path, method="HEAD"))
                assert probe.recv(65536).startswith(b"HTTP/1.1 200 ")
        status, body = ask(served.port, request)
        assert (status, json.loads(body)["type"]) == (503, "urn:hookstream:problem:too-many-connections")
        served.dead_letters.go_on.set()
        assert [answer(connection)[0] for connection in (a, b, c, d)] == [200] * 4


def test_slow_searches_of_many_clients_take_their_share_and_no_more(sqlite_url: str) -> None:
    """Sixty clients search at once: four are served, the others are told to come again, everything else goes on."""
    with serving(sqlite_url) as served, ExitStack() as stack:
        clients = [stack.enter_context(connect(served.port)) for _ in range(60)]
        for connection in clients:
            connection.sendall(get("/dead-letters", served.token(Role.OPERATOR), more=""))
        for _ in range(4):
            assert served.dead_letters.asked.acquire(timeout=WITHIN_S)
        eventually(lambda: served.count(Phase.HANDLER) == 4)
        assert not served.dead_letters.asked.acquire(blocking=False)
        for path in ("/healthz", "/readyz", "/metrics"):
            assert ask(served.port, get(path))[0] == 200
        assert ask(served.port, get("/hooks", served.token()))[0] == 200
        served.dead_letters.go_on.set()
        statuses = [answer(connection)[0] for connection in clients]
    assert (statuses.count(200), statuses.count(429)) == (4, 56)


def test_the_other_roles_health_has_the_same_server() -> None:
    health = Health("kafka")
    server = HealthServer(host="127.0.0.1", port=0, health=health, metrics=Metrics())
    server.start()
    try:
        for connections in half_open(server.port, 100, HALF):
            assert ask(server.port, get("/healthz")) == (200, b"alive\n")
            assert sum(map(is_open, connections)) <= 64
        assert ask(server.port, get("/readyz")) == (503, b"kafka: starting\n")
        health.up("kafka")
        assert ask(server.port, get("/readyz?x=1")) == (200, b"ready\n")
        assert b"hookstream_inflight" in ask(server.port, get("/metrics"))[1]
        assert ask(server.port, get("/hooks"))[0] == 404
        assert ask(server.port, get("/healthz", method="POST"))[0] == 405
        with connect(server.port) as connection:
            connection.sendall(get("/readyz", method="HEAD"))
            assert connection.recv(65536).endswith(b"\r\n\r\n"), "a HEAD has no body"
    finally:
        server.stop()
        server.stop()
    with pytest.raises(ConnectionRefusedError):
        connect(server.port)


@pytest.mark.parametrize(("files", "most"), [(-1, 1000), (20_000, 1000), (1024, 752), (256, 112), (8, 1)])
def test_fewer_connections_where_files_are_few(files: int, most: int) -> None:
    assert limits_that_fit(ConnectionLimits(most=1000, reserve=16), files).most == most
