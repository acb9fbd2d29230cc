"""WebhookX as a peer: a webhook server in Go on PostgreSQL and Redis, where this machine has it and Redis on its path.

It runs as its own `docker-compose.yml` has it, one process with everything in it and Redis with an append-only file,
but for what would make it slower or talk to others: no access log, no reports. Each client of a benchmark has one
endpoint, which is subscribed to an event type of its own, and whose deliveries are signed. There are two sources, which
differ in when a published event is acknowledged: at `/` when PostgreSQL has it, at `/async` when Redis has it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import make_url

from benchmarks.http_load import event_type
from benchmarks.stack import READY_WITHIN_S, NotMeasuredError
from tests.support.processes import Process, accepts_connections, clean_environment, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.stack import Stack

SYNCHRONOUS, ASYNCHRONOUS = "/", "/async"
PROGRAMS = ("webhookx", "redis-server")
_TIMEOUT_MS = 15_000
_COMMAND_S = 60.0
# What it takes without a setting is 0, 60 and 3,600 s.
_LAST_RETRY_S = 3600


def missing() -> str | None:
    """Why it cannot run here; None where it can."""
    wanted = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"WebhookX skipped: no {' and no '.join(wanted)} on the path" if wanted else None


def version() -> str:
    """What it calls itself."""
    return _run("version").strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where everything listens, on loopback."""

    redis: int = field(default_factory=free_port)
    proxy: int = field(default_factory=free_port)
    admin: int = field(default_factory=free_port)
    status: int = field(default_factory=free_port)


def settings(database_url: str, ports: Ports) -> dict[str, object]:
    """Its configuration file."""
    url = make_url(database_url)
    redis = {"host": "127.0.0.1", "port": ports.redis}
    return {
        "log": {"level": "warn", "colored": False},
        "access_log": {"enabled": False},
        "anonymous_reports": False,
        "database": {"host": url.host, "port": url.port, "username": url.username, "database": url.database},
        "redis": redis,
        "proxy": {"listen": f"127.0.0.1:{ports.proxy}", "queue": {"type": "redis", "redis": redis}},
        "admin": {"listen": f"127.0.0.1:{ports.admin}"},
        "status": {"listen": f"127.0.0.1:{ports.status}"},
        "worker": {"enabled": True, "deliverer": {"acl": {"deny": []}}},  # the receiver is on loopback
    }


def entities(receiver_url: str, clients: Sequence[int], retry_s: int) -> dict[str, object]:
    """Its sources and endpoints; what failed first is tried again after `retry_s`, then after an hour."""

    def source(name: str, path: str) -> dict[str, object]:
        return {
            "name": name,
            "type": "http",
            "async": path == ASYNCHRONOUS,
            "config": {"http": {"path": path, "methods": ["POST"]}},
        }

    def endpoint(client: int) -> dict[str, object]:
        return {
            "name": f"client-{client}",
            "request": {"url": f"{receiver_url}/t/{client}", "method": "POST", "timeout": _TIMEOUT_MS},
            "retry": {"strategy": "fixed", "config": {"attempts": [0, retry_s, _LAST_RETRY_S]}},
            "events": [event_type(client)],
            "plugins": [{"name": "webhookx-signature", "config": {"signing_secret": "0123456789abcdef"}}],
        }

    return {
        "sources": [source("synchronous", SYNCHRONOUS), source("asynchronous", ASYNCHRONOUS)],
        "endpoints": [endpoint(client) for client in clients],
    }


class WebhookX:
    """One server with its Redis."""

    def __init__(self, stack: Stack, ports: Ports, folder: Path, redis: Process) -> None:
        """Redis is running, and the database has its tables; the server is not started."""
        self.ports = ports
        self.redis = redis
        self.server: Process
        self._stack = stack
        self._folder = folder

    def start(self) -> None:
        """Start the server; returns when it takes events."""
        self.server = self._stack.processes.start(
            [_program("webhookx"), "start", "--config", self._folder / "config.yml"], name="webhookx"
        )
        for port in (self.ports.proxy, self.ports.admin):
            self.server.wait_until(lambda port=port: accepts_connections(port), READY_WITHIN_S, what="listening")  # type: ignore[misc]

    def configure(self, clients: Sequence[int], retry_s: int) -> None:
        """Make its sources and endpoints, as its users do."""
        path = self._folder / "entities.yml"
        path.write_text(json.dumps(entities(self._stack.receiver.url, clients, retry_s)))
        _run("admin", "sync", path, "--addr", f"http://127.0.0.1:{self.ports.admin}")


@contextmanager
def webhookx(stack: Stack, database_url: str, clients: Sequence[int], *, retry_s: int) -> Iterator[WebhookX]:
    """A server that is ready. Its processes are the stack's, and end with it."""
    ports = Ports()
    with tempfile.TemporaryDirectory(prefix="hookstream-bench-") as directory:
        folder = Path(directory)
        (folder / "config.yml").write_text(json.dumps(settings(database_url, ports)))
        redis = _redis(stack, ports.redis, folder)
        _run("db", "up", "--config", folder / "config.yml")
        found = WebhookX(stack, ports, folder, redis)
        found.start()
        found.configure(clients, retry_s)
        yield found
        found.server.terminate(60.0)
        redis.terminate(60.0)


def _redis(stack: Stack, port: int, folder: Path) -> Process:
    options = {"bind": "127.0.0.1", "port": port, "dir": folder, "appendonly": "yes", "appendfsync": "everysec"}
    argv: list[str | Path] = [_program("redis-server")]
    for name, value in options.items():
        argv += [f"--{name}", str(value)]
    process = stack.processes.start(argv, name="redis")
    process.wait_until(lambda: accepts_connections(port), READY_WITHIN_S, what="listening")
    return process


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise NotMeasuredError(f"no {name} on the path")
    return found


def _run(*args: str | Path) -> str:
    """Run one of its commands; what it says.

    Raises:
        NotMeasuredError: it failed.
    """
    done = subprocess.run(  # noqa: S603  # a program that whoever runs the benchmark has installed, and no shell
        [_program("webhookx"), *map(str, args)],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_COMMAND_S,
        check=False,
    )
    said = done.stdout.decode(errors="replace")
    if done.returncode:
        raise NotMeasuredError(f"webhookx {args[0]}: {said[-300:]}")
    return said
