"""A whole deployment through the command line: settings, one-shot commands, roles as processes, the API's clients."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import httpx

from hookstream.schemas.topics import TopicNames
from tests.support.processes import Process, Processes, clean_environment, free_port
from tests.support.wait import WITHIN_S, eventually

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.forks import ForkServer

HOOKSTREAM = Path(sys.executable).with_name("hookstream")
LOOPBACK = "127.0.0.0/8"
# Other work may share the two cores; what takes this long is broken.
START_S = 120.0
_ANSWER_S = 30.0


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:  # whatever JSON holds
        """What it printed, as JSON."""
        return json.loads(self.out)


def hookstream(*args: str, env: Mapping[str, str] | None = None, given: bytes = b"", cwd: Path | None = None) -> Done:
    """Run the installed command to its end."""
    done = subprocess.run(  # noqa: S603  # our own program, and no shell
        [HOOKSTREAM, *args],
        env=clean_environment(env),
        input=given,
        capture_output=True,
        check=False,
        cwd=cwd,
        timeout=300,
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


class Command(Protocol):
    """Runs `hookstream` to its end."""

    def __call__(self, *args: str, env: Mapping[str, str] | None = None, given: bytes = b"") -> Done:
        """Run it with settings, and with `given` on its standard input."""


def command_of(forks: ForkServer | None) -> Command:
    """Run commands in forks, if there are any; else as `hookstream` above."""
    if forks is None:
        return hookstream

    def in_a_fork(*args: str, env: Mapping[str, str] | None = None, given: bytes = b"") -> Done:
        code, out, err = forks.run(*args, env=clean_environment(env), given=given)
        return Done(code, out.decode(), err.decode())

    return in_a_fork


@dataclass
class Role:
    """A role that runs, and the port of its health."""

    process: Process
    port: int

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def wait_ready(self, deadline_s: float = START_S) -> Role:
        """Wait until `/readyz` says so."""
        self.process.wait_ready(f"{self.url}/readyz", deadline_s)
        return self

    def unready_because(self) -> str:
        """What `/readyz` answers while it is not ready; nothing while it is, or without an answer."""
        try:
            answer = httpx.get(f"{self.url}/readyz", trust_env=False, timeout=_ANSWER_S)
        except httpx.HTTPError:
            return ""
        return answer.text if answer.status_code == 503 else ""

    def is_alive(self) -> bool:
        """Whether `/healthz` says so."""
        return httpx.get(f"{self.url}/healthz", trust_env=False, timeout=_ANSWER_S).status_code == 200

    def metric(self, name: str) -> float:
        """One sample of `/metrics`, with its labels as Prometheus writes them."""
        for line in httpx.get(f"{self.url}/metrics", trust_env=False, timeout=_ANSWER_S).text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
        message = f"no metric {name}"
        raise AssertionError(message)


@dataclass
class Deployment:
    """Where the parts are. `env` is what every command and role is given."""

    kafka: str
    registry: str
    database: str
    topics: TopicNames
    processes: Processes
    env: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.env = {
            "HOOKSTREAM_KAFKA_BOOTSTRAP_SERVERS": self.kafka,
            "HOOKSTREAM_SCHEMA_REGISTRY_URL": self.registry,
            "HOOKSTREAM_DATABASE_URL": self.database,
            "HOOKSTREAM_SECRET_KEY": base64.b64encode(os.urandom(32)).decode(),
            "HOOKSTREAM_TOPIC_PREFIX": self.topics.prefix,
            "HOOKSTREAM_ALLOWED_TARGET_NETWORKS": LOOPBACK,
            "HOOKSTREAM_DENIED_TARGET_NETWORKS": "127.9.0.0/16",
            "HOOKSTREAM_PARTITIONS": "3",
            "HOOKSTREAM_STOP_TIMEOUT_S": "10",
            "HOOKSTREAM_API_TOKEN_RATE": "0",  # tests ask until something is so
        }

    def run(self, *args: str, given: bytes = b"", also: Mapping[str, str] | None = None, **more: str) -> Done:
        """Run a command on this deployment; `also` and `more` are settings without their prefix."""
        env = self.env | _variables({**(also or {}), **more})
        return command_of(self.processes.forks)(*args, env=env, given=given)

    def prepare(self) -> None:
        """Make topics, schemas and tables."""
        with ThreadPoolExecutor(2) as pool:
            for done in pool.map(lambda args: self.run(*args), (("topics", "create"), ("migrate",))):
                assert done.code == 0, done.err

    def role(self, *args: str, **more: str) -> Role:
        """Start a role, on a free port of its own."""
        port = free_port()
        own = "HOOKSTREAM_API_PORT" if args[0] == "api" else "HOOKSTREAM_METRICS_PORT"
        process = self.processes.hookstream(*args, env=self.env | {own: str(port)} | _variables(more))
        return Role(process, port)

    def token(self, role: str, client: int | str | None = None, *options: str) -> str:
        """Issue a token."""
        whose = () if client is None else ("--client", str(client))
        done = self.run("token", "create", "--role", role, *whose, *options)
        assert done.code == 0, done.err
        return done.out.strip()


def _variables(settings: Mapping[str, str]) -> dict[str, str]:
    return {f"HOOKSTREAM_{name}": value for name, value in settings.items()}


@dataclass
class Caller:
    """Someone with a token at the API."""

    url: str
    token: str | None

    def __call__(self, method: str, path: str, body: object = None, **more: Any) -> httpx.Response:
        """Send a request."""
        headers = {} if self.token is None else {"authorization": f"Bearer {self.token}"}
        return httpx.request(
            method, self.url + path, json=body, headers=headers, trust_env=False, timeout=_ANSWER_S, **more
        )

    def register(self, event: str, target: str) -> dict[str, Any]:
        """Register a hook and give it."""
        answer = self("POST", "/hooks", {"hook": {"event": event, "target": target}})
        assert answer.status_code == 201, answer.text
        hook: dict[str, Any] = answer.json()["hook"]
        return hook

    def wait_effective(self, hook_id: int, deadline_s: float = WITHIN_S) -> None:
        """Wait until every router works by the hook."""

        def effective() -> bool:
            answer = self("GET", f"/hooks/{hook_id}")
            assert answer.status_code == 200, answer.text
            return bool(answer.json()["hook"]["effective"])

        eventually(effective, deadline_s, every_s=0.1)
