"""A real Confluent-compatible schema registry (Apicurio): on loopback, which tests may stop, kill and freeze."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Protocol

from tests.support import jars
from tests.support.machine import IMAGES, Part, Source
from tests.support.processes import free_port, http_status
from tests.support.runners import START_WITHIN_S, ContainerRunner, ProcessRunner, Runner, Server, wait_until

if TYPE_CHECKING:
    from pathlib import Path

API_PATH = "/apis/ccompat/v7"
OK = 200


class Registry(Protocol):
    """A registry of a test's own. Address and schemas survive every one of these."""

    @property
    def url(self) -> str:
        """For `schema.registry.url`."""

    def start(self) -> None:
        """Start on the same schemas; returns when it answers."""

    def stop(self) -> None:
        """SIGTERM."""

    def kill(self) -> None:
        """SIGKILL."""

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""

    def resume(self) -> None:
        """Thaw it."""


class ApicurioRegistry(Server):
    """Apicurio as a Java process or a container; its schemas are a file."""

    def __init__(self, source: Source, directory: Path) -> None:
        """Prepare a registry on a random port; nothing is started yet."""
        directory.mkdir(parents=True, exist_ok=True)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}{API_PATH}"
        log = directory / "registry.log"
        super().__init__(_container(port, log) if source is Source.DOCKER else _process(port, directory, log))

    def start(self) -> None:
        """Start on the same schemas; returns when it answers."""
        self._runner.start()
        subjects = f"{self.url}/subjects"
        wait_until(self._runner, lambda: http_status(subjects) == OK, START_WITHIN_S, what=f"200 from {subjects}")


def _process(port: int, directory: Path, log: Path) -> Runner:
    home = jars.apicurio()
    argv: list[str | Path] = [shutil.which("java") or "java", "-Xmx384m", *jars.JVM_OPTIONS]
    argv += [f"-D{name}={value}" for name, value in _settings(port, directory / "schemas").items()]
    return ProcessRunner([*argv, "-jar", next(home.glob("*-runner.jar"))], log=log, cwd=home)


def _container(port: int, log: Path) -> Runner:
    settings = _settings(port, "/tmp/schemas")  # noqa: S108 - inside the container
    env = {name.replace(".", "_").upper(): value for name, value in settings.items()}
    return ContainerRunner(IMAGES[Part.REGISTRY], log=log, env=env)


def _settings(port: int, schemas: Path | str) -> dict[str, str]:
    return {
        "quarkus.http.host": "127.0.0.1",
        "quarkus.http.port": str(port),
        "apicurio.storage.kind": "sql",
        "apicurio.storage.sql.kind": "h2",
        "apicurio.datasource.url": f"jdbc:h2:file:{schemas}",
    }
